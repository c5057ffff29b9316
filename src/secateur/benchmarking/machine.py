"""What this machine is, and whether XNNPACK would use its sparse kernels on it."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

_X86 = ("x86_64", "amd64", "i386", "i686", "x86")


@dataclass(frozen=True)
class Machine:
    """The processor of a machine.

    Args:
        architecture: As "x86_64" or "aarch64".
        name: Its name in words, or "".
        simd: The widest vector unit of an x86 processor, as "AVX-512", or "".
    """

    architecture: str
    name: str = ""
    simd: str = ""

    @property
    def is_x86(self) -> bool:
        """Whether it is an Intel or AMD processor."""
        return self.architecture.lower() in _X86

    @property
    def runs_sparse_kernels(self) -> bool:
        """Whether XNNPACK may choose sparse kernels: on all but x86 processors with AVX.

        Reference:
            `xnn_is_chw_compatible_config` in XNNPACK's src/xnnpack/hardware-config.h.
        """
        return not (self.is_x86 and self.simd.startswith("AVX"))

    def __str__(self) -> str:
        details = ", ".join(part for part in (self.architecture, self.simd) if part)
        return f"{self.name} ({details})" if self.name else details


def this_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """Describe the processor that runs this.

    Args:
        cpuinfo: Where Linux describes it. Elsewhere an x86 processor is taken to have AVX, as
            all have that were made since 2013 but for a few small ones.

    Returns:
        The machine.
    """
    architecture = platform.machine() or "unknown"
    text = cpuinfo.read_text(errors="replace") if cpuinfo.exists() else ""
    machine = Machine(architecture, _field("model name", text))
    if machine.is_x86:
        return Machine(architecture, machine.name, _simd(_field("flags", text).split()))
    return machine


def _simd(flags: list[str]) -> str:
    if not flags:
        return "AVX"
    for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("avx", "AVX"), ("sse2", "SSE2")):
        if flag in flags:
            return name
    return ""


def _field(name: str, text: str) -> str:
    found = re.search(rf"^{name}\s*: *(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""
