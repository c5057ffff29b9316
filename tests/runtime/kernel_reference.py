"""What the native operations should give, in numpy, and programs of one operation each."""

import math

import numpy as np
from hypothesis import strategies as st
from scipy.special import erf, expit

from secateur.runtime._composer import Composer
from secateur.runtime._forms import Activation, Window
from secateur.runtime._hand_signatures import Function

FUNCTIONS = {
    Function.IDENTITY: lambda x, a, b: x,
    Function.CLAMP: lambda x, a, b: np.clip(x, a, b),
    Function.HARD_SWISH: lambda x, a, b: x * np.clip(x + 3, 0, 6) / 6,
    Function.SIGMOID: lambda x, a, b: expit(x),
    Function.TANH: lambda x, a, b: np.tanh(x),
    Function.SWISH: lambda x, a, b: x * expit(x),
    Function.ELU: lambda x, a, b: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    Function.LEAKY_RELU: lambda x, a, b: np.where(x > 0, x, a * x),
    Function.GELU: lambda x, a, b: x * (1 + erf(x / math.sqrt(2))) / 2,
    Function.GELU_TANH: lambda x, a, b: (
        x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    ),
    Function.ABS: lambda x, a, b: np.abs(x),
    Function.SQUARE: lambda x, a, b: x * x,
    Function.EXP: lambda x, a, b: np.exp(x),
    Function.SQRT: lambda x, a, b: np.sqrt(x),
    Function.RSQRT: lambda x, a, b: 1 / np.sqrt(x),
    Function.NEG: lambda x, a, b: -x,
    Function.HARD_SIGMOID: lambda x, a, b: np.clip(x + 3, 0, 6) / 6,
    Function.LINEAR: lambda x, a, b: a * x + b,
}
POSITIVE = {Function.SQRT, Function.RSQRT}


def activations():
    """Functions with parameters that make a difference."""
    return st.sampled_from(
        [
            Activation(),
            Activation(Function.CLAMP, 0, math.inf),
            Activation(Function.CLAMP, -1, 1),
            Activation(Function.HARD_SWISH),
            Activation(Function.SWISH),
            Activation(Function.LEAKY_RELU, 0.3),
            Activation(Function.LINEAR, 2, -1),
        ]
    )


def apply(activation, x):
    """The function of each number, in float64."""
    return FUNCTIONS[activation.function](np.float64(x), activation.a, activation.b)


def finished(epilogue, x, residual=None):
    """What an epilogue makes of a result."""
    x = apply(epilogue.first, x)
    return x if residual is None else apply(epilogue.second, x + residual)


def patches(x, window, out_height, out_width, fill=0.0):
    """What the window sees: (batch, height, width, kernel height, kernel width, channels)."""
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    top, left, bottom, right = window.padding
    padded = np.pad(
        np.float64(x), ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill
    )
    rows = np.arange(out_height)[:, None] * sh + np.arange(kh) * dh
    columns = np.arange(out_width)[:, None] * sw + np.arange(kw) * dw
    return padded[:, rows[:, None, :, None], columns[None, :, None, :]]


def out_size(window, height, width):
    """Height and width of what a window leaves."""
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    top, left, bottom, right = window.padding
    return (
        (height + top + bottom - (kh - 1) * dh - 1) // sh + 1,
        (width + left + right - (kw - 1) * dw - 1) // sw + 1,
    )


@st.composite
def windows(draw, height, width, kernels=(1, 2, 3, 5), strides=(1, 2, 3), dilations=(1, 2)):
    """Windows that fit an image, with paddings of all kinds."""
    kernel = draw(st.tuples(*[st.sampled_from(kernels)] * 2) | st.sampled_from([(3, 3), (5, 5)]))
    stride = draw(st.tuples(*[st.sampled_from(strides)] * 2) | st.sampled_from([(1, 1), (2, 2)]))
    dilation = draw(st.tuples(*[st.sampled_from(dilations)] * 2) | st.just((1, 1)))
    padding = list(draw(st.tuples(*[st.integers(0, 3)] * 4)))
    for axis, size in enumerate((height, width)):
        missing = (kernel[axis] - 1) * dilation[axis] + 1 - size
        missing -= padding[axis] + padding[axis + 2]
        padding[axis + 2] += max(missing, 0)
    return Window(kernel, stride, tuple(padding), dilation)


def sparse_weights(rng, shape, zeros):
    """Normal numbers, that part of them zero; some whole rows too."""
    weights = rng.normal(size=shape).astype("float32")
    weights[rng.random(shape) < zeros] = 0
    weights[rng.random(shape[0]) < 0.1] = 0
    return weights


class One:
    """A program around the operation under test: inputs and outputs are channels last."""

    def __init__(self, isa):
        self.program = Composer(isa)
        self.arrays = []

    def raw(self, x):
        """An array as an input, as it is."""
        self.arrays.append(x)
        return self.program.input((x.shape[3], *x.shape[1:3]))

    def value(self, x):
        """An array as a channel-major value."""
        value = self.program.value((x.shape[3], *x.shape[1:3]))
        self.program.to_chw(self.raw(x), value)
        return value

    def out(self, height, width, channels):
        """Where the operation writes."""
        self.shape = (channels, height, width)
        self.result = self.program.value(self.shape)
        return self.result

    def run(self, threads=1):
        """The result, channels last."""
        self.program.to_nhwc(self.result, self.program.output(self.shape))
        self.program.finalize(len(self.arrays[0]))
        first = self.program.run(self.arrays, threads=threads)[0]
        again = self.program.run(self.arrays, threads=threads)[0]
        np.testing.assert_array_equal(first, again)
        return first


def close(found, expected, tolerance=1e-4, sums=None):
    """Asserts equality up to float32's rounding, relative to the largest number that was summed up."""
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected if sums is None else sums).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale * 0.1)
