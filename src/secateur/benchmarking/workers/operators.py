"""Find out which kernels LiteRT runs for each model: `python operators.py JOB.json`.

LiteRT's Python interpreter has no profiler, but `libLiteRt.so` in the same package has one, behind
its C interface (`litert/c/litert_profiler.h`), which is called here through ctypes.
"""

import ctypes
import json
import sys
from ctypes import byref, c_char_p, c_int, c_int32, c_size_t, c_uint, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import ai_edge_litert

_CPU = 1  # LiteRtHwAccelerators
_WRITE = 1  # LiteRtTensorBufferLockMode
_RUNS = 5


class _Layout(ctypes.Structure):
    _fields_ = [
        ("rank", c_uint, 7),
        ("has_strides", c_uint, 1),
        ("dimensions", c_int32 * 8),
        ("strides", c_uint32 * 8),
    ]


class _TensorType(ctypes.Structure):
    _fields_ = [("element_type", c_int), ("layout", _Layout)]


def main() -> None:
    """Profile the models of the job named on the command line."""
    job = json.loads(Path(sys.argv[1]).read_text())
    summaries: list[dict[str, str]] = []
    for model in job["models"]:
        print(f"profiling {model['name']}", flush=True)
        try:
            summaries.append({"summary": Profiled(model).summary(_RUNS)})
        except (OSError, RuntimeError, AttributeError) as error:
            summaries.append({"error": str(error)})
    Path(job["result"]).write_text(json.dumps({"models": summaries}))


class Library:
    """`libLiteRt`: its functions return a status, 0 where all is well."""

    def __init__(self) -> None:
        folder = Path(ai_edge_litert.__file__).parent
        names = ("libLiteRt.so", "libLiteRt.dylib", "LiteRt.dll")
        path = next((folder / name for name in names if (folder / name).exists()), None)
        if path is None:
            raise OSError("the ai-edge-litert package has no libLiteRt")
        self._library = ctypes.CDLL(str(path))

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function by its name without the `LiteRt` in front."""
        status = getattr(self._library, f"LiteRt{name}")(*arguments)
        if status:
            raise RuntimeError(f"LiteRt{name} failed with status {status}")

    def make(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function whose last argument receives what it makes."""
        made = c_void_p()
        self.call(name, *arguments, byref(made))
        return made


class Profiled:
    """A model compiled with profiling, its inputs filled."""

    def __init__(self, model: dict) -> None:
        self.library = library = Library()
        self.environment = library.make("CreateEnvironment", c_int(0), None)
        self.model = library.make("CreateModelFromFile", self.environment, model["path"].encode())
        self.compiled = library.make(
            "CreateCompiledModel", self.environment, self.model, self._options()
        )
        signature = library.make("GetModelSignature", self.model, c_size_t(0))
        self.inputs = self._buffers("Input", signature)
        self.outputs = self._buffers("Output", signature)
        values = {entry["name"]: Path(entry["path"]).read_bytes() for entry in model["inputs"]}
        for i, buffer in enumerate(self.inputs):
            name = c_char_p()
            library.call("GetSignatureInputName", signature, c_size_t(i), byref(name))
            self._fill(buffer, values[(name.value or b"").decode()])

    def summary(self, runs: int) -> str:
        """LiteRT's own table of the operators that ran."""
        self._run()
        profiler = self.library.make("CompiledModelGetProfiler", self.compiled)
        self.library.call("StartProfiler", profiler)
        for _ in range(runs):
            self._run()
        self.library.call("StopProfiler", profiler)
        text = c_char_p()
        self.library.call("GetProfileSummary", profiler, self.compiled, byref(text))
        return (text.value or b"").decode()

    def _options(self) -> c_void_p:
        c = ctypes.CDLL(None)
        c.strdup.restype, c.strdup.argtypes = c_void_p, [c_char_p]
        options = self.library.make("CreateOptions")
        self.library.call("SetOptionsHardwareAccelerators", options, c_int(_CPU))
        text = c_void_p(c.strdup(b"enable_profiling = true\n"))  # freed by LiteRT
        profiling = self.library.make(
            "CreateOpaqueOptions", b"runtime_options_string", text, ctypes.cast(c.free, c_void_p)
        )
        self.library.call("AddOpaqueOptions", options, profiling)
        return options

    def _buffers(self, kind: str, signature: c_void_p) -> list[c_void_p]:
        count = c_size_t()
        self.library.call(f"GetNumSignature{kind}s", signature, byref(count))
        buffers = []
        for i in range(count.value):
            tensor = self.library.make(f"GetSignature{kind}TensorByIndex", signature, c_size_t(i))
            kind_of_tensor = _TensorType()
            self.library.call("GetRankedTensorType", tensor, byref(kind_of_tensor))
            needs = self.library.make(
                f"GetCompiledModel{kind}BufferRequirements",
                self.compiled,
                c_size_t(0),
                c_size_t(i),
            )
            buffers.append(
                self.library.make(
                    "CreateManagedTensorBufferFromRequirements",
                    self.environment,
                    byref(kind_of_tensor),
                    needs,
                )
            )
        return buffers

    def _fill(self, buffer: c_void_p, values: bytes) -> None:
        size = c_size_t()
        self.library.call("GetTensorBufferSize", buffer, byref(size))
        address = c_void_p()
        self.library.call("LockTensorBuffer", buffer, byref(address), c_int(_WRITE))
        ctypes.memmove(address, values, min(size.value, len(values)))
        self.library.call("UnlockTensorBuffer", buffer)

    def _run(self) -> None:
        self.library.call(
            "RunCompiledModel",
            self.compiled,
            c_size_t(0),
            c_size_t(len(self.inputs)),
            (c_void_p * len(self.inputs))(*self.inputs),
            c_size_t(len(self.outputs)),
            (c_void_p * len(self.outputs))(*self.outputs),
        )


if __name__ == "__main__":
    main()
