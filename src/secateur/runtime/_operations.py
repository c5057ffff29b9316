"""What the native library can do with images, each as an object that adds itself to a program."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from secateur.runtime._forms import IDENTITY, Activation, Epilogue, Shape, Window
from secateur.runtime._program import Program
from secateur.runtime._pruned import Ahead, Pruned
from secateur.runtime._signatures import Binary, Function, Pool, Resize


class Weights(NamedTuple):
    """Weights that are read from the file whenever they are asked for, so that none stay around.

    Args:
        load: Reads them: (out_channels, height, width, in_channels).
        shape: Their shape.
        pruned: What is not zero of them.
        plain: Whether the file holds them as they are; otherwise they are unpacked each time.
    """

    load: Callable[[], np.ndarray]
    shape: tuple[int, ...]
    pruned: Pruned
    plain: bool = True

    @property
    def nonzeros(self) -> int:
        """How many are not zero."""
        return self.pruned.count or 0

    def kept(self) -> Pruned:
        """What is not zero, kept in any case."""
        return self.pruned if self.pruned.kept else Pruned(self.load(), keep=True)

    @property
    def size(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    @property
    def zeros(self) -> float:
        """The share of zeros."""
        return 1 - self.nonzeros / self.size if self.size else 0.0


# What an operation reads and writes: tensors, their shapes as (channels, height, width), the tensor it
# writes, and its shape.
Images = tuple[list[int], list[Shape], int, Shape]


class Operation:
    """One operation of the native library.

    Args:
        images: What it reads, constants of its own left out, and writes.
    """

    def __init__(self, images: Images) -> None:
        self.inputs, self.sources, self.output, self.target = images

    @property
    def kind(self) -> str:
        """What it is, in a word or two."""
        return type(self).__name__.lower()

    @property
    def functions(self) -> tuple[Activation, ...]:
        """The functions of single numbers that are a part of it."""
        return ()

    #: Whether it reads images as the caller hands them in, channels last.
    reads_channels_last = False

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it to a program.

        Args:
            program: The program.
            values: The program's values by the numbers of tensors.
            out: The value to write.
        """
        raise NotImplementedError

    def then(self, activation: Activation) -> bool:
        """Take on a function of its output, where it can; return whether it did."""
        return False


class Convolution(Operation):
    """A convolution, or a fully connected layer as one of 1 x 1."""

    reads_channels_last = True

    def __init__(
        self,
        images: Images,
        weights: Weights,
        bias: np.ndarray | None,
        window: Window,
        activation: Activation,
    ) -> None:
        super().__init__(images)
        self.weights, self.bias, self.window = weights, bias, window
        self.first, self.second = activation, IDENTITY
        self.residual: int | None = None
        self.sparse = False

    @property
    def kind(self) -> str:
        """Its kernel's size."""
        height, width = self.window.kernel
        return f"{height}x{width} convolution"

    @property
    def functions(self) -> tuple[Activation, ...]:
        """Before the residual, and behind it."""
        return self.first, self.second

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it, with its zeros or without."""
        residual = None if self.residual is None else values[self.residual]
        epilogue = Epilogue(self.first, residual, self.second)
        source = values[self.inputs[0]]
        if self.sparse:
            pruned = self.weights.kept()
            program.sparse_conv2d(source, out, pruned, self.bias, self.window, epilogue)
            pruned.release()  # so that who packs it frees it, mostly another thread
        else:
            weights, same = self.weights.load(), self.weights.pruned
            program.conv2d(source, out, weights, self.bias, self.window, epilogue, same)
            if not self.weights.plain:
                program.pack()  # now, not to keep what was unpacked for it

    def pack_ahead(self, ahead: Ahead) -> None:
        """Have large weights packed by another thread before it is known where this will run."""
        one_pixel, large = self.target[1:] == (1, 1), self.weights.size >= 2**16
        if one_pixel and large and self.weights.plain and not self.sparse:
            ahead.pack(self.weights.pruned, self.weights.load())

    def then(self, activation: Activation) -> bool:
        """Before the residual or behind it."""
        if self.residual is None and self.first == IDENTITY:
            self.first = activation
        elif self.residual is not None and self.second == IDENTITY:
            self.second = activation
        else:
            return False
        return True

    def add(self, tensor: int, shape: Shape) -> bool:
        """Add another image to the output; return whether it can."""
        if self.residual is not None or shape != self.target:
            return False
        self.residual = tensor
        self.inputs.append(tensor)
        self.sources.append(shape)
        return True


class Depthwise(Convolution):
    """A convolution of each channel by itself; weights are (height, width, out_channels)."""

    reads_channels_last = False

    @property
    def kind(self) -> str:
        """Its kernel's size."""
        height, width = self.window.kernel
        return f"{height}x{width} depthwise convolution"

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        residual = None if self.residual is None else values[self.residual]
        epilogue = Epilogue(self.first, residual, self.second)
        source, weights = values[self.inputs[0]], self.weights.load()
        program.depthwise_conv2d(source, out, weights, self.bias, self.window, epilogue)


class Unary(Operation):
    """A function of each number."""

    def __init__(self, images: Images, function: Activation) -> None:
        super().__init__(images)
        self.function = function

    @property
    def kind(self) -> str:
        """The function's name."""
        return self.function.function.name.lower().replace("_", " ")

    @property
    def functions(self) -> tuple[Activation, ...]:
        """The one it is."""
        return (self.function,)

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        program.unary(values[self.inputs[0]], out, self.function)


class Elementwise(Operation):
    """Two images into one; `constants` holds an operand that is in the file, by its place."""

    def __init__(
        self,
        images: Images,
        function: Binary,
        activation: Activation,
        constants: dict[int, tuple[Shape, np.ndarray]],
    ) -> None:
        super().__init__(images)
        self.function, self.activation, self.constants = function, activation, constants

    @property
    def kind(self) -> str:
        """The function's name."""
        return self.function.name.lower().replace("_", " ")

    @property
    def functions(self) -> tuple[Activation, ...]:
        """The one that follows."""
        return (self.activation,)

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        tensors = iter(self.inputs)
        left, right = (
            program.constant(*self.constants[i]) if i in self.constants else values[next(tensors)]
            for i in (0, 1)
        )
        program.binary(self.function, left, right, out, self.activation)

    def then(self, activation: Activation) -> bool:
        """Where it has no function yet."""
        if self.activation != IDENTITY:
            return False
        self.activation = activation
        return True


class Pooling(Operation):
    """The largest or the mean number under a window."""

    def __init__(
        self, images: Images, function: Pool, window: Window, activation: Activation
    ) -> None:
        super().__init__(images)
        self.function, self.window, self.activation = function, window, activation

    @property
    def kind(self) -> str:
        """The function's name."""
        return f"{self.function.name.lower()} pooling"

    @property
    def functions(self) -> tuple[Activation, ...]:
        """The one that follows."""
        return (self.activation,)

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        source = values[self.inputs[0]]
        program.pool(self.function, source, out, self.window, self.activation)


class Mean(Operation):
    """The mean over all pixels."""

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        program.mean(values[self.inputs[0]], out)


class Resizing(Operation):
    """Another height and width; flags are whether to align corners, and for half pixel centers."""

    def __init__(self, images: Images, function: Resize, flags: tuple[bool, bool]) -> None:
        super().__init__(images)
        self.function, self.flags = function, flags

    @property
    def kind(self) -> str:
        """The function's name."""
        return f"{self.function.name.lower()} resize"

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        program.resize(self.function, values[self.inputs[0]], out, *self.flags)


class Concatenation(Operation):
    """Images one after the other, along the channels."""

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        program.concat([values[tensor] for tensor in self.inputs], out)


class Padding(Operation):
    """An image within a larger one."""

    def __init__(self, images: Images, before: Shape, fill: float) -> None:
        super().__init__(images)
        self.before, self.fill = before, fill

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        program.pad(values[self.inputs[0]], out, self.before, self.fill)


class Slice(Operation):
    """A part of an image."""

    def __init__(self, images: Images, begin: Shape) -> None:
        super().__init__(images)
        self.begin = begin

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        program.slice(values[self.inputs[0]], out, self.begin)


class Reshape(Operation):
    """The same numbers in another shape."""

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        program.reshape(values[self.inputs[0]], out)


class Softmax(Operation):
    """Softmax over the channels of each pixel."""

    def __init__(self, images: Images, beta: float) -> None:
        super().__init__(images)
        self.beta = beta

    def emit(self, program: Program, values: Mapping[int, int], out: int) -> None:
        """Add it."""
        program.softmax(values[self.inputs[0]], out, self.beta)


def size(shape: Any) -> int:
    """The number of values of an image."""
    channels, height, width = shape
    return int(channels) * int(height) * int(width)


SWISH = Activation(Function.SWISH)
