"""Run models in secateur's own interpreter, in turn: `python runtime.py JOB.json`."""

import json
import sys
from pathlib import Path

from secateur.benchmarking.workers import interpreter
from secateur.runtime import Interpreter

_PROFILED_RUNS = 10


class Loaded(interpreter.Loaded):
    """A model in an interpreter of its own."""

    engine = Interpreter

    def report(self) -> dict:
        """What was measured, with the layers that ran and where."""
        plan = self.interpreter.plan()
        return {
            **super().report(),
            "isa": plan.isa,
            "layers": len(plan.layers),
            "native": len(plan.native),
            "reason": plan.reason,
            "kernels": self.interpreter.profile(_PROFILED_RUNS).to_dict()["kernels"],
        }


def main() -> None:
    """Run the job named on the command line."""
    job = json.loads(Path(sys.argv[1]).read_text())
    result = Path(job["result"])
    try:
        report = interpreter.run(job, result.parent, Loaded)
    except Exception as error:
        report = {"error": f"{type(error).__name__}: {error}"}
    result.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
