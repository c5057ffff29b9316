"""A graph as units: groups of operators that run together, natively as one operation or in LiteRT."""

from secateur.runtime._forms import IDENTITY, Window
from secateur.runtime._lowering import lower, swish
from secateur.runtime._operations import (
    Convolution,
    Elementwise,
    Operation,
    Padding,
    Unary,
)
from secateur.runtime._reading import Graph
from secateur.runtime._signatures import Binary
from secateur.runtime._terms import NotNative, Reason


class Unit:
    """Operators that run together.

    Args:
        places: The operators, in their order.
        inputs: The tensors they read from elsewhere, constants left out.
        outputs: The tensors they write that others read.
        operation: What they are natively; None where they can only run in LiteRT.
        reason: Why they can run only there, one of `Reason`, or "".
    """

    def __init__(
        self,
        places: list[int],
        inputs: list[int],
        outputs: list[int],
        operation: Operation | None,
        reason: str = "",
    ) -> None:
        self.places, self.inputs, self.outputs = places, inputs, outputs
        self.operation, self.reason = operation, reason


def find_units(graph: Graph) -> list[Unit]:
    """Group the operators of a graph.

    Args:
        graph: The graph.

    Returns:
        The units in an order in which they can run. Operators that only unpack constants, and
        those whose results nobody needs, are in none.
    """
    units: dict[int, Unit] = {}  # by the place of their last operator
    for place in graph.needed:
        if place not in units and not graph.is_unpacking(place):
            unit = _swish(graph, place) or _single(graph, place, place < graph.known)
            units[unit.places[-1]] = unit
    _fuse(graph, units)
    # Now, as until here another thread was at it; from behind, as that one comes from the front.
    for unit in reversed(units.values()):
        if isinstance(unit.operation, Convolution) and unit.operation.weights.pruned.count is None:
            unit.operation, unit.reason = None, Reason.TYPE
    return list(units.values())


def _single(graph: Graph, place: int, known: bool) -> Unit:
    try:
        if not known:
            raise NotNative(Reason.UNKNOWN)
        operation = lower(graph, place)
    except NotNative as answer:
        reads = dict.fromkeys(i for i in graph.reads[place] if i >= 0 and not graph.is_constant(i))
        writes = [i for i in graph.writes[place] if i >= 0]
        return Unit([place], list(reads), writes, None, str(answer))
    return Unit([place], list(dict.fromkeys(operation.inputs)), [operation.output], operation)


def _swish(graph: Graph, place: int) -> Unit | None:
    """X * sigmoid(x) as one function; None where an operator is no such sigmoid."""
    if graph.kinds[place] != "LOGISTIC" or len(graph.writes[place]) != 1:
        return None
    (sigmoid,) = graph.writes[place]
    product = graph.only_reader(sigmoid)
    if product is None or graph.kinds[product] != "MUL" or product >= graph.known:
        return None
    if sorted(graph.reads[product]) != sorted((*graph.reads[place], sigmoid)):
        return None
    try:
        operation = swish(graph, place, product)
    except NotNative:
        return None
    return Unit([place, product], [*operation.inputs], [operation.output], operation)


def _fuse(graph: Graph, units: dict[int, Unit]) -> None:
    """Join operators that the native library runs in one pass, in the order of the graph."""
    for place in list(units):
        unit = units.get(place)
        operation = None if unit is None else unit.operation
        if unit is None or operation is None:
            continue
        if isinstance(operation, Unary):
            _function(graph, units, unit, operation)
        elif isinstance(operation, Convolution):
            _pad(graph, units, unit, operation)
        elif isinstance(operation, Elementwise):
            _residual(graph, units, unit, operation)


def _writer(graph: Graph, units: dict[int, Unit], unit: Unit, tensor: int) -> Operation | None:
    """The operation that writes a tensor, where nobody but a unit reads it."""
    before = units.get(graph.writers.get(tensor, -1))
    if before is None or tensor in graph.outputs:
        return None
    mine = all(place in unit.places for place in graph.readers[tensor])
    return before.operation if mine else None


def _join(graph: Graph, units: dict[int, Unit], unit: Unit, operation: Operation) -> None:
    """Make an operation that has taken on a unit's part in it; it runs where that ran."""
    before = units.pop(graph.writers[operation.output])
    unit.places = sorted(before.places + unit.places)
    operation.output = unit.outputs[0]
    unit.operation = operation
    unit.inputs = list(dict.fromkeys(operation.inputs))


def _function(graph: Graph, units: dict[int, Unit], unit: Unit, unary: Unary) -> None:
    """f(operation(x)): the function becomes a part of the operation."""
    operation = _writer(graph, units, unit, unary.inputs[0])
    if operation is not None and operation.then(unary.function):
        _join(graph, units, unit, operation)


def _pad(graph: Graph, units: dict[int, Unit], unit: Unit, convolution: Convolution) -> None:
    """conv(pad(x)): the padding becomes the window's."""
    padding = _writer(graph, units, unit, convolution.inputs[0])
    if not isinstance(padding, Padding):
        return
    channels, height, width = padding.sources[0]
    if padding.fill or padding.target[0] != channels:
        return
    top, left = padding.before[1:]
    bottom = padding.target[1] - height - top
    right = padding.target[2] - width - left
    added = (top, left, bottom, right)
    window = convolution.window
    pads = [a + b for a, b in zip(window.padding, added, strict=True)]
    if max(pads) >= 2**15:
        return
    convolution.window = Window(
        window.kernel, window.stride, (pads[0], pads[1], pads[2], pads[3]), window.dilation
    )
    before = units.pop(graph.writers[padding.output])
    convolution.inputs[0] = padding.inputs[0]
    convolution.sources[0] = padding.sources[0]
    unit.places = sorted(before.places + unit.places)
    unit.inputs = list(dict.fromkeys(convolution.inputs))


def _residual(graph: Graph, units: dict[int, Unit], unit: Unit, total: Elementwise) -> None:
    """conv(x) + y: the sum becomes a part of the convolution that runs last."""
    if total.function != Binary.ADD or total.constants or total.inputs[0] == total.inputs[1]:
        return
    for mine, other in sorted(((0, 1), (1, 0)), key=lambda pair: -_place(graph, total, pair[0])):
        convolution = _writer(graph, units, unit, total.inputs[mine])
        if not isinstance(convolution, Convolution) or total.sources[mine] != total.target:
            continue
        if convolution.add(total.inputs[other], total.sources[other]):
            if total.activation != IDENTITY:
                convolution.second = total.activation
            _join(graph, units, unit, convolution)
            return


def _place(graph: Graph, operation: Operation, operand: int) -> int:
    return graph.writers.get(operation.inputs[operand], -1)
