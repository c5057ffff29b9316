"""Read what is common in `.tflite` files as columns.

Most of the time that it takes to read a file into objects goes into its tensors and operators, of
which a network has hundreds. Here those are read together, and what is rare is left to that reader.
"""

from typing import Any

import numpy as np

from secateur.litert._check import check_columns, check_head
from secateur.litert._columns import Columns
from secateur.litert._schema import fields_of
from secateur.litert._tables import Numbers, Tables
from secateur.litert._unpack import are_numbers
from secateur.litert.graph import indices, opcode_names, text

# Who uses these fields is read into objects.
_RARE = {
    *("variantTensors", "externalBuffer"),
    *("customOptions", "mutatingVariableInputs", "intermediates", "builtinOptions2Type"),
    *("builtinOptions2", "largeCustomOptionsOffset", "largeCustomOptionsSize"),
    *("offset", "size", "details", "detailsType"),
}
_WIDTHS = {"min": 4, "max": 4, "scale": 4, "zeroPoint": 8}


def read_quickly(data: memoryview) -> tuple[Any, Columns] | None:
    """Read a file of one subgraph with nothing unusual in it, and check it as `check_model` does.

    Args:
        data: The file; its bytes are read-only.

    Returns:
        A `ModelT` without its subgraph and buffers, and the subgraph; both share the memory of
        `data`. None where the file should be read into objects: also where it is damaged, so that
        there is one place that says how.
    """
    try:
        return _read(Numbers(data))
    except Exception:  # whatever it is, the reader of objects finds it again and says what it was
        return None


def _read(numbers: Numbers) -> tuple[Any, Columns]:
    reader = numbers.reader
    head = reader.shallow("Model", reader.unsigned(0), ("subgraphs", "buffers"))
    graphs = _common(numbers, "SubGraph", head.subgraphs)
    _need(len(graphs) == 1 and not head.externalBuffers and not head.externalBufferGroups)
    graph = reader.shallow("SubGraph", int(graphs.positions[0]), ("tensors", "operators"))
    buffers = _common(numbers, "Buffer", head.buffers)
    head.subgraphs = head.buffers = None
    columns = _columns(numbers, head, graph, buffers)
    check_columns(columns)
    check_head(head, len(buffers), [len(columns.types)])
    return head, columns


def _need(true: object) -> None:
    if not true:
        raise ValueError("it should be read into objects")


def _common(numbers: Numbers, kind: str, position: int | None) -> Tables:
    """The tables of a vector, one at least, none of which has anything rare."""
    _need(position)
    tables = Tables.of_vector(numbers, kind, position or 0)
    _need(len(tables) and not _RARE & tables.fields.keys())
    return tables


def _columns(numbers: Numbers, head: Any, graph: Any, buffers: Tables) -> Columns:
    tensors = _common(numbers, "Tensor", graph.tensors)
    operators = _common(numbers, "Operator", graph.operators)
    starts, lengths = (part.tolist() for part in buffers.vectors("data", 1))
    content = tensors.words("buffer").tolist()
    _need(min(content) >= 0 and max(content) < len(lengths))
    names = opcode_names(head)
    codes = operators.words("opcodeIndex").tolist()
    _need(min(codes) >= 0 and max(codes) < len(names))
    names_of = [part.tolist() for part in tensors.vectors("name", 1)]
    sparse, _ = tensors.tables("sparsity", "SparsityParameters")
    positions = tensors.positions.tolist()

    def tensor(number: int) -> Any:
        return numbers.reader.table("Tensor", positions[number])

    def name(number: int) -> str:
        start, length = names_of[0][number], names_of[1][number]
        return text(bytes(numbers.data[start : start + length]))

    def data(number: int) -> np.ndarray:
        buffer = content[number]
        return np.frombuffer(numbers.data, np.uint8, lengths[buffer], starts[buffer])

    return Columns(
        types=tensors.bytes("type").tolist(),
        shapes=[tuple(shape) for shape in tensors.lists("shape")],
        signatures=[tuple(shape) for shape in tensors.lists("shapeSignature")],
        sizes=[lengths[buffer] for buffer in content],
        variables=set(np.flatnonzero(tensors.bytes("isVariable")).tolist()),
        quantized=_quantized(tensors),
        sparse=set(sparse.tolist()),
        kinds=[names[code] for code in codes],
        reads=operators.lists("inputs"),
        writes=operators.lists("outputs"),
        options=_options(numbers, operators),
        inputs=indices(graph.inputs),
        outputs=indices(graph.outputs),
        tensor=tensor,
        name=name,
        data=data,
    )


def _quantized(tensors: Tables) -> set[int]:
    """The tensors with scales or zero points; all vectors of all of them are checked."""
    which, found = tensors.tables("quantization", "QuantizationParameters")
    if found is None:
        return set()
    _need(not _RARE & found.fields.keys())
    lengths = {name: found.vectors(name, width)[1] for name, width in _WIDTHS.items()}
    return set(which[(lengths["scale"] > 0) | (lengths["zeroPoint"] > 0)].tolist())


def _options(numbers: Numbers, operators: Tables) -> list[Any]:
    """The options of operators; those of a kind mostly have the same ones, which are read once."""
    (field,) = (field for field in fields_of("Operator") if field.name == "builtinOptions")
    reader, data = numbers.reader, numbers.data
    kinds = (operators.bytes(f"{field.name}Type") & 255).tolist()
    positions = operators.targets(field.name)
    vtables = positions - numbers.words(np.maximum(positions, 0))
    seen: dict[tuple[int, int, bytes], Any] = {}
    sizes: dict[int, int] = {}
    found: list[Any] = []
    for kind, position, vtable in zip(kinds, positions.tolist(), vtables.tolist(), strict=True):
        if position < 0:
            found.append(None)
            continue
        _need(kind)
        if vtable not in sizes:
            sizes[vtable] = reader.places(vtable)[0]
        key = kind, vtable, bytes(data[position + 4 : position + sizes[vtable]])
        options = seen.get(key)
        if options is None:
            options = reader.union(field, position, kind)
            if options is not None and are_numbers(options):
                seen[key] = options
        found.append(options)
    return found
