"""Whether XNNPACK's kernels compute right, once some values are channels-first.

A kernel is chosen by the layout of its output alone, so at the edge of a part that was rewritten it
may read the wrong order. The reductions also get their output shapes wrong there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from secateur.xnnpack.graph import BATCH_SIZE, Kind, Node, Value
from secateur.xnnpack.rules import Role, judge

Readers = Mapping[Value, Sequence[Node]]


def is_right(node: Node, first: set[Value], readers: Readers) -> bool:
    """Says whether an operation computes right where some values are channels-first.

    Args:
        node: An operation.
        first: The values that XNNPACK keeps channels-first.
        readers: The operations that read each value, those outside of XNNPACK too.

    Returns:
        False where its kernel reads or writes numbers in the wrong order, or a wrong number of
        them.
    """
    data = node.inputs if node.kind is Kind.BINARY else node.inputs[:1]
    if not node.outputs or not ({*data, *node.outputs} & first):
        return True
    output = node.outputs[0]
    if node.kind is Kind.REDUCE:
        return _reduction_is_right(node, first, readers)
    if node.kind is Kind.DEPTH_TO_SPACE:
        return output not in first
    if judge(node)[0] is Role.BEGIN:
        return data[0] not in first or data[0].same_in_both_layouts
    if output in first and len(output.shape) != 4:
        return False
    return all(
        (value in first) == (output in first) or value.same_in_both_layouts for value in data
    )


def _reduction_is_right(node: Node, first: set[Value], readers: Readers) -> bool:
    """Reductions of channels-first images work for the whole image only.

    Where they keep the axes, `reshape_reduce_operator` in XNNPACK's `src/subgraph/static-reduce.c`
    gives (batch, 1, 1, height) for (batch, 1, 1, channels) to a reader that is channels-first as
    well, and (batch, channels, 1, 1) to others. 1x1 convolutions do not look at the former.
    """
    (data,), (output,) = node.inputs[:1], node.outputs
    if data not in first:
        return output not in first or output.same_in_both_layouts
    if {axis % 4 for axis in node.axes} != {1, 2}:
        return False
    if not node.keep_dims:
        return True
    _, height, _, channels = data.shape
    after = readers.get(output, ())
    if output in first:
        pointwise = all(reader.is_pointwise and reader.outputs[0] in first for reader in after)
        return pointwise or (height == channels and channels is not None)
    return channels == 1 or all(
        reader.kind is Kind.RESHAPE or reader.operator == BATCH_SIZE for reader in after
    )
