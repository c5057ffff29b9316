"""Download and unpack what it takes to run LiteRT's aarch64 wheel: once, as any user."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from secateur.benchmarking.cache import cache_folder
from secateur.benchmarking.errors import BenchmarkError
from secateur.benchmarking.targets.base import Progress, silent

_COUNTER = Path(__file__).parent / "counter.c"
# Python 3.11 of Debian 12 for ARM with the libraries it needs, and an emulator that takes plugins.
_GUEST = (
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libexpat1",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
    "libuuid1",
    "libssl3",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
)
_HOST = ("qemu-user", "libcapstone4", "liburing2")
_PLATFORMS = ("manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64")
_TOOLS = ("apt-get", "dpkg-deb", "gcc", "readelf")
# Without these two files LiteRT's cpuinfo crashes on computers with fewer than four cores. The
# part 0xd08 is a Cortex-A72; XNNPACK chooses its dense kernels by it.
_CORE = """processor\t: {number}
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""

_IMPORTS = "import json, pathlib, sys, time; import numpy; import ai_edge_litert.interpreter"

#: The core that is emulated.
CORE = "Cortex-A72"


def litert_version() -> str:
    """The version of LiteRT that is emulated: the one installed here."""
    return version("ai-edge-litert")


def folder() -> Path:
    """Where the kit is, or would be."""
    return cache_folder() / "arm64" / f"litert-{litert_version()}"


def installed() -> bool:
    """Whether the kit is there, whole."""
    return (folder() / "counter.so").is_file()


def obstacle(release: Path = Path("/etc/os-release")) -> str | None:
    """Return None where the kit can be set up, else one line that says what is in the way."""
    text = release.read_text() if release.is_file() else ""
    if platform.machine() != "x86_64" or "VERSION_CODENAME=bookworm" not in text:
        return "the emulated ARM processor needs Debian 12 on an x86-64 computer"
    if gone := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(gone)} not found; on Debian: apt-get install apt dpkg gcc binutils"
    pip = [sys.executable, "-m", "pip", "--version"]
    if subprocess.run(pip, capture_output=True, check=False).returncode:
        return "this Python has no pip; install it with `python -m ensurepip`"
    return None


def install(progress: Progress = silent) -> Path:
    """Download the kit into the cache, unless it is there.

    Args:
        progress: Called with what is going on.

    Returns:
        Its folder.

    Raises:
        BenchmarkError: If this machine cannot run it, or a download fails.
    """
    target = folder()
    if installed():
        return target
    if (reason := obstacle()) is not None:
        raise BenchmarkError(f"{reason}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as name:
        fresh = Path(name) / "kit"
        fresh.mkdir()
        progress("downloading Debian's packages for ARM, and qemu (40 MB, once)")
        _unpack_packages(fresh)
        _describe_processor(fresh / "guest")
        progress("downloading LiteRT for ARM (60 MB, once)")
        _install_litert(fresh / "site")
        progress("compiling the instruction counter")
        counter = fresh / "counter.so"
        _call(["gcc", "-O2", "-shared", "-fPIC", "-o", str(counter), str(_COUNTER)])
        progress("starting LiteRT in the emulator")
        # Python compiles modules when it first imports them, which would be counted.
        start = [*command(fresh, Path(os.devnull)), "-c", _IMPORTS]
        _call(start, env=environment(fresh))
        try:
            os.rename(fresh, target)
        except OSError:  # another process was faster
            if not installed():
                raise
    return target


def command(kit: Path, counts: Path) -> list[str]:
    """How to run Python in the emulated processor, counting its instructions.

    Args:
        kit: The folder of the kit.
        counts: The file for the counts.

    Returns:
        The command; the arguments of Python follow. It has numpy and LiteRT, nothing else.
    """
    settings = {"PYTHONPATH": str(kit / "site"), "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    variables = [part for key, value in settings.items() for part in ("-E", f"{key}={value}")]
    return [
        str(kit / "host/usr/bin/qemu-aarch64"),
        *("-L", str(kit / "guest")),
        *("-U", "LD_LIBRARY_PATH"),
        *variables,
        *("-plugin", f"{kit / 'counter.so'},out={counts}"),
        str(kit / "guest/usr/bin/python3.11"),
        *("-S", "-P"),
    ]


def environment(kit: Path) -> dict[str, str]:
    """The environment of the emulator itself."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    libraries = str(kit / "host/usr/lib/x86_64-linux-gnu")
    return {**own, "LD_LIBRARY_PATH": libraries, "QEMU_CPU": "cortex-a72"}


def _unpack_packages(kit: Path) -> None:
    """Fetch packages with an apt of our own, which touches nothing of the system's."""
    state, debs = kit / "apt", kit / "debs"
    for path in (state / "lists/partial", state / "cache/archives/partial", debs):
        path.mkdir(parents=True)
    (state / "status").touch()
    options = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Acquire::Languages": "none",
        "APT::Architectures::": "amd64",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q"]
    for key, value in options.items():
        apt += ["-o", f"{key}={value}"]
    apt += ["-o", "APT::Architectures::=arm64"]
    _call([*apt, "update"])
    packages = [*(f"{package}:arm64" for package in _GUEST), *(f"{p}:amd64" for p in _HOST)]
    _call([*apt, "download", *packages], cwd=debs)
    for package in sorted(debs.glob("*.deb")):
        side = "guest" if package.stem.endswith("_arm64") else "host"
        _call(["dpkg-deb", "-x", str(package), str(kit / side)])
    for emulator in (kit / "host/usr/bin").glob("qemu-*"):
        if emulator.name != "qemu-aarch64":
            emulator.unlink()
    shutil.rmtree(state)
    shutil.rmtree(debs)


def _describe_processor(guest: Path) -> None:
    """Files that the emulated programs find instead of the host's."""
    cpus = guest / "sys/devices/system/cpu"
    (guest / "proc").mkdir(parents=True, exist_ok=True)
    cpus.mkdir(parents=True)
    (guest / "proc/cpuinfo").write_text("".join(_CORE.format(number=i) for i in range(4)))
    (cpus / "possible").write_text("0-3\n")
    (cpus / "present").write_text("0-3\n")
    (cpus / "kernel_max").write_text("7\n")


def _install_litert(site: Path) -> None:
    platforms = [part for name in _PLATFORMS for part in ("--platform", name)]
    _call(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site)),
            *("--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:"),
            *platforms,
            f"ai-edge-litert=={litert_version()}",
            "numpy",
        ]
    )


def _call(
    command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise BenchmarkError(
            f"the emulated ARM processor could not be set up: {Path(command[0]).name} failed with "
            f"{' / '.join(lines[-2:])[:400]!r}"
        )
