"""Makes the models of runtime.py: `python runtime_models.py FOLDER NAME ZEROS...`, in TensorFlow.

Stock keras.applications without trained weights, batch statistics made uneven, the smallest weights
of each 1x1 kernel pruned; plain .tflite files, and a full-integer one of the dense model. With
`--onnx`, MobileNetV1 as .onnx files for the engines that read those (needs onnx, not TensorFlow).
`MobileNetV2.attention`, `.upsampling` and `.argmax` end in operators that only LiteRT runs.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np


def make(folder, name, levels):
    """Make the files of a network that are not there, with TensorFlow; return all by their zeros."""
    paths = {zeros: folder / f"{name}-{zeros:g}.tflite" for zeros in levels}
    needed = [*paths.values(), *([folder / f"{name}-int8.tflite"] if 0 in paths else ())]
    if not all(path.exists() for path in needed):
        print(f"making {name} ...", file=sys.stderr, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        env = dict(os.environ, KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
        command = [sys.executable, __file__, str(folder), name, *(f"{zeros:g}" for zeros in levels)]
        subprocess.run(command, check=True, env=env, capture_output=True)
    return paths


def _attention(model):
    from keras import layers

    x = layers.Reshape((49, 128))(layers.Conv2D(128, 1)(model.get_layer("out_relu").output))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 32)(x, x))
    return layers.Dense(1000)(layers.GlobalAveragePooling1D()(x))


def _upsampling(model):
    from keras import layers

    x = model.get_layer("block_13_expand_relu").output
    for filters in (64, 32):
        x = layers.Conv2DTranspose(filters, 3, 2, padding="same", activation="relu")(x)
    return layers.Conv2D(21, 1)(x)


def _argmax(model):
    import keras
    import tensorflow as tf

    return keras.layers.Lambda(lambda x: tf.argmax(x, -1, tf.int32))(model.output)


HEADS = {"attention": _attention, "upsampling": _upsampling, "argmax": _argmax}


def keras_model(name, zeros):
    import keras

    name, _, head = name.partition(".")
    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            scale, *others = layer.get_weights()
            layer.set_weights([scale + 0.1 * rng.normal(size=scale.shape), *others])
        if type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1) and zeros:
            kernel, *others = layer.get_weights()
            limit = np.quantile(np.abs(kernel), zeros)
            layer.set_weights([np.where(np.abs(kernel) <= limit, 0, kernel), *others])
    return keras.Model(model.input, HEADS[head](model)) if head else model


def tflite(folder, name, levels):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    for zeros in levels:
        model = keras_model(name, zeros)
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        (folder / f"{name}-{zeros:g}.tflite").write_bytes(converter.convert())
        if not zeros:
            shape = (1, 224, 224, 3)
            images = [[rng.random(shape).astype("float32")] for _ in range(4)]
            converter = tf.lite.TFLiteConverter.from_keras_model(model)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda images=images: iter(images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
            (folder / f"{name}-int8.tflite").write_bytes(converter.convert())


# Output channels and stride of MobileNetV1's blocks.
_BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
_BLOCKS += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]


def onnx(folder, levels):
    """MobileNetV1 in ONNX's own layout, with random weights, zeros and all."""
    import onnx as library
    from onnx import TensorProto, helper, numpy_helper

    for zeros in levels:
        rng = np.random.default_rng(0)
        nodes, constants = [], []

        def constant(values, constants=constants):
            constants.append(
                numpy_helper.from_array(values.astype("float32"), f"w{len(constants)}")
            )
            return constants[-1].name

        def node(kind, inputs, nodes=nodes, **options):
            nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], **options))
            return nodes[-1].output[0]

        def conv(x, inputs, outputs, size, stride, zeros=0.0, groups=1):
            shape = (outputs, inputs // groups, size, size)
            weights = rng.normal(size=shape) * np.sqrt(2 / (inputs // groups * size**2))  # noqa: B023
            weights = np.where(rng.random(shape) < zeros, 0, weights)  # noqa: B023
            options = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "group": groups}
            operands = [x, constant(weights), constant(np.zeros(outputs))]
            x = node("Conv", operands, pads=[size // 2] * 4, **options)
            return node("Relu", [x])

        x, channels = conv("x", 3, 32, 3, 2), 32
        for outputs, stride in _BLOCKS:
            x = conv(x, channels, channels, 3, stride, groups=channels)
            x, channels = conv(x, channels, outputs, 1, 1, zeros), outputs
        x = node("Flatten", [node("GlobalAveragePool", [x])])
        head = rng.normal(size=(1000, 1024)) * 0.03
        x = node("Gemm", [x, constant(head), constant(np.zeros(1000))], transB=1)
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("x", [1, 3, 224, 224]), (x, [1, 1000]))
        ]
        graph = helper.make_graph(nodes, "mobilenet", ends[:1], ends[1:], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
        model.ir_version = 7
        library.save(model, folder / f"MobileNet-{zeros:g}.onnx")


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--onnx"]
    folder, name, *levels = arguments
    if "--onnx" in sys.argv:
        onnx(Path(folder), [float(level) for level in levels])
    else:
        tflite(Path(folder), name, [float(level) for level in levels])
