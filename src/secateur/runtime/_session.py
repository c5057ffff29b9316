"""A model divided between the native library and LiteRT, ready to run for inputs of certain shapes."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.runtime._costs import Costs
from secateur.runtime._partition import Prices, Segment, choose, segments
from secateur.runtime._program import Addresses, Program, isas, maker
from secateur.runtime._reading import Graph
from secateur.runtime._reasons import Reason
from secateur.runtime._steps import LiteRTStep, NativeStep, Place, Step, connect
from secateur.runtime._units import Refused, Unit, Units

if TYPE_CHECKING:
    from secateur.runtime.plan import Plan
    from secateur.runtime.profile import LayerTime


class Session:
    """What runs, and how.

    Args:
        graph: The graph with its shapes.
        front: Where the caller puts inputs and looks for outputs.
        threads: How many threads to use.
        always: Whether to run natively what can be, at any cost.

    Attributes:
        native: Whether anything runs natively; if not, there are no steps.
    """

    def __init__(
        self,
        graph: Graph,
        front: Mapping[int, Place],
        threads: int,
        always: bool = False,
    ) -> None:
        units = Units(graph)
        costs = Costs(Program().isa, isas()[0], maker(), threads)
        natively, in_litert = units.price(costs.native, costs.litert, threads)
        prices, described = Prices(natively, in_litert, costs.seam), units.described()
        while True:
            sides = choose(graph, described, prices, always)
            parts = segments(graph, described, sides)
            try:
                self.steps = self._build(graph, parts, units, threads)
                break
            except Refused as refused:
                number, said = refused.args
                described[number].reason = f"LiteRT: the native library says: {said}"
                natively[number] = math.inf
        self.native = any(sides)
        self._places, self._copied = connect(self.steps, graph, front)
        self._front = {tensor: front[tensor] for tensor in self._copied}
        # For the plan, and nothing that would keep the file.
        self._name, self._kinds, self._shapes = graph.name, graph.kinds, graph.shapes
        self._parts = parts
        #: Outputs whose shapes are known only behind a run; LiteRT keeps them.
        self.loose = {t: self._places[t] for t in graph.outputs if self.native and t not in front}
        self.ran = False
        self._bound: tuple[NativeStep, Addresses] | None = None
        #: The tensors that the caller reads and writes.
        self.kept = set(front)
        self._sizes = graph.sizes

    @functools.cached_property
    def plan(self) -> Plan:
        """Where each layer runs, and why; in words only for who asks."""
        from secateur.runtime.plan import Plan, PlannedLayer

        native = [step for step in self.steps if isinstance(step, NativeStep)]
        return Plan(
            layers=tuple(
                PlannedLayer(**self._described(unit, part, number))
                for number, part in enumerate(self._parts)
                for unit in part.units
            ),
            reason="" if self.steps else Reason.NOT_WORTH,
            isa=Program().isa,
            weight_bytes=sum(step.weight_bytes for step in native),
            arena_bytes=sum(step.arena_bytes for step in native),
            litert_bytes=sum(step.bytes for step in self.steps if isinstance(step, LiteRTStep)),
        )

    def _described(self, unit: Unit, part: Segment, number: int) -> dict[str, Any]:
        step = self.steps[number] if self.steps else None
        output = unit.outputs[0] if unit.outputs else None
        kernel = ""
        if isinstance(step, NativeStep) and output is not None:
            kernel = step.kernel(output)
        return {
            "name": "" if output is None else self._name(output),
            "operators": tuple(self._kinds[place] for place in unit.places),
            "where": "native" if part.native else "LiteRT",
            "segment": number,
            "kernel": kernel,
            "shape": None if output is None else self._shapes[output],
            "zeros": unit.zeros,
            "sparse": part.native and unit.sparse,
            "reason": _reason(unit, part.native),
        }

    def is_constant(self, tensor: int) -> bool:
        """Whether the file has a tensor's values."""
        return 0 <= tensor < len(self._sizes) and self._sizes[tensor] > 0

    @staticmethod
    def _build(graph: Graph, parts: list[Segment], units: Units, threads: int) -> list[Step]:
        if not any(part.native for part in parts):
            return []  # LiteRT runs the whole file
        native = [
            NativeStep(graph, part, units, threads) if part.native else None for part in parts
        ]
        return [
            step if step is not None else LiteRTStep(graph, part, threads)
            for step, part in zip(native, parts, strict=True)
        ]

    def bind(self) -> None:
        """Look where inputs and outputs are, once for all runs, where nothing can move them."""
        self._bound = None
        if len(self.steps) == 1 and isinstance(self.steps[0], NativeStep) and not self._copied:
            self._bound = (self.steps[0], self.steps[0].addresses(self._places))

    def run(self) -> None:
        """Run all steps on the inputs that are there."""
        if self._bound is not None:
            step, addresses = self._bound
            step.run_at(addresses)
        else:
            for each in self.steps:
                each.run(self._places)
        self._finish()

    def _finish(self) -> None:
        self.ran = True
        for tensor in self._copied:
            np.copyto(self._front[tensor](), self._places[tensor]())

    def times(self, runs: int) -> list[LayerTime]:
        """Run several times and take the median time of each layer."""
        from secateur.runtime.profile import LayerTime

        layers = [layer for i, step in enumerate(self.steps) for layer in _rows(i, step)]
        seconds = np.zeros((runs, len(layers)))
        for run in seconds:
            start = 0
            for step in self.steps:
                count = len(step.labels) if isinstance(step, NativeStep) else 1
                part = np.zeros(count)
                step.run(self._places, part)
                run[start : start + count] = part
                start += count
            self._finish()
        medians = np.median(seconds, axis=0) * 1e3
        return [
            LayerTime(name, where, kernel, float(ms), work)
            for (name, where, kernel, work), ms in zip(layers, medians, strict=True)
        ]


def _rows(number: int, step: Step) -> list[tuple[str, str, str, int]]:
    """Name, side, kernel and multiply-adds of what is timed in a step."""
    if isinstance(step, LiteRTStep):
        return [(f"segment {number}", "LiteRT", f"LiteRT, {step.operators} operators", 0)]
    return [
        (name, "native", label, work * step.batch)
        for name, label, work in zip(step.names, step.labels, step.work, strict=True)
    ]


def _reason(unit: Unit, native: bool) -> str:
    """Why a unit runs where it runs."""
    if not native:
        return unit.reason or Reason.COST
    if unit.sparse:
        return Reason.SPARSE
    mixed = unit.zeros is not None and not unit.depthwise
    return Reason.DENSE if mixed else Reason.WITH_OTHERS
