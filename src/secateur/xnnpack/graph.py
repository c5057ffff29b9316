"""A network as XNNPACK sees it: nodes and values, whether it came from a file or from Keras."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from enum import Enum
from typing import Any

#: The operator of a node that asks for the length of the first axis only.
BATCH_SIZE = "batch size"
#: The operator of the reshape that LiteRT puts before a fully connected operation.
FLATTENING = "flattening"


class Kind(Enum):
    """What a node does, as far as XNNPACK's sparse inference tells nodes apart."""

    CONVOLUTION = "convolution"
    DEPTHWISE = "depthwise convolution"
    FULLY_CONNECTED = "fully connected"
    UNARY = "elementwise function"
    CLAMP = "clamp"
    BINARY = "elementwise arithmetic"
    REDUCE = "reduction"
    RESIZE_BILINEAR = "bilinear resize"
    DEPTH_TO_SPACE = "depth to space"
    PAD = "padding"
    RESHAPE = "reshape"
    OTHER = "other"


@dataclasses.dataclass(eq=False)
class Value:
    """A tensor.

    Args:
        shape: Its shape, channels last; None where a length is open.
        dtype: Its type, as "float32"; "int8" stands for any quantized type.
        name: Its name, for people.
        constant: Whether its values are stored.
        zeros: How many of the stored values are zero; only counted for filters.
        source: Where the stored values are: whatever the reader of the graph put there.
        marked: Whether they are stored sparse, which makes XNNPACK look for sparse parts.
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    name: str = ""
    constant: bool = False
    zeros: int = 0
    source: Any = None
    marked: bool = False

    @property
    def same_in_both_layouts(self) -> bool:
        """Whether channels-first and channels-last are the same row of numbers."""
        if len(self.shape) != 4:
            return len(self.shape) < 3
        _, height, width, channels = self.shape
        return channels == 1 or (height == 1 and width == 1)


@dataclasses.dataclass(frozen=True)
class Window:
    """How a convolution moves over its input.

    Args:
        kernel: Height and width.
        strides: Down and right.
        dilation: Down and right.
        padding: Top, right, bottom, left; with `same` what is added to it.
        same: Whether TensorFlow's "same" padding is left to the kernel to work out.
        groups: The number of groups.
        channels: Input channels of a group.
        multiplier: Output channels for each input channel of a depthwise convolution.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    same: bool = False
    groups: int = 1
    channels: int = 1
    multiplier: int = 1

    @classmethod
    def of(cls, padding: str, kernel: Iterable[int], **kwargs: Any) -> Window:
        """Makes a window from TensorFlow's "same" or "valid".

        XNNPACK replaces "same" by zeros on each side where the stride is 1.
        """
        window = cls((*kernel,), **kwargs)  # type: ignore[arg-type]
        if padding != "same":
            return window
        if window.strides != (1, 1):
            return dataclasses.replace(window, same=True)
        down, right = (
            (size - 1) * dilation
            for size, dilation in zip(window.kernel, window.dilation, strict=True)
        )
        around = (down // 2, right - right // 2, down - down // 2, right // 2)
        return dataclasses.replace(window, padding=around)

    def with_explicit_padding(self, size: Iterable[int | None]) -> Window:
        """Works out "same" padding where it is the same on both sides of an input of this size.

        That is where `explicit_padding` in a file writes it out for XNNPACK.
        """
        lengths = [length for length in size if length is not None]
        if not self.same or self.dilation != (1, 1) or len(lengths) != 2:
            return self
        total = [
            max((-(-length // stride) - 1) * stride + kernel - length, 0)
            for length, stride, kernel in zip(lengths, self.strides, self.kernel, strict=True)
        ]
        down, right = (pixels // 2 for pixels in total)
        if total != [2 * down, 2 * right]:
            return self
        return dataclasses.replace(self, same=False, padding=(down, right, down, right))


@dataclasses.dataclass(eq=False)
class Node:
    """An operation.

    Args:
        kind: What it does.
        inputs: What it reads, data first, then filter and bias.
        outputs: What it writes.
        name: Its name, for people: a layer's path, or the name of its output in a file.
        operation: What it is called where it came from, as "CONV_2D" or "Conv2D".
        operator: Which arithmetic, function or reduction it is, as "add".
        window: Of a convolution.
        pads: Of a padding: (before, after) for each axis.
        axes: Of a reduction.
        keep_dims: Whether a reduction keeps the axes.
        delegated: Whether LiteRT gives it to XNNPACK at all.
        source: Where it came from: whatever the reader of the graph put there.
        note: Why it is what it is, where the reader knows more than the operation's name tells.
    """

    kind: Kind
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    name: str = ""
    operation: str = ""
    operator: str = ""
    window: Window | None = None
    pads: tuple[tuple[int, int], ...] = ()
    axes: tuple[int, ...] = ()
    keep_dims: bool = False
    delegated: bool = True
    source: Any = None
    note: str = ""

    @property
    def is_pointwise(self) -> bool:
        """Whether XNNPACK counts its filter as that of a 1x1 convolution."""
        if self.kind is Kind.FULLY_CONNECTED:
            return True
        return (
            self.kind is Kind.CONVOLUTION
            and self.window is not None
            and max(self.window.kernel) == 1
        )

    @property
    def filter(self) -> Value:
        """The weights of a convolution or fully connected node."""
        return self.inputs[1]

    @property
    def parameters(self) -> int:
        """How many weights XNNPACK counts: output channels times input channels."""
        shape = self.filter.shape
        return int((shape[0] or 0) * (shape[-1] or 0))


@dataclasses.dataclass(eq=False)
class Graph:
    """A network, or the part of one that runs as one XNNPACK subgraph.

    Args:
        nodes: The operations in the order in which they run.
        inputs: What comes from outside.
        outputs: What is read outside; may be read inside as well.
        marked: Whether XNNPACK is told to look for sparse parts; of a whole network, whether the
            first part is told, whatever its weights.
        beyond: Of a part, the operations outside that read its outputs.
    """

    nodes: list[Node]
    inputs: list[Value]
    outputs: list[Value]
    marked: bool = False
    beyond: dict[Value, list[Node]] = dataclasses.field(default_factory=dict)

    def producers(self) -> dict[Value, Node]:
        """Returns which node writes each value."""
        return {value: node for node in self.nodes for value in node.outputs}

    def consumers(self) -> dict[Value, list[Node]]:
        """Returns which nodes read each value, each node once."""
        readers: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                readers.setdefault(value, []).append(node)
        return readers
