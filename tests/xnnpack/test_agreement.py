"""What a check of a Keras model predicts is what is in the file."""

import keras
import pytest
from battery import sparsify
from blocks import BLOCKS, build, recipes
from hypothesis import HealthCheck, example, given, settings
from xnnpack_support import convert

from secateur import xnnpack
from secateur.xnnpack import from_keras, from_tflite
from secateur.xnnpack.cluster import rewrite
from secateur.xnnpack.partition import partition
from support import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="files are made by TensorFlow")


def predicted(graphs):
    """What is wrong, and the shapes of the filters that run sparse."""
    found = [rewrite(piece) for graph in graphs for piece in partition(graph)]
    shapes = [
        (node.filter.shape[0], node.filter.shape[-1])
        for each in found
        for cluster in each.clusters
        for node in cluster.sparse
    ]
    return any(each.wrong for each in found), sorted(shapes)


def compare(recipe):
    keras.utils.clear_session(free_memory=False)
    model = sparsify(build(recipe))
    file = convert(model)
    assert predicted([from_keras.graph_of(model)]) == predicted(from_tflite.graphs_of(file))


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(recipes())
@example((12, 1, [("pointwise", True), ("gate", True)], [("head", 0)]))
@example((17, None, [("shrink", True), ("residual", True)], [("pooled", 0), ("map", 1)]))
def test_random_networks(recipe):
    compare(recipe)


@pytest.mark.parametrize("name", ["hard_sigmoid", "relu 4", "scale", "normalize", "reshape", "pad"])
def test_blocks_that_the_converter_changes(name):
    assert name in BLOCKS
    compare((16, 1, [("separable", True), (name, True), ("separable", True)], [("head", 0)]))


def test_names_of_layers_are_found_again_in_the_report():
    model = sparsify(build((16, 1, [("max", True)], [("head", 0)])))
    names = {op.name for op in xnnpack.check(model).operations}
    assert {layer.name for layer in model.layers if layer.weights} <= names
