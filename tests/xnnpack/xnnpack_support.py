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


def convert(model):
    """A `.tflite` file as objects, as `secateur.export` writes it with dense weights."""
    file = read_model(convert_model(model))
    explicit_padding(file)
    return file


@functools.cache
def converted(name):
    """A network of the battery as bytes of a `.tflite` file."""
    return write_model(convert(build(name)))
