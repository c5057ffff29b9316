"""XNNPACK's layout rewrite, step by step, on graphs made by hand."""

import pytest

from secateur.xnnpack import Reason
from secateur.xnnpack.cluster import rewrite
from secateur.xnnpack.fusion import fuse
from secateur.xnnpack.graph import Graph, Kind, Node, Value, Window
from secateur.xnnpack.partition import partition
from secateur.xnnpack.rules import Role, judge

STEM = Window((3, 3), (2, 2), padding=(1, 1, 1, 1), channels=3)
POINT = Window((1, 1))


def value(height=6, channels=8, **kwargs):
    return Value((1, height, height, channels), **kwargs)


def weights(outputs=8, inputs=8, zeros=0, **kwargs):
    return Value((outputs, 1, 1, inputs), constant=True, zeros=zeros, **kwargs)


class Net:
    """A chain that begins with a stem."""

    def __init__(self):
        self.image = value(12, 3)
        self.nodes = []
        self.x = self.add(Kind.CONVOLUTION, self.image, value(), window=STEM, filter_=weights(8, 3))

    def add(self, kind, x, output, filter_=None, **kwargs):
        inputs = (*((x,) if isinstance(x, Value) else x), *(() if filter_ is None else (filter_,)))
        self.nodes.append(Node(kind, inputs, (output,), **kwargs))
        return output

    def pointwise(self, x=None, zeros=64, channels=8, **kwargs):
        x = self.x if x is None else x
        filter_ = weights(channels, x.shape[-1], zeros, **kwargs)
        self.x = self.add(
            Kind.CONVOLUTION, x, value(x.shape[1], channels), window=POINT, filter_=filter_
        )
        return self.x

    def mean(self, x=None, keep_dims=False, axes=(1, 2)):
        x = self.x if x is None else x
        output = value(1, x.shape[-1]) if keep_dims else Value((1, x.shape[-1]))
        return self.add(Kind.REDUCE, x, output, operator="mean", axes=axes, keep_dims=keep_dims)

    def graph(self, *outputs):
        return Graph(self.nodes, [self.image], list(outputs) or [self.nodes[-1].outputs[0]])


def sparse(graph, **kwargs):
    found = rewrite(graph, **kwargs)
    return [node for cluster in found.clusters for node in cluster.sparse], found


@pytest.mark.parametrize(("zeros", "expected"), [(128, 0), (129, 2), (192, 2), (0, 0)])
def test_more_than_two_thirds_of_all_filters_together_must_be_zero(zeros, expected):
    net = Net()
    net.pointwise(zeros=zeros // 2)  # 8 x 8
    net.pointwise(zeros=zeros - zeros // 2, channels=16)  # 16 x 8, together 192
    found, rewritten = sparse(net.graph(net.mean()))
    assert len(found) == expected
    part = next(c for c in rewritten.clusters if c.parameters)
    assert (part.parameters, part.zeros) == (192, zeros)


def test_pruned_takes_all_filters_to_be_zero():
    net = Net()
    net.pointwise(zeros=0)
    graph = net.graph(net.mean())
    assert sparse(graph)[0] == []
    assert len(sparse(graph, pruned=True)[0]) == 1


def test_a_part_without_an_end_stays_dense_where_there_is_no_end_at_all():
    net = Net()
    net.pointwise()
    found, rewritten = sparse(net.graph(net.x))
    assert (found, rewritten.wrong) == ([], ())
    assert {b.reason for c in rewritten.clusters for b in c.blockers} == {Reason.NO_END}


def test_a_part_without_an_end_is_wrong_where_another_part_has_one():
    net = Net()
    first = net.pointwise()
    pooled = net.add(Kind.OTHER, first, value(3), operation="MAX_POOL_2D")
    net.x = net.add(Kind.UNARY, pooled, value(3), operator="tanh")
    _, rewritten = sparse(net.graph(net.mean()))
    assert [b.reason for b in rewritten.wrong] == [Reason.WRONG]
    assert rewritten.wrong[0].node.outputs == (first,)


def test_the_wrong_part_stays_dense_below_the_threshold():
    net = Net()
    first = net.pointwise(zeros=42)  # of 64: just below two thirds
    pooled = net.add(Kind.OTHER, first, value(3))
    net.x = net.add(Kind.UNARY, pooled, value(3))
    graph = net.graph(net.mean())
    assert sparse(graph)[1].wrong == ()
    assert len(sparse(graph, pruned=True)[1].wrong) == 1


def test_an_output_inside_cuts_the_part_in_two_and_makes_it_wrong():
    net = Net()
    first = net.pointwise()
    net.pointwise()
    found, rewritten = sparse(net.graph(first, net.mean()))
    assert found == []
    assert [b.node.outputs for b in rewritten.wrong] == [(first,)]
    assert Reason.EXPOSED in {b.reason for c in rewritten.clusters for b in c.blockers}


def test_a_reader_outside_keeps_the_part_dense():
    net = Net()
    first = net.pointwise()
    second = net.pointwise()
    other = net.add(Kind.OTHER, [first, second], value(channels=16), operation="CONCATENATION")
    found, rewritten = sparse(net.graph(net.mean(second), other))
    assert (found, rewritten.wrong) == ([], ())


def test_adding_an_image_to_itself_keeps_the_part_dense():
    net = Net()
    first = net.pointwise()
    net.x = net.add(Kind.BINARY, [first, first], value(), operator="add")
    found, rewritten = sparse(net.graph(net.mean()))
    assert (found, rewritten.wrong) == ([], ())
    assert Reason.TWICE in {b.reason for c in rewritten.clusters for b in c.blockers}


def test_multiplying_an_image_with_itself_is_its_square():
    net = Net()
    first = net.pointwise()
    net.x = net.add(Kind.BINARY, [first, first], value(), operator="multiply")
    assert len(sparse(net.graph(net.mean()))[0]) == 1


def test_a_quantized_neighbour_is_undefined_behaviour():
    """XNNPACK's switch over the filter's type has no case for it."""
    net = Net()
    net.pointwise()
    end = net.mean()
    rows = Value((1, 8), "int8")
    matrix = Value((4, 8), "int8", constant=True)
    head = net.add(Kind.FULLY_CONNECTED, [rows, matrix], Value((1, 4), "int8"))
    graph = net.graph(end, head)
    graph.inputs.append(rows)
    assert [b.reason for b in sparse(graph)[1].wrong] == [Reason.QUANTIZED_NEIGHBOUR]


POOLED = {
    # height of the pooled image, its channels, whether a 1x1 convolution inside reads it: right?
    "a gate": (6, 8, False, False),
    "a gate, as many rows as channels": (8, 8, False, True),
    "a gate of convolutions": (6, 8, True, True),
}


@pytest.mark.parametrize("name", POOLED)
def test_what_reads_a_pooled_image_inside_a_part(name):
    height, channels, convolution, right = POOLED[name]
    net = Net()
    net.image.shape = (1, 2 * height, 2 * height, 3)
    net.x.shape = (1, height, height, 8)
    x = net.pointwise(channels=channels)
    gate = net.mean(x, keep_dims=True)
    if convolution:
        gate = net.pointwise(gate)
    net.x = net.add(Kind.BINARY, [x, gate], value(height, channels), operator="multiply")
    rewritten = sparse(net.graph(net.mean()))[1]
    reasons = [b.reason for b in rewritten.wrong]
    assert reasons == ([] if right else [Reason.WRONG_SHAPE])


@pytest.mark.parametrize(("axes", "right"), [((1, 2), True), ((3,), False), ((1,), False)])
def test_only_whole_images_are_averaged_right(axes, right):
    net = Net()
    net.pointwise()
    assert (sparse(net.graph(net.mean(axes=axes)))[1].wrong == ()) == right


@pytest.mark.parametrize(
    ("kind", "operation", "right"),
    [(Kind.RESHAPE, "RESHAPE", True), (Kind.OTHER, "SOFTMAX", False)],
)
def test_what_reads_a_pooled_image_behind_the_end(kind, operation, right):
    net = Net()
    net.pointwise()
    end = net.mean(keep_dims=True)
    net.add(kind, end, Value((1, 8)), operation=operation)
    assert (sparse(net.graph())[1].wrong == ()) == right


def test_padding_is_joined_to_its_only_reader():
    net = Net()
    net.pointwise()
    padded = net.add(Kind.PAD, net.x, value(8), pads=((0, 0), (1, 1), (1, 1), (0, 0)))
    depthwise = Window((3, 3), (2, 2))
    net.x = net.add(
        Kind.DEPTHWISE,
        padded,
        value(3),
        window=depthwise,
        filter_=Value((1, 3, 3, 8), constant=True),
    )
    assert len(sparse(net.graph(net.mean()))[0]) == 1
    other = net.add(Kind.OTHER, padded, value(8))
    assert sparse(net.graph(net.nodes[-2].outputs[0], other))[0] == []


def test_halves_are_padded_apart():
    pad = Node(
        Kind.PAD, (value(),), (value(8, dtype="float16"),), pads=((0, 0), (1, 1), (1, 1), (0, 0))
    )
    conv = Node(Kind.DEPTHWISE, (pad.outputs[0],), (value(),), window=Window((3, 3)))
    assert len(fuse(Graph([pad, conv], [pad.inputs[0]], [conv.outputs[0]])).nodes) == 2


def test_a_limit_is_merged_into_what_comes_before():
    net = Net()
    net.pointwise()
    limit = Value((), constant=True)
    net.x = net.add(Kind.BINARY, [net.x, limit], value(), operator="minimum")
    graph = fuse(net.graph(net.mean()))
    assert [node.kind for node in graph.nodes] == [Kind.CONVOLUTION, Kind.CONVOLUTION, Kind.REDUCE]


def test_the_interpreter_runs_what_xnnpack_does_not_take():
    net = Net()
    first = net.pointwise()
    tiled = net.add(Kind.OTHER, first, value(12), operation="TILE", delegated=False)
    net.x = net.pointwise(tiled)
    graph = net.graph(net.mean())
    before, after = partition(graph)
    assert (before.outputs, after.inputs) == ([first], [tiled])
    assert before.beyond == {first: [net.nodes[2]]}
    assert [len(piece.nodes) for piece in (before, after)] == [2, 2]


def test_pieces_take_all_that_is_ready():
    """LiteRT goes on with other branches before it changes sides."""
    net = Net()
    odd = net.add(Kind.OTHER, net.x, value(), delegated=False)
    free = net.pointwise()
    both = net.add(Kind.BINARY, [odd, free], value(), operator="add")
    first, second = partition(net.graph(both))
    assert [node.kind for node in first.nodes] == [Kind.CONVOLUTION, Kind.CONVOLUTION]
    assert [node.kind for node in second.nodes] == [Kind.BINARY]


def test_a_cycle_is_refused():
    first, second = value(), value()
    nodes = [Node(Kind.UNARY, (first,), (second,)), Node(Kind.UNARY, (second,), (first,))]
    with pytest.raises(ValueError, match="wait for each other"):
        partition(Graph(nodes, [], [second]))


def window(**kwargs):
    return Window(**{"kernel": (3, 3), "padding": (1, 1, 1, 1), **kwargs})


CONVOLUTIONS = {
    # kind, window, role, reason
    "stem": (Kind.CONVOLUTION, STEM, Role.BEGIN, ""),
    "1x1": (Kind.CONVOLUTION, POINT, Role.INSIDE, ""),
    "stem stride": (Kind.CONVOLUTION, window(channels=3), Role.NONE, Reason.STEM_STRIDE),
    "stem channels": (
        Kind.CONVOLUTION,
        window(strides=(2, 2), channels=4),
        Role.NONE,
        Reason.STEM_CHANNELS,
    ),
    "stem padding": (
        Kind.CONVOLUTION,
        window(strides=(2, 2), channels=3, padding=(0, 1, 1, 0)),
        Role.NONE,
        Reason.STEM_PADDING,
    ),
    "stem same": (
        Kind.CONVOLUTION,
        window(strides=(2, 2), channels=3, padding=(0, 0, 0, 0), same=True),
        Role.NONE,
        Reason.SAME_STRIDE,
    ),
    "7x7": (Kind.CONVOLUTION, window(kernel=(7, 7)), Role.NONE, Reason.KERNEL_SIZE),
    "groups": (Kind.CONVOLUTION, Window((1, 1), groups=2), Role.NONE, Reason.GROUPS),
    "1x1 stride": (
        Kind.CONVOLUTION,
        Window((1, 1), strides=(2, 2)),
        Role.NONE,
        Reason.POINTWISE_STRIDE,
    ),
    "1x1 one stride": (
        Kind.CONVOLUTION,
        Window((1, 1), strides=(1, 2)),
        Role.NONE,
        Reason.POINTWISE_STRIDE,
    ),
    "1x1 padding": (
        Kind.CONVOLUTION,
        Window((1, 1), padding=(1, 1, 1, 1)),
        Role.NONE,
        Reason.POINTWISE_PADDING,
    ),
    "dilation": (Kind.CONVOLUTION, Window((1, 1), dilation=(2, 2)), Role.NONE, Reason.DILATION),
    "depthwise": (Kind.DEPTHWISE, window(), Role.INSIDE, ""),
    "depthwise stride": (Kind.DEPTHWISE, window(strides=(2, 2)), Role.INSIDE, ""),
    "depthwise 5x5": (
        Kind.DEPTHWISE,
        window(kernel=(5, 5), padding=(2, 2, 2, 2)),
        Role.INSIDE,
        "",
    ),
    "depthwise 5x5 padding": (
        Kind.DEPTHWISE,
        window(kernel=(5, 5)),
        Role.NONE,
        Reason.DEPTHWISE_PADDING,
    ),
    "depthwise 7x7": (
        Kind.DEPTHWISE,
        window(kernel=(7, 7), padding=(3, 3, 3, 3)),
        Role.NONE,
        Reason.DEPTHWISE_SIZE,
    ),
    "depthwise stride 3": (
        Kind.DEPTHWISE,
        window(strides=(3, 3)),
        Role.NONE,
        Reason.DEPTHWISE_STRIDE,
    ),
    "depthwise same": (
        Kind.DEPTHWISE,
        window(strides=(2, 2), same=True),
        Role.NONE,
        Reason.SAME_STRIDE,
    ),
    "depthwise multiplier": (
        Kind.DEPTHWISE,
        window(multiplier=2),
        Role.NONE,
        Reason.DEPTH_MULTIPLIER,
    ),
    "depthwise dilation": (Kind.DEPTHWISE, window(dilation=(2, 2)), Role.NONE, Reason.DILATION),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_rules_for_convolutions(name):
    kind, how, role, reason = CONVOLUTIONS[name]
    assert judge(Node(kind, (value(), weights()), (value(),), window=how)) == (role, reason)


VECTOR, NUMBER = Value((1, 1, 1, 8), constant=True), Value((), constant=True)
ARITHMETIC = {
    "add": ("add", value(), value(), ""),
    "subtract": ("subtract", value(), value(), Reason.ARITHMETIC),
    "a number": ("add", value(), NUMBER, Reason.CONSTANT_OPERAND),
    "a vector behind": ("multiply", value(), VECTOR, Reason.CONSTANT_OPERAND),
    "a vector in front": ("multiply", VECTOR, value(), ""),
    "rows": ("add", Value((1, 8)), Value((1, 8)), Reason.RANK),
    "integers": ("add", value(dtype="int8"), value(), Reason.QUANTIZED),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_rules_for_arithmetic(name):
    operator, first, second, reason = ARITHMETIC[name]
    node = Node(Kind.BINARY, (first, second), (value(),), operator=operator)
    assert judge(node)[1] == reason


def test_every_reason_has_a_fix():
    from secateur.xnnpack import FIXES

    reasons = {v for k, v in vars(Reason).items() if k.isupper()}
    assert reasons == set(FIXES)
    assert all(FIXES.values())
