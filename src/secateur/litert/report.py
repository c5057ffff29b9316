"""What an export wrote: sizes, sparsity, and how far the outputs are from Keras'."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from secateur.litert.tensors import TensorInfo, kernel_sparsity


@dataclass(frozen=True)
class ExportReport:
    """The result of `secateur.export`: text in a terminal, a table in a notebook.

    Args:
        path: The file that was written.
        bytes: Its size.
        gzip_bytes: Its size compressed by gzip, level 9.
        quantize: The quantization mode it was written with.
        tensors: Its weights with their zeros, read back from the file.
        max_difference: The largest difference between an output of the file and of the Keras
            model, on random inputs between 0 and 1; None where they could not be compared.
        note: Why they could not be compared, or "".
    """

    path: str
    bytes: int
    gzip_bytes: int
    quantize: str | None
    tensors: tuple[TensorInfo, ...]
    max_difference: float | None
    note: str = ""

    @property
    def sparsity(self) -> float:
        """The share of zeros over the file's kernels, 0 to 1."""
        return kernel_sparsity(self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            "path": self.path,
            "bytes": self.bytes,
            "gzip_bytes": self.gzip_bytes,
            "quantize": self.quantize,
            "sparsity": self.sparsity,
            "max_difference": self.max_difference,
            "note": self.note,
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
        difference = self.note if self.max_difference is None else f"{self.max_difference:.3g}"
        return [
            ("size", f"{self.bytes:,} bytes, {self.gzip_bytes:,} gzipped"),
            ("quantization", self.quantize or "none"),
            ("sparsity of the kernels", f"{self.sparsity:.1%}"),
            ("largest difference from Keras' output", difference),
        ]

    def _rows(self) -> list[tuple[str, str]]:
        return [
            (
                tensor.name,
                f"{'x'.join(map(str, tensor.shape))} {tensor.dtype}, {tensor.sparsity:.1%} zeros",
            )
            for tensor in self.tensors
            if tensor.is_kernel
        ]
