"""Programs made by hand, operation by operation: what the kernels are tested and timed with.

`native/secateur.h` says what programs, values and operations are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.runtime import _hand_signatures
from secateur.runtime._arguments import floats, ints, pointer_and_count
from secateur.runtime._forms import POINTWISE, Activation, Epilogue, Shape, Window
from secateur.runtime._hand_signatures import Binary, Pool, Resize
from secateur.runtime._program import Program
from secateur.runtime._pruned import Pruned


class Composer(Program):
    """A program that operations are added to.

    Methods that make values return their ids. Weights and shapes are as in the header.

    Args:
        isa: As for `Program`.

    Raises:
        NativeError: By all methods, if an argument is wrong.

    Example:

    >>> import numpy as np
    >>> program = Composer()
    >>> x = program.input((2, 1, 3))
    >>> y = program.value((2, 1, 3))
    >>> program.to_chw(x, y)
    >>> z = program.output((2, 1, 3))
    >>> program.to_nhwc(y, z)
    >>> program.finalize(batch=1)
    >>> program.run([np.ones((1, 1, 3, 2), "float32")])[0].shape
    (1, 1, 3, 2)
    """

    def __init__(self, isa: str | None = None) -> None:
        _hand_signatures.library()
        super().__init__(isa)
        self._unpacked: list[np.ndarray] = []  # weights that another thread packs

    # -- values --

    def input(self, shape: Shape) -> int:
        """A value that `run` gets, channels last."""
        self.in_shapes.append((*shape[1:], shape[0]))
        return self._call("input", *shape)

    def output(self, shape: Shape) -> int:
        """A value that `run` returns, channels last."""
        self.out_shapes.append((*shape[1:], shape[0]))
        return self._call("output", *shape)

    def value(self, shape: Shape) -> int:
        """A value between operations."""
        return self._call("value", *shape)

    def constant(self, shape: Shape, data: np.ndarray) -> int:
        """A value known now; `data` is in the order (height, width, channels)."""
        data = floats(data)
        return self._call("constant", *shape, data.ctypes.data, data.size)

    # -- operations --

    def to_chw(self, source: int, out: int) -> None:
        """From an input to a value."""
        self._call("to_chw", source, out)

    def to_nhwc(self, source: int, out: int) -> None:
        """From a value to an output."""
        self._call("to_nhwc", source, out)

    def reshape(self, source: int, out: int) -> None:
        """The same numbers, in the order (height, width, channels), in another shape."""
        self._call("reshape", source, out)

    def conv2d(
        self,
        source: int,
        out: int,
        weights: np.ndarray,
        bias: np.ndarray | None = None,
        window: Window = POINTWISE,
        epilogue: Epilogue | None = None,
        same: Pruned | None = None,
    ) -> None:
        """Convolution; weights are (out_channels, height, width, in_channels); kept until packed.

        `same` are those weights again, should `Pruner.pack` have been called for them.
        """
        handle = None if same is None else same.handle
        self._dense("conv2d", source, out, weights, bias, window, epilogue, handle)

    def sparse_conv2d(
        self,
        source: int,
        out: int,
        weights: Pruned,
        bias: np.ndarray | None = None,
        window: Window = POINTWISE,
        epilogue: Epilogue | None = None,
    ) -> None:
        """The same without the weights that are zero."""
        bias = None if bias is None else floats(bias)
        ends = (*pointer_and_count(bias), _c(epilogue))
        self._call("sparse_conv2d", source, out, window._c(), weights.handle, *ends)

    def depthwise_conv2d(
        self,
        source: int,
        out: int,
        weights: np.ndarray,
        bias: np.ndarray | None = None,
        window: Window = POINTWISE,
        epilogue: Epilogue | None = None,
    ) -> None:
        """Depthwise convolution; weights are (height, width, out_channels); kept until packed."""
        self._dense("depthwise_conv2d", source, out, weights, bias, window, epilogue)

    def _dense(
        self,
        name: str,
        source: int,
        out: int,
        weights: np.ndarray,
        bias: np.ndarray | None,
        window: Window,
        epilogue: Epilogue | None,
        *rest: Any,
    ) -> None:
        weights, bias = floats(weights), None if bias is None else floats(bias)
        data = (*pointer_and_count(weights), *pointer_and_count(bias))
        self._call(name, source, out, window._c(), *data, _c(epilogue), *rest)
        self._unpacked.append(weights)

    def binary(
        self,
        function: Binary,
        left: int,
        right: int,
        out: int,
        activation: Activation | None = None,
    ) -> None:
        """Two values into one; either may have 1 channel or a 1 x 1 image where the output has more."""
        self._call("binary", int(function), left, right, out, _c(activation))

    def unary(self, source: int, out: int, activation: Activation) -> None:
        """A function of each number."""
        self._call("unary", source, out, activation._c())

    def pool(
        self,
        function: Pool,
        source: int,
        out: int,
        window: Window,
        activation: Activation | None = None,
    ) -> None:
        """The largest or the mean number under a window; padding counts for nothing."""
        self._call("pool", int(function), source, out, window._c(), _c(activation))

    def mean(self, source: int, out: int) -> None:
        """The mean over all pixels."""
        self._call("mean", source, out)

    def resize(
        self,
        function: Resize,
        source: int,
        out: int,
        align_corners: bool = False,
        half_pixel_centers: bool = False,
    ) -> None:
        """Another height and width, as TFLite does it."""
        self._call("resize", int(function), source, out, align_corners, half_pixel_centers)

    def concat(self, sources: Sequence[int], out: int) -> None:
        """Values one after the other, along the channels."""
        ids = ints(np.array(sources))
        self._call("concat", ids.ctypes.data, ids.size, out)

    def pad(self, source: int, out: int, before: Shape, fill: float = 0.0) -> None:
        """The input within a larger output, `before` from its first (channel, row, column)."""
        self._call("pad", source, out, *before, fill)

    def slice(self, source: int, out: int, begin: Shape) -> None:
        """The part of the input that begins at (channel, row, column)."""
        self._call("slice", source, out, *begin)

    def softmax(self, source: int, out: int, beta: float = 1.0) -> None:
        """Softmax over the channels of each pixel."""
        self._call("softmax", source, out, beta)

    # -- running --

    def pack(self) -> None:
        """Packs what weights still wait for it, and lets go of them."""
        self._call("pack")
        self._unpacked.clear()

    def finalize(self, batch: int = 1) -> None:
        """Packs, and plans the memory; may be called again with another batch."""
        super().finalize(batch)
        self._unpacked.clear()

    def run(
        self,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray] | None = None,
        threads: int = 1,
        seconds: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """Runs all operations.

        Args:
            inputs: float32 arrays of shape (batch, height, width, channels), in the order of `input`.
            outputs: Arrays to write, C-contiguous float32; new ones by default.
            threads: Number of threads, the caller's included.
            seconds: Gets the time of each operation: float64, one number an operation.

        Returns:
            The outputs, in the order of `output`.
        """
        shapes = [(self._batch, *shape) for shape in self.out_shapes]
        sources = [floats(a) for a in inputs]
        results = [np.empty(s, "float32") for s in shapes] if outputs is None else list(outputs)
        self.run_at(self.addresses(sources, results), threads, seconds)
        return results


def _c(part: Activation | Epilogue | None) -> Any:
    return None if part is None else part._c()
