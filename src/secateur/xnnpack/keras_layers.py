"""What TensorFlow's converter makes of one call of a Keras layer or operation."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.xnnpack import keras_elementwise, keras_images
from secateur.xnnpack.graph import Value
from secateur.xnnpack.keras_calls import Call, Tensor
from secateur.xnnpack.keras_emit import Emitter, Layer
from secateur.xnnpack.rules import Reason

_HANDLERS = {**keras_elementwise.HANDLERS, **keras_images.HANDLERS}


def handle(emitter: Emitter, call: Call, values: Sequence[Value]) -> list[Value]:
    """Emits the nodes of a call.

    Args:
        emitter: Where they go.
        call: The call.
        values: What became of the tensors it reads.

    Returns:
        What became of its outputs.
    """
    known = dict(zip(call.inputs, values, strict=True))
    arguments = tuple(
        known.get(x, x) if isinstance(x, Tensor) else x for x in (*call.args, *call.kwargs.values())
    )
    shapes = tuple(tensor.shape for tensor in call.outputs)
    layer = Layer(call.operation, tuple(values), arguments, shapes)
    emitter.operation = call.operation
    for kind in type(call.operation).__mro__:
        if kind.__name__ in _HANDLERS and kind.__module__.split(".")[0] == "keras":
            changed = type(call.operation).call is not kind.call  # type: ignore[attr-defined]
            if not changed and getattr(call.operation, "data_format", None) != "channels_first":
                return [_HANDLERS[kind.__name__](emitter, layer)]
            break
    return [emitter.other(values, shape, Reason.UNKNOWN) for shape in shapes]
