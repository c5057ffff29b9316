"""Models that LiteRT runs as they are."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT

from secateur.runtime._steps import Place
from secateur.runtime.profile import LayerTime


def litert(source: str | bytes, threads: int, **options: Any) -> Any:
    """LiteRT's interpreter of a file, given by its path or its bytes."""
    name = "model_content" if isinstance(source, bytes) else "model_path"
    return LiteRT(**{name: source}, num_threads=threads, **options)


def time_of(interpreter: Any, runs: int) -> LayerTime:
    """The median time of a model in LiteRT."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    return LayerTime("the whole model", "LiteRT", "LiteRT", float(np.median(seconds)) * 1e3)


def apart(places: Mapping[int, Place]) -> bool:
    """Whether no two tensors share memory."""
    arrays = {tensor: place() for tensor, place in places.items()}
    ends = sorted((array.ctypes.data, array.nbytes) for array in arrays.values())
    return all(start + size <= later for (start, size), (later, _) in itertools.pairwise(ends))
