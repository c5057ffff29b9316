"""What an export wrote: sizes, how each weight is stored, and how far the outputs are off."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from secateur.litert.names import short_name
from secateur.litert.storage import Storage
from secateur.litert.tensors import TensorInfo, kernel_sparsity


@dataclass(frozen=True)
class StoredWeight(TensorInfo):
    """A weight of convolutions, matrices or tables in a written file.

    Args:
        name: Its name in the file.
        shape: Its shape.
        dtype: How its values are stored, as "float32" or "int8".
        size: The number of its weights.
        zeros: How many of them are zero.
        bytes: What it takes in the file, with its indices if it is sparse.
        layout: "dense", or how its sparse encoding is laid out.
        reason: Why it is stored so, one of `Storage`.
    """

    bytes: int
    layout: str
    reason: str

    @property
    def is_sparse(self) -> bool:
        """Whether it is in its sparse encoding."""
        return self.layout != "dense"

    @property
    def runs_sparse(self) -> bool:
        """Whether XNNPACK runs its operators with sparse kernels, where it has any."""
        return self.reason == Storage.RUNS_SPARSE

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {**super().to_dict(), "runs_sparse": self.runs_sparse}


@dataclass(frozen=True)
class ExportReport:
    """The result of `secateur.export`: text in a terminal, a table in a notebook.

    Args:
        path: The file that was written.
        bytes: Its size.
        gzip_bytes: Its size compressed by gzip, level 9.
        quantize: The quantization mode it was written with.
        tensors: Its weights and biases with their zeros, read back from the file.
        max_difference: The largest difference between an output of the file and of the model, on
            random inputs between 0 and 1 and some of the representative data; None where they could
            not be compared.
        note: Why they could not be compared, or "".
        sparse: The sparse mode it was written with.
        dense_bytes: The size of the same file with dense weights.
        dense_gzip_bytes: That size compressed.
        weights: How the weights of convolutions, matrices and tables are stored, and why.
        dense_difference: The largest difference from the outputs of the file with dense weights;
            None where no weight is sparse.
        dense_relative_difference: The same as a share of the output's largest number.
        compared_with: What `max_difference` is the difference from.
        eligibility: What XNNPACK runs sparse of the file, and what is in the way of the rest, a
            `secateur.xnnpack.EligibilityReport`.
    """

    path: str
    bytes: int
    gzip_bytes: int
    quantize: str | None
    tensors: tuple[TensorInfo, ...]
    max_difference: float | None
    note: str = ""
    sparse: str = "auto"
    dense_bytes: int = 0
    dense_gzip_bytes: int = 0
    weights: tuple[StoredWeight, ...] = ()
    dense_difference: float | None = None
    dense_relative_difference: float | None = None
    compared_with: str = "Keras' output"
    eligibility: Any = None

    @property
    def sparsity(self) -> float:
        """The share of zeros over the file's kernels, 0 to 1."""
        return kernel_sparsity(self.tensors)

    @property
    def runs_sparse(self) -> tuple[str, ...]:
        """The names of the weights whose operators XNNPACK runs sparse, where it can."""
        return tuple(weight.name for weight in self.weights if weight.runs_sparse)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        plain = {key: value for key, value in vars(self).items() if key not in _NESTED}
        return {
            **plain,
            "sparsity": self.sparsity,
            "runs_sparse": list(self.runs_sparse),
            "eligibility": None if self.eligibility is None else self.eligibility.to_dict(),
            "weights": [weight.to_dict() for weight in self.weights],
            "tensors": [tensor.to_dict() for tensor in self.tensors],
        }

    def __str__(self) -> str:
        lines = [f"Exported to {self.path}", *(f"  {key}: {value}" for key, value in self._facts())]
        rows = self._rows()
        width = max((len(name) for name, *_ in rows), default=0)
        lines += [f"  {name:<{width}}  {rest}" for name, rest in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>"
            for key, value in [("file", self.path), *self._facts(), *self._rows()]
        )
        return f"<table>{facts}</table>"

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("size", _size(self.bytes, self.gzip_bytes))]
        if self.dense_difference is not None:
            facts.append(
                ("size with dense weights", _size(self.dense_bytes, self.dense_gzip_bytes))
            )
        facts.append(("quantization", self.quantize or "none"))
        facts.append(("sparsity of the kernels", f"{self.sparsity:.1%}"))
        facts += self._speed()
        if self.dense_difference is not None:
            facts.append(("largest difference from the dense file", f"{self.dense_difference:.3g}"))
        difference = self.note if self.max_difference is None else f"{self.max_difference:.3g}"
        return [*facts, (f"largest difference from {self.compared_with}", difference)]

    def _speed(self) -> list[tuple[str, str]]:
        """What runs sparse, and what is in the way."""
        if self.eligibility is None or self.sparse == "never":
            return []
        found = self.eligibility
        count = f"{len(found.sparse)} of {len(found.convolutions)} 1x1 convolutions"
        rows = [("runs sparse in XNNPACK", count)]
        own = sum(weight.reason == Storage.OWN_KERNEL for weight in self.weights)
        if own:
            rows.append(("runs sparse in LiteRT itself", f"{own} matrices"))
        obstacles = found.in_the_way if len(found.sparse) < len(found.convolutions) else []
        rows += [
            ("in the way", f"{short_name(op.name)} ({op.operation}): {op.reason}. {op.fix}")
            for op in obstacles[:_MOST_OBSTACLES]
        ]
        if len(obstacles) > _MOST_OBSTACLES:
            more = f"{len(obstacles) - _MOST_OBSTACLES} more, see secateur.xnnpack.check"
            rows.append(("in the way", more))
        return rows

    def _rows(self) -> list[tuple[str, str]]:
        named = {weight.name for weight in self.weights}
        others = [t for t in self.tensors if t.is_kernel and t.name not in named]
        return [(short_name(tensor.name), _row(tensor)) for tensor in (*self.weights, *others)]


# The text names so many obstacles to sparse inference; the data has all.
_MOST_OBSTACLES = 3

_NESTED = ("tensors", "weights", "eligibility")


def _size(size: int, gzip_size: int) -> str:
    return f"{size:,} bytes, {gzip_size:,} gzipped"


def _row(tensor: TensorInfo) -> str:
    shape = "x".join(map(str, tensor.shape))
    row = f"{shape} {tensor.dtype}, {tensor.sparsity:.1%} zeros"
    if isinstance(tensor, StoredWeight):
        row += f", {tensor.bytes:,} bytes, {tensor.reason}"
        row += f" ({tensor.layout})" if tensor.is_sparse else ""
    return row
