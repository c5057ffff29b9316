"""The report of a check: reasons, fixes, shares, and its three faces."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from battery import SIZE, head, layer, network, pointwise, separable, sparsify, stem
from keras import layers as L

from secateur import xnnpack
from secateur.xnnpack import Reason
from support import only


def reasons(model):
    """Why each layer that is in the way is, by its name."""
    return {op.name: op.reason for op in xnnpack.check(model).in_the_way}


def named(kind, *args, **kwargs):
    return layer(kind, *args, name="odd", **kwargs)


ODD = {
    "pooling": (named(L.MaxPooling2D), Reason.UNSUPPORTED),
    "concatenation": (lambda x: L.Concatenate(name="odd")([x, x]), Reason.UNSUPPORTED),
    "kernel": (named(L.Conv2D, 16, 3, padding="same"), Reason.STEM_CHANNELS),
    "5x5 kernel": (named(L.Conv2D, 16, 5, padding="same"), Reason.KERNEL_SIZE),
    "groups": (named(L.Conv2D, 16, 1, groups=4), Reason.GROUPS),
    "stride": (named(L.Conv2D, 16, 1, strides=2), Reason.POINTWISE_STRIDE),
    "depthwise": (named(L.DepthwiseConv2D, 7, padding="same"), Reason.DEPTHWISE_SIZE),
    "depthwise stride": (
        named(L.DepthwiseConv2D, 3, 2, padding="same"),
        Reason.SAME_STRIDE,
    ),
    "depthwise padding": (named(L.DepthwiseConv2D, 3), Reason.DEPTHWISE_PADDING),
    "multiplier": (
        named(L.DepthwiseConv2D, 3, padding="same", depth_multiplier=2),
        Reason.DEPTH_MULTIPLIER,
    ),
    "dilation": (
        named(L.DepthwiseConv2D, 3, padding="same", dilation_rate=2),
        Reason.DILATION,
    ),
    "nearest": (named(L.UpSampling2D), Reason.NOT_DELEGATED),
    "softplus": (named(L.Activation, "softplus"), Reason.NOT_DELEGATED),
    "subtraction": (
        lambda x: L.Subtract(name="odd")([x, L.Conv2D(16, 1)(x)]),
        Reason.ARITHMETIC,
    ),
    "normalization": (named(L.BatchNormalization), Reason.CONSTANT_OPERAND),
    "twice": (lambda x: L.Add(name="odd")([x, x]), Reason.TWICE),
    "pooled gate": (
        lambda x: L.Multiply()([x, L.GlobalAveragePooling2D(keepdims=True, name="odd")(x)]),
        Reason.WRONG_SHAPE,
    ),
    "custom": (lambda x: Custom(name="odd")(x), Reason.UNKNOWN),
}


class Custom(L.Layer):
    def call(self, x):
        return x + 1.0

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize("name", ODD)
def test_the_layer_in_the_way_is_named_with_its_reason(name):
    make, reason = ODD[name]
    model = network(lambda x: make(pointwise(x)))
    report = xnnpack.check(model)
    (odd,) = report.in_the_way
    assert (odd.name, odd.reason) == ("odd", reason)
    assert odd.fix == xnnpack.FIXES[reason] != ""
    assert not report.eligible
    text = str(report)
    assert f"{reason}: {odd.fix}" in text
    assert any(op.culprit == "odd" for op in report.convolutions)


STEMS = {
    "same": (layer(L.Conv2D, 8, 3, 2, "same", name="odd"), Reason.SAME_STRIDE),
    "stride 1": (layer(L.Conv2D, 8, 3, padding="same", name="odd"), Reason.STEM_STRIDE),
    "valid": (layer(L.Conv2D, 8, 3, 2, name="odd"), Reason.STEM_PADDING),
    "5x5": (layer(L.Conv2D, 8, 5, 2, "same", name="odd"), Reason.KERNEL_SIZE),
}


@pytest.mark.parametrize("name", STEMS)
def test_stems(name):
    begin, reason = STEMS[name]
    assert reasons(network(begin=begin)) == {"odd": reason}


def test_even_padding_of_odd_sizes_will_be_written_out():
    """The converter makes it "same", which XNNPACK refuses; `secateur.export` undoes that."""
    inputs = keras.Input((25, 25, 3))
    model = keras.Model(inputs, head(pointwise(L.Conv2D(8, 3, 2, "same")(inputs))))
    assert xnnpack.check(model).eligible


def test_padding_that_several_layers_share_will_be_written_for_each():
    def shared(x):
        padded = L.ZeroPadding2D(1)(x)
        return L.Add()([L.DepthwiseConv2D(3, 2)(padded), L.DepthwiseConv2D(3, 2)(padded)])

    assert xnnpack.check(network(shared)).eligible


def test_shares_and_the_threshold():
    model = sparsify(network(), share=0.6)
    report = xnnpack.check(model)
    (part,) = report.parts
    # 8 x 16 and twice 16 x 16; the head's 160 weights do not count.
    assert part.weights == 640
    assert part.zeros == round(0.6 * 128) + 2 * round(0.6 * 256)
    assert part.sparsity == pytest.approx(0.6, abs=0.01)
    assert not part.sparse
    assert not report.runs_sparse
    assert report.eligible
    assert {op.reason for op in report.convolutions} == {Reason.BELOW_THRESHOLD}
    assert f"{part.zeros} of 640 weights in 3 1x1 convolutions are zero" in str(report)
    assert xnnpack.THRESHOLD == 2 / 3


def test_a_head_is_not_in_the_way():
    model = network(end=lambda x: L.Softmax()(head(x)))
    report = xnnpack.check(model)
    assert report.in_the_way == []
    dense = next(op for op in report.operations if op.operation == "Dense")
    assert (dense.pointwise, dense.sparse, dense.reason) == (True, False, Reason.HEAD)
    assert dense not in report.convolutions


def test_what_is_before_the_stem_is_not_in_the_way():
    model = network(begin=lambda x: stem(L.Normalization(mean=[0.1] * 3, variance=[0.5] * 3)(x)))
    assert xnnpack.check(model).eligible


def test_as_data():
    report = xnnpack.check(sparsify(network()))
    found = json.loads(report.to_json())
    assert found == report.to_dict()
    assert found["runs_sparse"] is True
    assert found["parts"][0]["threshold"] == 2 / 3
    first = next(op for op in found["operations"] if op["pointwise"])
    assert (first["shape"], first["zeros"], first["sparse"]) == ([16, 8], 115, True)
    assert set(first) == {
        *("name", "operation", "pointwise", "shape", "zeros", "sparsity", "part", "sparse"),
        *("reason", "culprit", "fix"),
    }


def test_as_text_and_in_a_notebook():
    report = xnnpack.check(sparsify(network(name_of="a<b")))
    assert str(report).startswith("XNNPACK runs all 3 1x1 convolutions of 'a<b' sparse\n")
    assert repr(report) == str(report)
    page = report._repr_html_()
    assert "<b>XNNPACK runs all 3 1x1 convolutions of &#x27;a&lt;b&#x27; sparse</b>" in page
    assert page.count("<tr>") == 5


def test_a_model_without_1x1_convolutions():
    inputs = keras.Input((SIZE, SIZE, 3))
    report = xnnpack.check(keras.Model(inputs, head(stem(inputs))))
    assert not report.eligible
    assert "no 1x1 convolution" in report.title


def test_matrices_on_rows_are_another_matter():
    model = keras.Sequential([keras.Input((8,)), L.Dense(4), L.Dense(2)], name="rows")
    report = xnnpack.check(model)
    assert [op.reason for op in report.operations] == [Reason.ROWS] * 2
    assert (report.convolutions, report.in_the_way, report.eligible) == ([], [], False)
    assert report.title == "There is no 1x1 convolution in 'rows' that could run sparse"


def test_models_in_models_and_shared_layers():
    inner = keras.Sequential([keras.Input((12, 12, 8)), L.Conv2D(8, 1, name="inside"), L.ReLU()])
    inputs = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(inputs, head(inner(inner(stem(inputs)))))
    report = xnnpack.check(model)
    assert [op.name for op in report.convolutions] == ["sequential/inside"]
    assert report.parts[0].convolutions == 2
    assert report.parts[0].weights == 128


def test_an_unknown_size_inside_is_known_where_the_model_is_called():
    inner = keras.Sequential([keras.Input((None, None, 8)), L.DepthwiseConv2D(3, 2, "same")])
    inputs = keras.Input((26, 26, 3))  # 13 pixels inside: padded evenly
    model = keras.Model(inputs, head(pointwise(inner(stem(inputs)))))
    assert xnnpack.check(model).eligible


def test_subclassed_models_are_to_be_exported_first():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match=r"(?s)Export it with .*Received: model='subclassed'"):
        xnnpack.check(Subclassed())
    with pytest.raises(ValueError, match="no input shape yet"):
        xnnpack.check(keras.Sequential([L.Dense(2)]))
    with pytest.raises(TypeError, match="Expected a Keras model, or the path"):
        xnnpack.check(3)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        xnnpack.check(tmp_path / "missing.tflite")
    with pytest.raises(ValueError, match="no .tflite file"):
        xnnpack.check(b"nothing of the kind")


@only("tensorflow")
def test_a_file_needs_no_keras(tmp_path):
    from xnnpack_support import converted

    path = tmp_path / "model.tflite"
    path.write_bytes(converted("separable"))
    code = """
import sys, secateur
report = secateur.xnnpack.check(sys.argv[1])
print(len(report.convolutions), report.eligible)
print(*(m for m in ("keras", "tensorflow", "jax", "torch") if m in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "True"]


@only("tensorflow")
@pytest.mark.parametrize("size", [25, 24])
def test_padding_is_written_out_where_it_helps(size):
    from secateur.litert.convert import convert_model
    from secateur.litert.flatbuffer import read_model, write_model
    from secateur.litert.graph import opcode_name

    inputs = keras.Input((size, size, 3), batch_size=1)
    x = stem(inputs)
    two = [L.DepthwiseConv2D(3, 2)(L.ZeroPadding2D(1)(x)) for _ in range(2)]  # one PAD in the file
    model = sparsify(keras.Model(inputs, head(separable(L.Add()(two)))))
    assert xnnpack.check(model).runs_sparse
    content = convert_model(model)
    file = read_model(content)
    assert not xnnpack.sparse_weights(file).runs_sparse
    changed = xnnpack.explicit_padding(file)
    assert changed == {25: 3, 24: 2}[size]
    assert xnnpack.sparse_weights(file).runs_sparse
    assert xnnpack.explicit_padding(file) == 0
    kinds = [opcode_name(file, operator) for operator in file.subgraphs[0].operators]
    assert kinds.count("PAD") == 3  # that of both is gone
    image = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype("float32")
    np.testing.assert_array_equal(run(write_model(file), image), run(content, image))


def run(content, image):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
