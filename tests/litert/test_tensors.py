"""Reading weights back from a flatbuffer: names, shapes, dtypes, zeros."""

import keras
import numpy as np
import pytest

from secateur.litert import TensorInfo, kernel_sparsity, read_tensors
from secateur.litert.tensors import _unpack_int4


def zeros_by_size(model):
    """The zeros of each kernel of a Keras model, by the kernel's size."""
    values = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    return {v.size: int((v == 0).sum()) for v in values if v.ndim > 1}


def test_counts_the_zeros_of_each_kernel(cnn, cnn_bytes):
    kernels = [tensor for tensor in read_tensors(cnn_bytes) if tensor.is_kernel]
    assert {tensor.size: tensor.zeros for tensor in kernels} == zeros_by_size(cnn)
    assert {tensor.dtype for tensor in kernels} == {"float32"}
    assert kernel_sparsity(kernels) == 0.75


def test_quantized_kernels_keep_their_zeros(cnn, cnn_dynamic_bytes):
    kernels = {t.size: t for t in read_tensors(cnn_dynamic_bytes) if t.is_kernel}
    assert kernels[1152].dtype == "int8"  # the one that is large enough to be quantized
    # Small weights round to zero too.
    assert kernels[1152].zeros >= zeros_by_size(cnn)[1152]


def test_shapes_are_those_of_the_file(cnn_bytes):
    shapes = {tensor.size: tensor.shape for tensor in read_tensors(cnn_bytes)}
    assert shapes[1152] == (8, 144)  # output channels first, unlike in Keras
    assert shapes[36] == (4, 3, 3, 1)


def test_a_path_does_as_well_as_bytes(cnn_bytes, tmp_path):
    (tmp_path / "model.tflite").write_bytes(cnn_bytes)
    assert read_tensors(tmp_path / "model.tflite") == read_tensors(cnn_bytes)


def test_to_dict_is_plain():
    info = TensorInfo("dense/kernel", (4, 2), "float32", size=8, zeros=6)
    assert info.to_dict() == {
        "name": "dense/kernel",
        "shape": [4, 2],
        "dtype": "float32",
        "size": 8,
        "zeros": 6,
        "sparsity": 0.75,
    }


def test_two_int4_weights_a_byte_the_lower_half_first():
    np.testing.assert_array_equal(_unpack_int4(np.array([0x21, 0xF8], "uint8")), [1, 2, -8, -1])


def test_nothing_to_count():
    assert kernel_sparsity([]) == 0.0


def test_a_file_of_another_kind():
    with pytest.raises(ValueError, match=r"no \.tflite file.*Received: file=8 bytes"):
        read_tensors(b"PK\x03\x04....")


def test_a_half_written_file(cnn_bytes):
    with pytest.raises(ValueError, match=r"damaged or half-written.*Received: file="):
        read_tensors(cnn_bytes[: len(cnn_bytes) // 2])
