"""Conversions that several tests share; each network is converted once."""

import functools

import keras
from battery import BATTERY, sparsify

from secateur.litert.convert import convert_model
from secateur.litert.flatbuffer import read_model, write_model
from secateur.xnnpack import explicit_padding


def build(name):
    """A network of the battery with 90 % zeros, the same every time."""
    keras.utils.set_random_seed(0)
    return sparsify(BATTERY[name].build())


@functools.cache
def converted(name):
    """The network as bytes of a `.tflite` file, as `secateur.export` writes it with dense weights."""
    model = read_model(convert_model(build(name)))
    explicit_padding(model)
    return write_model(model)
