"""What TensorFlow's converter makes of Keras layers, as nodes of a neutral graph.

Only what decides about sparse inference is kept: which operations stand next to each other, and how
convolutions move. It was found out by converting each case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from secateur.xnnpack.graph import BATCH_SIZE, FLATTENING, Kind, Node, Value, Window
from secateur.xnnpack.rules import Reason

Shape = tuple[int | None, ...]

_CLAMPS = ("relu", "relu6", "hard_tanh")
_UNARY = ("sigmoid", "tanh", "elu", "gelu", "leaky_relu", "hard_silu", "hard_swish", "exponential")


@dataclasses.dataclass(frozen=True)
class Layer:
    """One call of a layer or operation, as its function below sees it.

    Args:
        operation: The layer or operation.
        values: What it reads.
        arguments: Its arguments in order, a Value where there is a tensor.
        shapes: The shapes of its outputs.
    """

    operation: Any
    values: tuple[Value, ...]
    arguments: tuple[Any, ...]
    shapes: tuple[Shape, ...]

    @property
    def shape(self) -> Shape:
        """The shape of the only output."""
        return self.shapes[0]


class Emitter:
    """Collects nodes.

    Args:
        count_zeros: Gives the number of zeros of a variable.
    """

    def __init__(self, count_zeros: Any) -> None:
        self.nodes: list[Node] = []
        self.operation: Any = None
        self._count_zeros = count_zeros
        self._filters: dict[int, Value] = {}

    def add(
        self,
        kind: Kind,
        inputs: Sequence[Value],
        shape: Shape,
        operator: str = "",
        **details: Any,
    ) -> Value:
        """Appends a node with one output, and returns that."""
        name = str(getattr(self.operation, "path", None) or getattr(self.operation, "name", ""))
        output = Value(tuple(shape), name=name)
        self.nodes.append(
            Node(
                kind,
                tuple(inputs),
                (output,),
                name=name,
                operation=type(self.operation).__name__,
                operator=operator,
                source=self.operation,
                **details,
            )
        )
        return output

    def other(self, inputs: Sequence[Value], shape: Shape, note: str = "") -> Value:
        """An operation that XNNPACK runs, but not sparse."""
        return self.add(Kind.OTHER, inputs, shape, note=note)

    def undelegated(
        self, inputs: Sequence[Value], shape: Shape, note: str = Reason.NOT_DELEGATED
    ) -> Value:
        """An operation that XNNPACK does not get."""
        return self.add(Kind.OTHER, inputs, shape, delegated=False, note=note)

    def constant(self, value: Any) -> Value:
        """A number or array that stands in the graph."""
        return Value(np.shape(value), constant=True)

    def filter(self, variable: Any, shape: Shape) -> Value:
        """The weights of a convolution in LiteRT's order, output channels first."""
        if id(variable) not in self._filters:
            self._filters[id(variable)] = Value(
                shape,
                name=str(variable.path),
                constant=True,
                zeros=self._count_zeros(variable),
                source=variable,
            )
        return self._filters[id(variable)]

    def convolution(self, x: Value, kernel: Any, window: Window, shape: Shape) -> Value:
        """A convolution with a Keras kernel (height, width, input, output)."""
        *_, channels, filters = kernel.shape
        weights = self.filter(kernel, (filters, *window.kernel, channels))
        return self.add(Kind.CONVOLUTION, (x, weights), shape, window=window)

    def depthwise(self, x: Value, kernel: Any, window: Window, shape: Shape) -> Value:
        """A depthwise convolution with a Keras kernel (height, width, input, multiplier)."""
        weights = self.filter(kernel, (1, *window.kernel, shape[-1]))
        return self.add(Kind.DEPTHWISE, (x, weights), shape, window=window)

    def dilated(self, x: Value, emit: Any, window: Window, shape: Shape) -> Value:
        """A dilated convolution; with an open batch size it runs on rearranged pixels."""
        if window.dilation == (1, 1) or x.shape[0] is not None:
            return emit(x, window)
        x = self.undelegated((x,), (None, None, None, x.shape[-1]))
        plain = Window(window.kernel, groups=window.groups, channels=window.channels)
        x = emit(x, plain)
        x = self.undelegated((x,), shape)
        return self.arithmetic("add", x, np.zeros(shape[-1] or 1))

    def dense(self, x: Value, kernel: Any, shape: Shape) -> Value:
        """A Dense layer on rows, or on every pixel of an image."""
        weights = self.filter(kernel, (kernel.shape[1], kernel.shape[0]))
        if len(x.shape) <= 2:
            flat = self.add(Kind.RESHAPE, (x,), x.shape, FLATTENING)
            return self.add(Kind.FULLY_CONNECTED, (flat, weights), shape)
        if x.shape[0] is not None and all(x.shape):
            return self.add(Kind.FULLY_CONNECTED, (x, weights), shape)
        size = self.undelegated((x,), (len(x.shape),), Reason.OPEN_RESHAPE)
        flat = self.open_reshape((x, size), (None, x.shape[-1]))
        row = self.add(Kind.RESHAPE, (flat,), flat.shape)
        y = self.add(Kind.FULLY_CONNECTED, (row, weights), (None, shape[-1]))
        y = self.open_reshape((y, size), shape)
        return self.arithmetic("add", y, np.zeros(shape[-1] or 1))

    def open_reshape(self, inputs: Sequence[Value], shape: Shape) -> Value:
        """A reshape to a shape that is known only when the model runs."""
        return self.add(Kind.RESHAPE, inputs, shape, delegated=False, note=Reason.OPEN_RESHAPE)

    def reshape(self, x: Value, shape: Shape) -> Value:
        """A reshape that keeps the batch size."""
        if len(shape) == len(x.shape) and shape[1:] == x.shape[1:]:
            return x
        # `secateur.export` makes a shape constant of which only the batch is open.
        if x.shape[0] is not None or all(shape[1:]):
            return self.add(Kind.RESHAPE, (x,), shape)
        size = self.add(
            Kind.OTHER,
            (x,),
            (1,),
            BATCH_SIZE,
            delegated=False,
            note=Reason.OPEN_RESHAPE,
        )
        return self.open_reshape((x, size), shape)

    def arithmetic(self, operator: str, first: Any, second: Any) -> Value:
        """An operation of two values, or of one and numbers."""
        operands = [x if isinstance(x, Value) else self.constant(x) for x in (first, second)]
        if operands[0].constant and operator in ("add", "multiply", "minimum", "maximum"):
            operands.reverse()
        shape = _broadcast(operands[0].shape, operands[1].shape)
        return self.add(Kind.BINARY, operands, shape, operator)

    def clamp(self, x: Value, operator: str = "relu") -> Value:
        """A limit to one side or both."""
        return self.add(Kind.CLAMP, (x,), x.shape, operator)

    def unary(self, x: Value, operator: str) -> Value:
        """An elementwise function."""
        return self.add(Kind.UNARY, (x,), x.shape, operator)

    def function(self, x: Value, name: str) -> Value:
        """An activation function, by its name in Keras."""
        if name == "linear":
            return x
        if name in _CLAMPS:
            return self.clamp(x, name)
        if name in _UNARY:
            return self.unary(x, name)
        if name in ("silu", "swish"):
            return self.arithmetic("multiply", x, self.unary(x, "sigmoid"))
        if name == "hard_sigmoid":
            x = self.clamp(self.arithmetic("add", x, 3.0), "relu6")
            return self.arithmetic("multiply", x, 1 / 6)
        if name == "softsign":
            below = self.arithmetic("add", self.unary(x, "abs"), 1.0)
            return self.arithmetic("divide", x, below)
        if name == "tanh_shrink":
            return self.arithmetic("subtract", x, self.unary(x, "tanh"))
        if name == "softmax":
            return self.other((x,), x.shape)
        return self.undelegated((x,), x.shape)


def _broadcast(first: Shape, second: Shape) -> Shape:
    """The shape of what two shapes give, lengths that are open staying open."""
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    shorter = (1,) * (len(longer) - len(shorter)) + tuple(shorter)
    return tuple(b if a == 1 else a for a, b in zip(longer, shorter, strict=True))


#: Says what the converter makes of a layer.
Handler = Callable[[Emitter, Layer], Value]


def registers(handlers: dict[str, Handler], *names: str) -> Callable[[Handler], Handler]:
    """Puts a function into a table under the names of the classes that it handles."""

    def register(handler: Handler) -> Handler:
        handlers.update(dict.fromkeys(names, handler))
        return handler

    return register
