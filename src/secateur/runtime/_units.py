"""A graph as units: groups of operators that run together, natively as one operation or in LiteRT."""

from secateur.runtime._forms import IDENTITY, Window
from secateur.runtime._lowering import lower
from secateur.runtime._operations import (
    SWISH,
    Convolution,
    Elementwise,
    Operation,
    Padding,
    Unary,
)
from secateur.runtime._reading import Graph
from secateur.runtime._signatures import Binary, Function
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
        if not graph.is_unpacking(place):
            units[place] = _single(graph, place, place < graph.known)
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


def _fuse(graph: Graph, units: dict[int, Unit]) -> None:
    """Join operators that the native library runs in one pass, in the order of the graph."""
    for place in list(units):
        unit = units.get(place)
        if unit is None or unit.operation is None:
            continue
        _swish(graph, units, place)
        _pad(graph, units, place)
        _function(graph, units, place)
        _residual(graph, units, place)


def _writer(graph: Graph, units: dict[int, Unit], tensor: int) -> Unit | None:
    """The unit whose last operator writes a tensor that nobody but one operator reads."""
    place = graph.writers.get(tensor)
    unit = None if place is None else units.get(place)
    fits = unit is not None and unit.operation is not None and graph.only_reader(tensor) is not None
    return unit if fits else None


def _join(units: dict[int, Unit], unit: Unit, before: Unit, operation: Operation) -> None:
    """Make one unit of two; it runs where the later one ran."""
    del units[before.places[-1]]
    unit.places = sorted(before.places + unit.places)
    operation.output = unit.outputs[0]
    unit.operation = operation
    unit.inputs = list(dict.fromkeys(operation.inputs))


def _function(graph: Graph, units: dict[int, Unit], place: int) -> None:
    """f(operation(x)): the function becomes a part of the operation."""
    unit = units[place]
    if not isinstance(unit.operation, Unary):
        return
    before = _writer(graph, units, unit.operation.inputs[0])
    if before is not None and before.operation is not None:
        operation = before.operation
        if operation.then(unit.operation.function):
            _join(units, unit, before, operation)


def _pad(graph: Graph, units: dict[int, Unit], place: int) -> None:
    """conv(pad(x)): the padding becomes the window's."""
    unit = units[place]
    convolution = unit.operation
    if not isinstance(convolution, Convolution):
        return
    before = _writer(graph, units, convolution.inputs[0])
    if before is None or not isinstance(before.operation, Padding):
        return
    padding = before.operation
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
    convolution.inputs[0] = padding.inputs[0]
    convolution.sources[0] = padding.sources[0]
    _join(units, unit, before, convolution)


def _residual(graph: Graph, units: dict[int, Unit], place: int) -> None:
    """conv(x) + y: the sum becomes a part of the convolution that runs last."""
    unit = units[place]
    total = unit.operation
    if not isinstance(total, Elementwise) or total.function != Binary.ADD or total.constants:
        return
    for mine, other in sorted(((0, 1), (1, 0)), key=lambda pair: -_place(graph, total, pair[0])):
        before = _writer(graph, units, total.inputs[mine])
        if before is None or not isinstance(before.operation, Convolution):
            continue
        convolution = before.operation
        if total.sources[mine] == total.target and convolution.add(
            total.inputs[other], total.sources[other]
        ):
            if total.activation != IDENTITY:
                convolution.second = total.activation
            _join(units, unit, before, convolution)
            return


def _place(graph: Graph, operation: Operation, operand: int) -> int:
    return graph.writers.get(operation.inputs[operand], -1)


def _swish(graph: Graph, units: dict[int, Unit], place: int) -> None:
    """X * sigmoid(x): one function, and then a part of what writes x."""
    unit = units[place]
    product = unit.operation
    if not isinstance(product, Elementwise) or product.function != Binary.MUL:
        return
    if product.constants or product.activation != IDENTITY:
        return
    for x, s in (product.inputs, product.inputs[::-1]):
        sigmoid = _writer(graph, units, s)
        if sigmoid is None or not isinstance(sigmoid.operation, Unary):
            continue
        function = sigmoid.operation.function.function
        if function != Function.SIGMOID or sigmoid.operation.inputs != [x]:
            continue
        images = [x], [sigmoid.operation.sources[0]], unit.outputs[0], product.target
        _join(units, unit, sigmoid, Unary(images, SWISH))
        producer = units.get(graph.writers.get(x, -1))
        readers = graph.readers.get(x, [])
        alone = x not in graph.outputs and set(readers) <= set(unit.places)
        if alone and producer is not None and producer.operation is not None:
            operation = producer.operation
            if operation.then(SWISH):
                _join(units, unit, producer, operation)
        return
