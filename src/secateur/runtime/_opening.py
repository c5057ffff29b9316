"""A `.tflite` file opened: checked, its graphs as columns, and as objects for who needs those."""

from collections.abc import Callable
from typing import Any, NamedTuple

from secateur.litert._columns import Columns, columns_of
from secateur.litert.flatbuffer import check_identifier, map_file, parse, shown_path
from secateur.runtime._ahead import Ahead
from secateur.runtime._quick import read_quickly
from secateur.runtime._sound import check_sound


class Opened(NamedTuple):
    """A file.

    Args:
        head: Gives a `ModelT`, perhaps without its subgraphs and buffers.
        graphs: Its subgraphs.
        load: Gives all of it as objects.
        ahead: Who prunes the kernels of its convolutions, if anybody does.
    """

    head: Callable[[], Any]
    graphs: list[Columns]
    load: Callable[[], Any]
    ahead: Ahead | None = None


def open_file(source: str | bytes, prune: bool = False) -> Opened:
    """Open a file.

    Args:
        source: Its path, or its bytes.
        prune: Whether another thread shall begin to prune the kernels of convolutions.

    Returns:
        What is in it; it is left where it is, as LiteRT leaves it.

    Raises:
        ValueError: If there is no such file, or it is damaged.
    """
    try:
        data = memoryview(source) if isinstance(source, bytes) else map_file(source)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error
    shown = f"{len(data)} bytes" if isinstance(source, bytes) else shown_path(source)
    check_identifier(data, shown)
    quick = read_quickly(data, prune, mapped=not isinstance(source, bytes))
    if quick is not None:
        head, columns, ahead = quick
        opened = Opened(head, [columns], lambda: parse(data, shown), ahead)
    else:
        model = parse(data, shown)
        opened = opened_model(model)
        for columns in opened.graphs:
            check_sound(columns)
    return opened


def opened_model(model: Any) -> Opened:
    """The same of a file that was read into objects."""
    graphs = [columns_of(model, graph) for graph in model.subgraphs]
    return Opened(lambda: model, graphs, lambda: model)
