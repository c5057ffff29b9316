"""Policies: rules that check a model and say which of its layers are to be pruned."""

import abc
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import keras

_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "sigmoid")


class PruningPolicy(abc.ABC):
    """Says which layers to prune, and whether a model can be pruned at all.

    Give one to `secateur.prune(model, policy=...)` or to tfmot's `prune_low_magnitude`. Subclass it
    for a policy of your own.

    Example:

    >>> import keras, secateur
    >>> class OnlyDense(secateur.PruningPolicy):
    ...     def allow_pruning(self, layer):
    ...         return isinstance(layer, keras.layers.Dense)
    ...     def ensure_model_supports_pruning(self, model):
    ...         pass
    >>> OnlyDense().allow_pruning(keras.layers.Conv2D(4, 3))
    False
    """

    @abc.abstractmethod
    def allow_pruning(self, layer: Any) -> bool:
        """Returns whether the weights of `layer` may be pruned."""
        raise NotImplementedError

    @abc.abstractmethod
    def ensure_model_supports_pruning(self, model: Any) -> None:
        """Raises a ValueError if the policy does not fit the model."""
        raise NotImplementedError


class PruneForLatencyOnXNNPack(PruningPolicy):
    """Prunes the 1x1 convolutions of models that XNNPACK can run sparse.

    Such a model has a part that begins with a 3x3 convolution of an image with 3 channels, stride 2,
    "valid" padding, after a `ZeroPadding2D` of 1, and that ends with `GlobalAveragePooling2D`. In
    between there are only 1x1 convolutions, depthwise convolutions 3x3 or 5x5, additions,
    multiplications, bilinear upsampling, and simple activations.

    Raises:
        ValueError: In `prune`, if the model has no such part, naming what is missing.

    Example:

    >>> import keras, secateur
    >>> policy = secateur.PruneForLatencyOnXNNPack()
    >>> [policy.allow_pruning(keras.layers.Conv2D(8, size)) for size in (1, 3)]
    [True, False]

    Reference:
        E. Elsen et al., "Fast sparse ConvNets", 2019. https://arxiv.org/abs/1911.09723
    """

    def allow_pruning(self, layer: Any) -> bool:
        """Returns whether the layer is a 1x1 convolution."""
        return isinstance(layer, keras.layers.Conv2D) and tuple(layer.kernel_size) == (1, 1)

    def ensure_model_supports_pruning(self, model: Any) -> None:
        """Raises a ValueError if the model has no part that XNNPACK runs sparse."""
        if not isinstance(model, keras.Sequential | keras.Function):
            raise ValueError("Subclassed models are not supported currently.")
        if not model.built or not getattr(model, "outputs", None):
            raise ValueError("Unbuilt models are not supported currently.")
        graph = _Graph(model)
        starts = graph.search(graph.inputs, graph.starts_sparse_part, graph.consumers)
        if not starts:
            raise ValueError(
                "Could not find `Conv2D 3x3` layer with stride 2x2, `input filters == 3` and `VALID` "
                "padding and preceding `ZeroPadding2D` with `padding == 1` in all input branches of "
                "the model"
            )
        ends = graph.search(
            graph.outputs,
            lambda x: isinstance(_inner(x), keras.layers.GlobalAveragePooling2D),
            graph.producers,
        )
        if not ends:
            raise ValueError(
                "Could not find a `GlobalAveragePooling2D` layer in all output branches"
            )

        def is_end(layer: Any) -> bool:
            if layer in ends:
                return True
            if not graph.is_supported(layer):
                raise ValueError(
                    f"Layer {type(_inner(layer)).__name__} is not supported for the "
                    f"{type(self).__name__} pruning policy"
                )
            return False

        after_starts = [x for start in starts for x in graph.consumers(start)]
        graph.search(after_starts, is_end, graph.consumers)


class _Graph:
    """The layers and operations of a model and who feeds whom, with `Sequential`s taken apart.

    Built backward from the outputs, so that calls of the same layers in other models do not count.
    """

    def __init__(self, model: Any) -> None:
        self._producers: dict[int, list[Any]] = {}
        self._consumers: dict[int, list[Any]] = {}
        self.inputs: list[Any] = []
        self.outputs = [_chain(x._keras_history.operation)[-1] for x in model.outputs]
        tensors, seen = list(model.outputs), set()
        while tensors:
            operation, node_index, _ = tensors.pop()._keras_history
            node = operation._inbound_nodes[node_index]
            if id(node) in seen:
                continue
            seen.add(id(node))
            chain = _chain(operation)
            for tensor in node.input_tensors:
                self._connect(_chain(tensor._keras_history.operation)[-1], chain[0])
            for producer, consumer in itertools.pairwise(chain):
                self._connect(producer, consumer)
            if not node.input_tensors:
                self.inputs.append(operation)
            tensors += node.input_tensors

    def _connect(self, producer: Any, consumer: Any) -> None:
        for table, key, value in (
            (self._producers, consumer, producer),
            (self._consumers, producer, consumer),
        ):
            known = table.setdefault(id(key), [])
            if not any(value is x for x in known):
                known.append(value)

    def producers(self, layer: Any) -> list[Any]:
        """Returns what feeds the layer."""
        return self._producers.get(id(layer), [])

    def consumers(self, layer: Any) -> list[Any]:
        """Returns what the layer feeds."""
        return self._consumers.get(id(layer), [])

    def search(
        self,
        sources: Iterable[Any],
        stop: Callable[[Any], bool],
        following: Callable[[Any], list[Any]],
    ) -> list[Any]:
        """Returns the layers at which every path stops; nothing if a path ends without."""
        waiting = list({id(x): x for x in sources}.values())
        seen = {id(x) for x in waiting}
        found = []
        while waiting:
            layer = waiting.pop(0)
            if stop(layer):
                found.append(layer)
                continue
            after = following(layer)
            if not after:
                return []
            new = [x for x in after if id(x) not in seen]
            seen.update(id(x) for x in new)
            waiting += new
        return found

    def padding_before(self, layer: Any) -> Any:
        """Returns the padding of the only layer before, if that is a `ZeroPadding2D`."""
        before = [_inner(x) for x in self.producers(layer)]
        if len(before) == 1 and isinstance(before[0], keras.layers.ZeroPadding2D):
            return before[0].padding
        return None

    def starts_sparse_part(self, layer: Any) -> bool:
        """Whether XNNPACK's sparse part can begin with the layer."""
        conv = _inner(layer)
        return (
            isinstance(conv, keras.layers.Conv2D)
            and conv.built
            and tuple(conv.kernel.shape[:3]) == (3, 3, 3)
            and tuple(conv.strides) == (2, 2)
            and conv.padding == "valid"
            and self.padding_before(layer) == ((1, 1), (1, 1))
        )

    def is_supported(self, layer: Any) -> bool:
        """Whether the layer may stand in XNNPACK's sparse part."""
        inner, known = _inner(layer), keras.layers
        if not isinstance(inner, known.Layer):
            return type(inner).__name__ in ("Add", "Multiply", "Subtract")  # such as x + y
        if isinstance(inner, known.DepthwiseConv2D):
            return self._is_supported_depthwise(layer)
        if isinstance(inner, known.Conv2D):
            ones = (inner.kernel_size, inner.strides, inner.dilation_rate)
            return inner.groups == 1 and all(tuple(x) == (1, 1) for x in ones)
        if isinstance(inner, known.GlobalAveragePooling2D):
            return bool(inner.keepdims)
        if isinstance(inner, known.BatchNormalization):
            return inner.axis in (3, -1)
        if isinstance(inner, known.UpSampling2D):
            return inner.interpolation == "bilinear"
        if isinstance(inner, known.Activation):
            return keras.activations.serialize(inner.activation) in _ACTIVATIONS
        always = (known.Add, known.Multiply, known.ZeroPadding2D, known.Dropout)
        return isinstance(inner, (*always, known.ReLU, known.LeakyReLU, known.ELU))

    def _is_supported_depthwise(self, layer: Any) -> bool:
        conv = _inner(layer)
        if conv.depth_multiplier != 1 or tuple(conv.dilation_rate) != (1, 1):
            return False
        size, strides = tuple(conv.kernel_size), tuple(conv.strides)
        if size not in ((3, 3), (5, 5)):
            return False
        if conv.padding == "same":
            return strides == (1, 1)
        around = size[0] // 2
        padded = self.padding_before(layer) == ((around, around), (around, around))
        return padded and strides in ((1, 1), (2, 2))


def _chain(operation: Any) -> list[Any]:
    """Returns the layers of a `Sequential`, and of those in it, in order; else what was given."""
    if not isinstance(operation, keras.Sequential):
        return [operation]
    return [x for layer in operation.layers for x in _chain(layer)]


def _inner(layer: Any) -> Any:
    """Returns the layer inside a pruning wrapper, or the layer itself."""
    is_wrapper = isinstance(layer, keras.layers.Wrapper) and hasattr(layer, "pruning_schedule")
    return layer.layer if is_wrapper else layer
