"""The wrapper that `prune_low_magnitude` puts around layers: it carries the settings, no more."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from secateur import schedules
from secateur.structures import Block, MByN, Structure, Unstructured
from secateur.tfmot import registry
from secateur.tfmot.schedules import ConstantSparsity, PolynomialDecay
from secateur.tfmot.state import Saved, WrapperState

DEFAULT_SCHEDULE = ConstantSparsity(0.5, 0)
NO_CALLBACK = (
    "Prune() wrapper requires the UpdatePruningStep callback to be provided during training. Please "
    "add it as a callback to your model.fit call."
)
_STEP_KEY = "pruning_step"


@keras.saving.register_keras_serializable(package="secateur.tfmot")
class PruneLowMagnitude(keras.layers.Wrapper):
    """Says how the weights of the layer inside are to be pruned.

    The wrapper computes what the layer computes, has the layer's weights and none of its own, and
    passes masks, `training` and all other arguments on. The callback `UpdatePruningStep` reads the
    settings and lets the model's optimizer do the pruning.

    Args:
        layer: The layer whose weights are to be pruned.
        pruning_schedule: When to prune, and how much.
        block_size: Sizes of a block along the last axes of a weight; a block is cut down where a
            weight is smaller.
        block_pooling_type: How the weights of a block become one score, "AVG" or "MAX".
        sparsity_m_by_n: (m, n) for m zeros in every n consecutive weights along the axis of input
            channels, instead of blocks.
        **kwargs: Arguments of `keras.layers.Layer`. The name is always that of the layer with
            "prune_low_magnitude_" before it.

    Raises:
        ValueError: If the layer is not supported, or a setting is out of its range; and when
            training without the callback.
    """

    def __init__(
        self,
        layer: Any,
        pruning_schedule: Any = DEFAULT_SCHEDULE,
        block_size: tuple[int, ...] = (1, 1),
        block_pooling_type: str = "AVG",
        sparsity_m_by_n: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_layer(layer)
        if block_pooling_type not in ("AVG", "MAX"):
            raise ValueError(
                f"Unsupported pooling type '{block_pooling_type}'. Should be 'AVG' or 'MAX'."
            )
        if not isinstance(pruning_schedule, schedules.PruningSchedule):
            raise ValueError(
                "`pruning_schedule` must be a PruningSchedule, such as ConstantSparsity(0.5, 0). "
                f"Received: pruning_schedule={pruning_schedule!r}"
            )
        kwargs["name"] = f"prune_low_magnitude_{layer.name}"
        kwargs.setdefault("dtype", layer.dtype_policy)
        kwargs.setdefault("autocast", layer.autocast)
        # Keras reads which arguments there are from the signatures of `call` and `build`: they are
        # those of the layer inside.
        object.__setattr__(self, "call", self._call_like(layer))
        super().__init__(layer, **kwargs)
        self.build.__signature__ = inspect.signature(layer.build)  # type: ignore[attr-defined]
        self._takes_training = _takes_training(layer)
        self.supports_masking = layer.supports_masking
        self.pruning_schedule = pruning_schedule
        self.block_size = Block(block_size, block_pooling_type).shape
        self.block_pooling_type = block_pooling_type
        self.sparsity_m_by_n = _m_by_n(sparsity_m_by_n)
        self.pruning_state = WrapperState()
        self._computing_spec = False
        # In this way a first layer tells `Sequential` the shape of its input.
        if hasattr(layer, "_input_shape_arg") and not hasattr(self, "_input_shape_arg"):
            self._input_shape_arg = layer._input_shape_arg

    # --- computing what the layer computes -------------------------------------------------------

    def _call_like(self, layer: Any) -> Callable[..., Any]:
        takes_training = _takes_training(layer)

        def call(*args: Any, **kwargs: Any) -> Any:
            training = kwargs.get("training") if takes_training else kwargs.pop("training", None)
            if isinstance(training, bool | int) and training:
                self._check_callback()
            return self.layer(*args, **kwargs)

        signature = inspect.signature(layer.call)
        if not takes_training:
            extra = inspect.Parameter("training", inspect.Parameter.KEYWORD_ONLY, default=None)
            own = list(signature.parameters.values())
            at_end = bool(own) and own[-1].kind is inspect.Parameter.VAR_KEYWORD
            own.insert(len(own) - at_end, extra)
            signature = signature.replace(parameters=own)
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    def _check_callback(self) -> None:
        """Raises if training would leave the weights dense. Runs when a step is compiled."""
        if self.pruning_state.is_connected or self._computing_spec:
            return
        if self.prunable_weights:
            error = ValueError(NO_CALLBACK)
            # Keras would put its own words around the text, which scripts may compare.
            error._keras_call_info_injected = True  # type: ignore[attr-defined]
            raise error

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Builds the layer inside, unless it builds itself when it is called first."""
        if not self.layer.built and not getattr(self.layer.build, "_is_default", False):
            self.layer.build(*args, **kwargs)

    def get_build_config(self) -> None:
        """Returns None: the layer inside has its own."""

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the layer inside returns."""
        if self.layer.built:
            if not self._takes_training:
                kwargs.pop("training", None)
            return self.layer.compute_output_spec(*args, **kwargs)
        self._computing_spec = True
        try:
            return keras.Operation.compute_output_spec(self, *args, **kwargs)
        finally:
            self._computing_spec = False

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the layer inside returns."""
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Returns what the layer inside returns."""
        return self.layer.compute_mask(inputs, previous_mask)

    @property
    def trainable(self) -> bool:
        """Whether the layer inside is trained."""
        return bool(self.layer.trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.layer.trainable = value

    # --- settings and state ----------------------------------------------------------------------

    @property
    def prunable_weights(self) -> list[Any]:
        """The variables that are pruned; empty before the layer is built."""
        if not self.layer.built:
            return []
        return [variable for variable, _ in registry.prunable_weights(self.layer)]

    @property
    def pruning_step(self) -> int:
        """The number of optimizer updates since pruning began; -1 before."""
        return self.pruning_state.step

    def structure_for(self, shape: tuple[int, ...]) -> Structure:
        """Returns the structure for a weight of this shape, with blocks no larger than the weight."""
        if self.sparsity_m_by_n is not None:
            return MByN(*self.sparsity_m_by_n)
        block = self.block_size[-len(shape) :]
        block = tuple(min(b, s) for b, s in zip(block, shape[-len(block) :], strict=True))
        if all(size == 1 for size in block):
            return Unstructured()
        return Block(block, self.block_pooling_type)

    def get_config(self) -> dict[str, Any]:
        """Returns the layer and all settings."""
        return {
            **super().get_config(),
            "pruning_schedule": keras.saving.serialize_keras_object(self.pruning_schedule),
            "block_size": list(self.block_size),
            "block_pooling_type": self.block_pooling_type,
            "sparsity_m_by_n": self.sparsity_m_by_n and list(self.sparsity_m_by_n),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "PruneLowMagnitude":
        """Builds the wrapper from what `get_config` returned."""
        config = dict(config)
        known = {"ConstantSparsity": ConstantSparsity, "PolynomialDecay": PolynomialDecay}
        known |= custom_objects or {}
        for key in ("layer", "pruning_schedule"):
            config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects=known)
        return cls(**config)

    def save_own_variables(self, store: Any) -> None:
        """Saves the step and the masks, so that a checkpoint continues under any optimizer."""
        _, masks = self.pruning_state.masks_of(self.prunable_weights)
        if masks:
            store[_STEP_KEY] = np.int64(self.pruning_state.step)
        for i, mask in enumerate(masks):
            store[f"mask_{i}"] = np.packbits(ops.convert_to_numpy(mask).reshape(-1))

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` saved, for the engine that prunes or will prune."""
        keys = set(store.keys())
        if _STEP_KEY not in keys:
            return
        masks = tuple(np.asarray(store[f"mask_{i}"]) for i in range(len(keys) - 1))
        self.pruning_state.saved = Saved(int(np.asarray(store[_STEP_KEY])), masks)
        self.pruning_state.hand_over(self.prunable_weights, self.name)


def _takes_training(layer: Any) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def _check_layer(layer: Any) -> None:
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(
            f"Please initialize `Prune` layer with a `Layer` instance. You passed: {layer}"
        )
    if not registry.is_supported(layer):
        raise ValueError(
            "Please initialize `Prune` with a supported layer. Layers should either be supported by "
            "the PruneRegistry (built-in keras layers) or should be a `PrunableLayer` instance, or "
            "should has a customer defined `get_prunable_weights` method. You passed: "
            f"{layer.__class__}"
        )


def _m_by_n(value: Any) -> tuple[int, int] | None:
    """Returns the pair of integers, or None for nothing."""
    if not value:
        return None
    what = "The sparsity_m_by_n argument must be a tuple/list of 2 integers."
    try:
        pair = tuple(value)
    except TypeError:
        raise ValueError(f"{what}received: {value}.") from None
    if len(pair) != 2:
        raise ValueError(f"{what}received: {value}.")
    for element in pair:
        if not isinstance(element, int):
            raise ValueError(
                f"{what}received: {value} including element {element} of type {type(element)}."
            )
    if pair[0] >= pair[1]:
        raise ValueError(f"Argument m_by_n received {pair}, m be must smaller than n.")
    MByN(*pair)
    return pair[0], pair[1]
