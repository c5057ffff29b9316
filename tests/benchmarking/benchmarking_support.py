"""A small model that XNNPACK runs sparse, written by TensorFlow's own converter."""

import warnings

import keras
import numpy as np

layers = keras.layers


def eligible_model(batch=None, size=32, zeros=0.9):
    """A small MobileNet that XNNPACK runs sparse; `zeros` of its 1x1 weights are zero."""
    keras.utils.set_random_seed(3)
    image = keras.Input((size, size, 3), batch_size=batch, name="image")
    x = layers.Conv2D(8, 3, strides=2)(layers.ZeroPadding2D(1)(image))
    for units in (32, 64):
        x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, padding="same")(x))
        x = layers.Conv2D(units, 1, activation="relu", name=f"pointwise_{units}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(10)(x))
    for layer in model.layers:
        if layer.name.startswith("pointwise"):
            kernel = np.array(keras.ops.convert_to_numpy(layer.kernel))
            smallest = np.argsort(np.abs(kernel), axis=None)[: int(zeros * kernel.size)]
            kernel.flat[smallest] = 0
            layer.kernel.assign(kernel)
    return model


def convert(model, path, *optimizations, representative=None):
    """Write a model with TensorFlow's own converter."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = list(optimizations)
    if representative is not None:
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's, on quantized inputs
        path.write_bytes(converter.convert())
    return path
