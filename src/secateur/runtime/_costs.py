"""What operations are thought to cost, natively and in LiteRT, from constants that were measured.

Only the proportions matter: a processor that is twice as fast is so on both sides. The constants are
from `Interpreter.profile()` and LiteRT's profiler (`secateur benchmark --profile`) on the layers of
MobileNets, EfficientNetB0 and ResNet50.
"""

from typing import NamedTuple

from secateur.runtime._operations import (
    Convolution,
    Depthwise,
    Operation,
    Pooling,
    Softmax,
    size,
)
from secateur.runtime._reading import Dims, Graph
from secateur.runtime._signatures import Function
from secateur.runtime._units import Unit


class Rates(NamedTuple):
    """How fast one side is; all but those in nanoseconds are counts a nanosecond.

    Args:
        weight: Nanoseconds that each weight of a convolution costs, however few the pixels.
        nonzero: The same where only the weights that are not zero are stored, for each of them.
        dense: Multiply-adds of 1x1 convolutions with all weights.
        windowed: The same of convolutions with larger kernels.
        sparse: The same with the non-zero weights only.
        depthwise: The same of depthwise convolutions.
        image: Values that a convolution writes, or a depthwise one reads, beside its arithmetic.
        stream: Values that simple operations write.
        function: Values that functions such as swish write.
        pool: Values under the windows of poolings.
        call: Nanoseconds that an operation takes at least.
        thread: What each further thread adds to the speed of the first, measured with two.
    """

    weight: float
    nonzero: float
    dense: float
    windowed: float
    sparse: float
    depthwise: float
    image: float
    stream: float
    function: float
    pool: float
    call: float
    thread: float


# Measured on an Intel processor with AVX-512 and on one of AMD's with AVX2; the others are scaled.
#: The native library by instruction set.
NATIVE = {
    "avx512": Rates(0.2, 0.7, 60.0, 56.0, 45.0, 54.0, 16.0, 5.0, 4.6, 1.1, 500.0, 0.6),
    "avx2": Rates(0.25, 0.8, 28.0, 31.0, 16.0, 20.0, 4.0, 4.5, 1.6, 2.0, 500.0, 0.8),
    "neon": Rates(0.5, 1.0, 12.0, 11.0, 9.0, 6.0, 4.0, 1.5, 0.7, 0.7, 700.0, 0.6),
    "portable": Rates(0.6, 1.2, 8.0, 7.0, 6.0, 4.0, 3.0, 1.0, 0.2, 0.5, 700.0, 0.6),
}
#: The same where the processor has a better one, too: measured on Intel's with AVX2 forced.
FORCED = {"avx2": Rates(0.25, 0.8, 36.0, 36.0, 30.0, 28.0, 12.0, 4.5, 2.6, 1.0, 500.0, 0.6)}
#: LiteRT with XNNPACK by the best instruction set of the processor. It has no sparse kernels on x86.
LITERT = {
    "avx512": Rates(0.4, 0.4, 70.0, 48.0, 70.0, 28.0, 12.0, 3.5, 3.0, 7.0, 1500.0, 0.9),
    "avx2": Rates(0.5, 0.5, 38.0, 29.0, 38.0, 20.0, 9.0, 3.0, 1.6, 5.0, 1500.0, 0.9),
    "neon": Rates(0.6, 0.6, 13.0, 11.0, 13.0, 7.0, 5.0, 2.0, 0.9, 2.5, 1500.0, 0.9),
    "portable": Rates(0.8, 0.8, 8.0, 7.0, 8.0, 5.0, 3.0, 1.2, 0.5, 1.5, 1500.0, 0.9),
}
# A change of sides: nanoseconds for the call, and values a nanosecond that are moved. With several
# threads those of one side still wait for work where those of the other should have begun.
_SEAM_CALL, _SEAM_THREADS, _SEAM_STREAM = 9000.0, 300_000.0, 1.8
_FUNCTIONS = ("LOGISTIC", "TANH", "ELU", "GELU", "EXP", "SOFTMAX", "LOG_SOFTMAX", "POW", "LOG")
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# XNNPACK makes nothing of these, or a part of another operator.
_FREE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "DEQUANTIZE", "DENSIFY")
_CURVES = {
    *(Function.SIGMOID, Function.TANH, Function.SWISH, Function.ELU, Function.GELU),
    *(Function.GELU_TANH, Function.EXP),
}


class Costs:
    """Estimates of time, in nanoseconds.

    Args:
        isa: The instruction set that the native library uses.
        best: The best that the processor has, which LiteRT uses.
        batch: How many images run at once.
        threads: How many threads run.
    """

    def __init__(self, isa: str, best: str, batch: int, threads: int = 1) -> None:
        rates = NATIVE if isa == best else {**NATIVE, **FORCED}
        self._native = rates.get(isa, NATIVE["portable"])
        self._litert = LITERT.get(best, LITERT["portable"])
        self._batch = batch
        self._native_speed = 1 + self._native.thread * (threads - 1)
        self._litert_speed = 1 + self._litert.thread * (threads - 1)
        self._seam_call = _SEAM_CALL if threads == 1 else _SEAM_THREADS

    def better_sparse(self, operation: Convolution) -> bool:
        """Whether a convolution is faster without its zeros."""
        return self._convolution(operation, True) < self._convolution(operation, False)

    def native(self, operation: Operation) -> float:
        """What an operation costs in the native library."""
        rates = self._native
        if isinstance(operation, Convolution):
            cost = self._convolution(operation, operation.sparse)
        elif isinstance(operation, Pooling):
            cost = _under(operation) / rates.pool
        else:
            values = max(size(shape) for shape in [*operation.sources, operation.target])
            slow = isinstance(operation, Softmax) or _curves(operation)
            cost = values / (rates.function if slow else rates.stream)
        return self._batch * (rates.call + cost) / self._native_speed

    def _convolution(self, operation: Convolution, sparse: bool) -> float:
        """A convolution of one image in the native library."""
        weights, rates = operation.weights, self._native
        values = size(operation.target)
        if not isinstance(operation, Depthwise):
            pixels = operation.target[1] * operation.target[2]
            if sparse:
                cost = weights.nonzeros * (pixels / rates.sparse + rates.nonzero)
            else:
                cost = weights.size * (pixels / _rate(operation, rates) + rates.weight)
            cost += values / rates.image
        else:
            cost = _depthwise(operation, rates)
        if operation.residual is not None:
            cost += values / rates.image
        return cost + (values / rates.function if _curves(operation) else 0.0)

    def litert(self, graph: Graph, unit: Unit) -> float:
        """What a unit costs in LiteRT."""
        rates, operation = self._litert, unit.operation
        total = 0.0
        for place in unit.places:
            kind = graph.kinds[place]
            if kind in _WEIGHTED and isinstance(operation, Depthwise):
                total += rates.call + self._batch * _depthwise(operation, rates)
            elif kind in _WEIGHTED and isinstance(operation, Convolution):
                pixels = self._batch * operation.target[1] * operation.target[2]
                total += rates.call
                rate = _rate(operation, rates)
                total += operation.weights.size * (pixels / rate + rates.weight)
            elif isinstance(operation, Pooling):
                total += rates.call + self._batch * _under(operation) / rates.pool
            elif kind == "MEAN":
                read = sum(_count(graph.shapes[i]) for i in graph.reads[place][:1])
                total += rates.call + read / rates.stream
            elif kind not in _FREE:
                written = sum(_count(graph.shapes[i]) for i in graph.writes[place] if i >= 0)
                rate = rates.function if kind in _FUNCTIONS else rates.stream
                total += rates.call + written / rate
        return total / self._litert_speed

    def seam(self, shape: Dims | None, inside: bool) -> float:
        """What it costs to hand a tensor from one side to the other, or from or to the caller."""
        call = self._seam_call if inside else _SEAM_CALL
        return call + _count(shape) / _SEAM_STREAM


def _rate(operation: Convolution, rates: Rates) -> float:
    return rates.dense if operation.window.kernel == (1, 1) else rates.windowed


def _depthwise(operation: Depthwise, rates: Rates) -> float:
    """A depthwise convolution of one image: its arithmetic, and its larger image."""
    work = operation.weights.size * operation.target[1] * operation.target[2]
    largest = max(size(operation.sources[0]), size(operation.target))
    return work / rates.depthwise + largest / rates.image


def _under(operation: Pooling) -> int:
    """How many values are under the windows of a pooling of one image."""
    height, width = operation.window.kernel
    return size(operation.target) * height * width


def _curves(operation: Operation) -> bool:
    """Whether a function that takes more than a few instructions is a part of an operation."""
    return any(part.function in _CURVES for part in operation.functions)


def _count(shape: Dims | None) -> float:
    total = 1.0
    for length in shape or ():
        total *= length
    return total
