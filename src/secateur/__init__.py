"""secateur prunes Keras 3 models on TensorFlow, JAX or PyTorch.

Two lines make a model sparse: ``secateur.prune(model, ...)`` after ``model.compile``, then train as
before. The names below are loaded on first use, so that ``import secateur`` costs next to nothing and
the parts that need no Keras work where no Keras backend is installed.
"""

from secateur import _registration
from secateur._lazy import lazy

__version__ = "0.1.0"

_HOME = {
    "Allocation": "allocation",
    "BenchmarkError": "benchmarking",
    "BenchmarkReport": "benchmarking",
    "Block": "structures",
    "ConstantSparsity": "schedules",
    "Criterion": "criteria",
    "ErdosRenyi": "allocation",
    "ExportReport": "litert",
    "Global": "allocation",
    "MByN": "structures",
    "Magnitude": "criteria",
    "PolynomialDecay": "schedules",
    "PrunableLayer": "prunable",
    "PruneForLatencyOnXNNPack": "policies",
    "PruningGroup": "groups",
    "PruningPolicy": "policies",
    "PruningProgress": "callbacks",
    "PruningReport": "report",
    "PruningSchedule": "schedules",
    "PruningSummaries": "callbacks",
    "Reason": "report",
    "SparseOptimizer": "optimizer",
    "Structure": "structures",
    "Uniform": "allocation",
    "Unstructured": "structures",
    "benchmark": "benchmarking",
    "export": "litert",
    "prune": "pruning",
    "prune_once": "one_shot",
    "sparsity": "pruning",
}
_SUBMODULES = ("datasets", "litert", "runtime", "tfmot", "xnnpack")

__getattr__, __dir__, __all__ = lazy(__name__, _HOME, _SUBMODULES)

_registration.register_when_keras_is_imported()
