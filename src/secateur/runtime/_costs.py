"""What operations are thought to cost, natively and in LiteRT, from constants that were measured.

Only the proportions matter: a processor that is twice as fast is so on both sides.
`benchmarks/runtime.py --calibrate` measures the constants anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from secateur.litert.graph import indices
from secateur.runtime._operations import Convolution, Depthwise, Elementwise, Operation, size
from secateur.runtime._reading import Dims, Graph
from secateur.runtime._units import Unit


@dataclass(frozen=True)
class Rates:
    """How fast one side is.

    Args:
        dense: Multiply-adds a nanosecond of convolutions with all weights.
        sparse: The same with the non-zero weights only.
        depthwise: The same of depthwise convolutions.
        stream: Values a nanosecond that simple operations write.
        function: The same for functions such as swish.
        weights: Weights a nanosecond that come from memory, where each is used for a pixel or few.
        call: Nanoseconds that an operation takes at least.
    """

    dense: float
    sparse: float
    depthwise: float
    stream: float
    function: float
    weights: float
    call: float


#: The native library by instruction set.
NATIVE = {
    "avx512": Rates(32.0, 24.0, 16.0, 2.5, 1.2, 2.0, 500.0),
    "avx2": Rates(20.0, 14.0, 10.0, 2.0, 0.8, 2.0, 500.0),
    "neon": Rates(6.0, 5.0, 4.0, 1.0, 0.4, 1.0, 500.0),
    "portable": Rates(5.0, 4.0, 3.0, 1.0, 0.2, 1.0, 500.0),
}
#: LiteRT with XNNPACK by the best instruction set of the processor.
LITERT = {
    "avx512": Rates(50.0, 50.0, 9.0, 2.0, 1.0, 2.0, 1500.0),
    "avx2": Rates(28.0, 28.0, 7.0, 1.5, 0.7, 2.0, 1500.0),
    "neon": Rates(10.0, 10.0, 4.0, 1.0, 0.4, 1.0, 1500.0),
    "portable": Rates(6.0, 6.0, 3.0, 0.7, 0.3, 1.0, 1500.0),
}
# A change of sides: nanoseconds for the call, and values a nanosecond that are moved.
_SEAM_CALL, _SEAM_STREAM = 9000.0, 1.0
_FUNCTIONS = ("LOGISTIC", "TANH", "ELU", "GELU", "EXP", "SOFTMAX", "LOG_SOFTMAX", "POW", "LOG")


class Costs:
    """Estimates of time, in nanoseconds for one thread.

    Args:
        isa: The instruction set that the native library uses.
        best: The best that the processor has, which LiteRT uses.
        batch: How many images run at once.
    """

    def __init__(self, isa: str, best: str, batch: int) -> None:
        self._native = NATIVE.get(isa, NATIVE["portable"])
        self._litert = LITERT.get(best, LITERT["portable"])
        self._batch = batch

    def better_sparse(self, operation: Convolution) -> bool:
        """Whether a convolution is faster without its zeros."""
        return self._convolution(operation, True) < self._convolution(operation, False)

    def native(self, operation: Operation) -> float:
        """What an operation costs in the native library."""
        rates = self._native
        pixels = self._batch * operation.target[1] * operation.target[2]
        if isinstance(operation, Depthwise):
            cost = operation.weights.size * pixels / rates.depthwise
        elif isinstance(operation, Convolution):
            cost = self._convolution(operation, operation.sparse)
        else:
            values = max(size(shape) for shape in [*operation.sources, operation.target])
            slow = operation.kind in ("sigmoid", "tanh", "swish", "elu", "gelu", "softmax")
            cost = self._batch * values / (rates.function if slow else rates.stream)
        return self._batch * rates.call + cost

    def _convolution(self, operation: Convolution, sparse: bool) -> float:
        pixels = self._batch * operation.target[1] * operation.target[2]
        weights, rates = operation.weights, self._native
        if sparse:
            return weights.nonzeros * (pixels / rates.sparse + 1.5 / rates.weights)
        return weights.size * max(pixels / rates.dense, 1 / rates.weights)

    def litert(self, graph: Graph, unit: Unit) -> float:
        """What a unit costs in LiteRT."""
        rates, operation = self._litert, unit.operation
        if isinstance(operation, Convolution):
            pixels = self._batch * operation.target[1] * operation.target[2]
            rate = rates.depthwise if isinstance(operation, Depthwise) else rates.dense
            cost = operation.weights.size * max(pixels / rate, 1 / rates.weights)
            extra = [p for p in unit.places if graph.kinds[p] in ("HARD_SWISH", *_FUNCTIONS, "ADD")]
            cost += len(extra) * self._batch * size(operation.target) / rates.function
            return rates.call + cost
        total = 0.0
        for place in unit.places:
            shapes = [graph.shapes[i] for i in indices(graph.operators[place].outputs) if i >= 0]
            slow = graph.kinds[place] in _FUNCTIONS
            rate = rates.function if slow else rates.stream
            total += rates.call + sum(_count(shape) for shape in shapes) / rate
            if isinstance(operation, Elementwise) or operation is None:
                continue
            total += sum(self._batch * size(shape) for shape in operation.sources) / rates.stream
        return total

    def seam(self, shape: Dims | None) -> float:
        """What it costs to hand a tensor from one side to the other."""
        return _SEAM_CALL + _count(shape) / _SEAM_STREAM


def _count(shape: Dims | None) -> float:
    total = 1.0
    for length in shape or ():
        total *= length
    return total
