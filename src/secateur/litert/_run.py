"""The child process that runs `.tflite` files: `FOLDER`, where the job is described.

`job.json` names the files to run and the calls to make; the calls' inputs are in `inputs.npz`. The
outputs of run `i` go to `outputs-i.npz`, their names first, and its number to `running` before it
begins.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Run the job in the folder `sys.argv[1]`; a failure's reason goes to standard error."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    _limit_memory(job["memory"])
    with np.load(folder / "inputs.npz", allow_pickle=False) as stored:
        inputs = dict(stored)
    for number, run in enumerate(job["runs"]):
        (folder / "running").write_text(str(number))
        try:
            outputs = _run(folder, run, job["calls"], inputs)
        except (ValueError, RuntimeError, MemoryError) as error:
            sys.exit(f"{error}")
        names = np.array(json.dumps(list(outputs)))
        np.savez(folder / f"outputs-{number}.npz", names, *outputs.values())


def _run(
    folder: Path, run: dict[str, Any], calls: list[dict[str, Any]], inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The outputs of all calls; those of call `i` are named `i/NAME`."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    without = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=(folder / run["file"]).read_bytes(),
        experimental_op_resolver_type=OpResolverType.AUTO if run["delegate"] else without,
        num_threads=run["threads"],
    )
    found: dict[str, np.ndarray] = {}
    for number, call in enumerate(calls):
        given = {name: inputs[key] for name, key in call["inputs"].items()}
        if call["signature"] is not None:
            outputs = interpreter.get_signature_runner(call["signature"])(**given)
        else:
            outputs = _invoke(interpreter, given)
        found |= {f"{number}/{name}": np.array(value) for name, value in outputs.items()}
    return found


def _invoke(interpreter: Any, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a file without signatures; its inputs and outputs are named by their places."""
    details = interpreter.get_input_details()
    inputs = {details[int(place)]["index"]: value for place, value in given.items()}
    for index, value in inputs.items():
        interpreter.resize_tensor_input(index, value.shape)
    interpreter.allocate_tensors()
    for index, value in inputs.items():
        interpreter.set_tensor(index, value)
    interpreter.invoke()
    return {
        str(place): interpreter.get_tensor(entry["index"])
        for place, entry in enumerate(interpreter.get_output_details())
    }


def _limit_memory(size: int) -> None:
    """Let allocations fail beyond `size` bytes, and leave no core dump; POSIX only."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        size = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))
