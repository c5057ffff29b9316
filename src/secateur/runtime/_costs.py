"""How fast the native library and LiteRT are thought to be, in constants that were measured.

Only the proportions matter: a processor that is twice as fast is so on both sides. The constants are
from `Interpreter.profile()` and LiteRT's profiler (`secateur benchmark --profile`) on the layers of
MobileNets, EfficientNetB0 and ResNet50; on AMD's processors LiteRT's, and with AVX-512 both sides', are
fitted to what such networks take as a whole.
`benchmarks/choices.py` compares estimates with what is measured. `native/costs.cpp` says what an
operation takes at such rates.
"""

import math

from secateur.litert._columns import Dims
from secateur.runtime._signatures import CRates

# Measured on an Intel processor with AVX-512 and on AMD's with it (Zen 4) and with AVX2 alone (Zen 3);
# the others are scaled.
#: The native library by instruction set, and by the processor's maker where that was measured apart.
NATIVE = {
    "avx512": CRates(0.2, 0.7, 60.0, 56.0, 45.0, 54.0, 16.0, 5.0, 4.6, 1.1, 500.0, 0.6),
    "avx512 amd": CRates(0.17, 0.75, 51.5, 48.0, 42.0, 57.0, 17.5, 5.9, 4.7, 1.1, 500.0, 0.8),
    "avx2": CRates(0.36, 0.9, 33.0, 31.0, 24.5, 28.0, 2.35, 4.5, 3.6, 2.0, 1000.0, 0.65),
    "neon": CRates(0.5, 1.0, 12.0, 11.0, 9.0, 6.0, 4.0, 1.5, 0.7, 0.7, 700.0, 0.6),
    "portable": CRates(0.6, 1.2, 8.0, 7.0, 6.0, 4.0, 3.0, 1.0, 0.2, 0.5, 700.0, 0.6),
}
#: The same where the processor has a better one, too: measured with AVX2 forced.
FORCED = {
    "avx2": CRates(0.25, 0.8, 36.0, 36.0, 30.0, 28.0, 12.0, 4.5, 2.6, 1.0, 500.0, 0.6),
    "avx2 amd": CRates(0.21, 0.75, 44.5, 44.5, 38.5, 31.5, 16.5, 5.2, 4.2, 1.3, 400.0, 0.8),
}
#: LiteRT with XNNPACK by the best instruction set of the processor. It has no sparse kernels on x86.
LITERT = {
    "avx512": CRates(0.4, 0.4, 72.0, 48.0, 70.0, 28.0, 12.0, 3.5, 3.0, 7.0, 1500.0, 0.9),
    "avx512 amd": CRates(0.12, 0.4, 57.0, 51.5, 57.0, 31.0, 12.0, 7.8, 3.0, 7.4, 1200.0, 0.93),
    "avx2": CRates(0.4, 0.4, 37.0, 39.0, 38.0, 17.0, 3.3, 3.3, 3.8, 5.0, 1500.0, 0.8),
    "neon": CRates(0.6, 0.6, 13.0, 11.0, 13.0, 7.0, 5.0, 2.0, 0.9, 2.5, 1500.0, 0.9),
    "portable": CRates(0.8, 0.8, 8.0, 7.0, 8.0, 5.0, 3.0, 1.2, 0.5, 1.5, 1500.0, 0.9),
}
# A change of sides: nanoseconds for the call, and values a nanosecond that are moved. With several
# threads those of one side still wait for work where those of the other should have begun.
_SEAM_CALL, _SEAM_THREADS, _SEAM_STREAM = 9000.0, 300_000.0, 1.0


class Costs:
    """How fast both sides are, and what it costs to change them.

    Args:
        isa: The instruction set that the native library uses.
        best: The best that the processor has, which LiteRT uses.
        maker: Who made the processor.
        threads: How many threads run.

    Attributes:
        native: How fast the native library is.
        litert: How fast LiteRT is.
    """

    def __init__(self, isa: str, best: str, maker: str, threads: int = 1) -> None:
        native = NATIVE if isa == best else {**NATIVE, **FORCED}
        self.native = _find(native, isa, maker)
        self.litert = _find(LITERT, best, maker)
        self._seam_call = _SEAM_CALL if threads == 1 else _SEAM_THREADS

    def seam(self, shape: Dims | None, inside: bool) -> float:
        """Nanoseconds to hand a tensor from one side to the other, or from or to the caller."""
        call = self._seam_call if inside else _SEAM_CALL
        return call + math.prod(shape or ()) / _SEAM_STREAM


def _find(rates: dict[str, CRates], isa: str, maker: str) -> CRates:
    return rates.get(f"{isa} {maker}") or rates.get(isa) or rates["portable"]
