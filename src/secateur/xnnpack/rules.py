"""Which operations XNNPACK's sparse inference takes, which it does not, and what to do about it.

One table, used on `.tflite` files and on Keras models alike. It follows `xnn_check_nchw_compatibility`
in XNNPACK's `src/subgraph.c`.
"""

from __future__ import annotations

from enum import Flag, auto

from secateur.xnnpack.graph import Kind, Node, Value, Window


class Role(Flag):
    """Where in a sparse part an operation may stand."""

    NONE = 0
    BEGIN = auto()  # turns channels-last into channels-first
    INSIDE = auto()
    END = auto()  # turns channels-first into channels-last


class Reason:
    """Why an operation does not run sparse, or a part of a network does not."""

    STEM_STRIDE = "a 3x3 convolution with another stride than 2"
    STEM_PADDING = "a 3x3 convolution that is not padded by exactly one pixel on every side"
    STEM_CHANNELS = "a 3x3 convolution of other than 3 channels"
    KERNEL_SIZE = "a convolution that is neither 1x1 nor a 3x3 stem"
    GROUPS = "a convolution in groups"
    DILATION = "a dilated convolution"
    POINTWISE_STRIDE = "a 1x1 convolution with stride"
    POINTWISE_PADDING = "a 1x1 convolution with padding"
    DEPTHWISE_SIZE = "a depthwise convolution that is neither 3x3 nor 5x5"
    DEPTHWISE_STRIDE = "a depthwise convolution with another stride than 1 or 2"
    DEPTHWISE_PADDING = "a depthwise convolution that is not padded evenly on every side"
    SAME_STRIDE = "'same' padding with stride 2, which pads unevenly"
    DEPTH_MULTIPLIER = "a depthwise convolution with a depth multiplier"
    QUANTIZED = "it computes in integers"
    RANK = "its input has not four dimensions"
    CONSTANT_OPERAND = "arithmetic with a constant"
    ARITHMETIC = "arithmetic other than addition and multiplication"
    TINY_RESIZE = "it resizes an image one pixel high or wide"
    OPEN_RESHAPE = "a reshape whose batch size is open"
    UNSUPPORTED = "XNNPACK has no sparse form of it"
    UNKNOWN = "secateur does not know what it becomes in a .tflite file"
    NOT_DELEGATED = "LiteRT does not give it to XNNPACK, so the network is cut in two"

    ROWS = "it multiplies rows, and XNNPACK runs only images sparse"
    HEAD = "it is behind the end of the sparse part"
    BEFORE = "it is before the beginning of the sparse part"
    NO_BEGIN = "there is no stem that can begin a sparse part before it"
    NO_END = "there is no end that a sparse part can have after it"
    BLOCKED = "an operation in the same part cannot run sparse"
    SHARED = "its output is also used by an operation outside the sparse part"
    TWICE = "it reads the same image twice"
    EXPOSED = "its output, inside the sparse part, is an output of the model too"
    BELOW_THRESHOLD = "not more than two thirds of the weights of its part are zero"
    LAST = "it is the last operation of its part, which runs dense"
    WRONG = "XNNPACK would rewrite this part and get wrong numbers out of it"
    WRONG_SHAPE = "XNNPACK would get the shape wrong of what this pooling gives"
    QUANTIZED_NEIGHBOUR = "XNNPACK's count of zeros is undefined beside integer weights"
    NOT_MARKED = "no weight of its part is marked sparse in the file"


_STEM = (
    "Begin with ZeroPadding2D(1) and Conv2D(filters, 3, strides=2, padding='valid') on an image of 3 "
    "channels; `secateur.xnnpack.adapt(model, allow_approximate=True)` does it."
)
_ADAPT = "`secateur.xnnpack.adapt(model)` rewrites it without changing the numbers."

#: What to do about each reason.
FIXES = {
    Reason.STEM_STRIDE: _STEM,
    Reason.STEM_PADDING: _STEM,
    Reason.STEM_CHANNELS: (
        "Only the first convolution, on an image of 3 channels, may be 3x3. Give the model images of "
        "3 channels; use depthwise and 1x1 convolutions (SeparableConv2D) further on."
    ),
    Reason.KERNEL_SIZE: (
        "Replace it by a depthwise convolution (3x3 or 5x5) and a 1x1 convolution, as "
        "SeparableConv2D is. A stem must be 3x3."
    ),
    Reason.GROUPS: "Use groups=1, or a depthwise and a 1x1 convolution.",
    Reason.DILATION: "Use dilation_rate=1, or a 5x5 depthwise convolution.",
    Reason.POINTWISE_STRIDE: (f"Put the stride into the depthwise convolution before it. {_ADAPT}"),
    Reason.POINTWISE_PADDING: "Pad at a depthwise convolution, or not at all.",
    Reason.DEPTHWISE_SIZE: "Use a kernel of 3x3 or 5x5.",
    Reason.DEPTHWISE_STRIDE: "Use a stride of 1 or 2, the same in both directions.",
    Reason.DEPTHWISE_PADDING: (
        "Put ZeroPadding2D(1) before a 3x3, ZeroPadding2D(2) before a 5x5 depthwise convolution, and "
        f"use padding='valid'. {_ADAPT}"
    ),
    Reason.SAME_STRIDE: (
        "Use ZeroPadding2D(1) (2 for 5x5) and padding='valid'. "
        "`secateur.xnnpack.adapt(model)` does it, for depthwise convolutions without changing the "
        "numbers."
    ),
    Reason.DEPTH_MULTIPLIER: "Use depth_multiplier=1, and let the 1x1 convolution widen.",
    Reason.QUANTIZED: (
        "Export with quantize=None, 'float16' or 'weights': there are no sparse integer kernels."
    ),
    Reason.RANK: "Keep images four-dimensional, as with GlobalAveragePooling2D(keepdims=True).",
    Reason.CONSTANT_OPERAND: (
        "Fold the constant into the weights of a convolution beside it; BatchNormalization folds by "
        f"itself where it follows a convolution directly. {_ADAPT}"
    ),
    Reason.ARITHMETIC: "Use Add and Multiply; put a minus sign into the weights.",
    Reason.TINY_RESIZE: "Resize images of at least 2x2.",
    Reason.OPEN_RESHAPE: (
        "Fix the batch size with keras.Input(shape, batch_size=1), or do without the reshape: "
        f"GlobalAveragePooling2D(keepdims=True), and Conv2D(units, 1) for Dense. {_ADAPT}"
    ),
    Reason.UNSUPPORTED: (
        "Inside the sparse part there may be only 1x1 and depthwise convolutions, Add, Multiply, "
        "global average pooling, bilinear upsampling and elementwise activations. Replace pooling by "
        "stride 2 in a depthwise convolution, Concatenate by Add, PReLU by ReLU, Flatten before the "
        "head by GlobalAveragePooling2D."
    ),
    Reason.UNKNOWN: (
        "Export the model and check the file: `secateur.xnnpack.check('model.tflite')`. Layers must "
        "be channels-last."
    ),
    Reason.NOT_DELEGATED: (
        "Replace it by an operation that XNNPACK runs; for UpSampling2D use interpolation='bilinear'."
    ),
    Reason.ROWS: (
        "XNNPACK runs 1x1 convolutions of images sparse. Large matrices LiteRT itself can run "
        "sparse, in blocks of four inputs: see docs/export.md."
    ),
    Reason.HEAD: "Nothing: a classifier on pooled features is small, and runs dense.",
    Reason.BEFORE: "Move it behind the stem.",
    Reason.NO_BEGIN: _STEM,
    Reason.NO_END: "End with GlobalAveragePooling2D, or with a depth-to-space operation.",
    Reason.BLOCKED: "See that operation.",
    Reason.SHARED: "See that operation.",
    Reason.TWICE: "Fold the factor 2 into the weights of a convolution beside it.",
    Reason.EXPOSED: "Return it through a GlobalAveragePooling2D, or make it no output.",
    Reason.BELOW_THRESHOLD: (
        "Prune more: over all 1x1 convolutions of the part, more than two thirds of the weights must "
        "be zero. Aim at 0.75 or above."
    ),
    Reason.LAST: "Nothing: it is exact, and small.",
    Reason.WRONG: (
        "Do not mark weights of this file sparse; `secateur.export` leaves it dense. Remove the "
        "operations that are named here, or let every branch end in GlobalAveragePooling2D."
    ),
    Reason.WRONG_SHAPE: (
        "Pool whole images (height and width), and let a 1x1 convolution read what is pooled with "
        "keepdims=True, as in squeeze-and-excite: GlobalAveragePooling2D(keepdims=True), Conv2D(n, "
        "1, activation='relu'), Conv2D(channels, 1, activation='sigmoid'), Multiply. At the end, use "
        f"GlobalAveragePooling2D() and Dense. {_ADAPT}"
    ),
    Reason.QUANTIZED_NEIGHBOUR: (
        "Export with quantize=None, 'float16' or 'weights', so that no layer computes in integers."
    ),
    Reason.NOT_MARKED: "Export with sparse='auto'.",
}

#: Reasons for which nothing may be marked sparse.
UNSAFE = (Reason.WRONG, Reason.WRONG_SHAPE, Reason.QUANTIZED_NEIGHBOUR)

_FLOATS = ("float32", "float16")


def judge(node: Node) -> tuple[Role, str]:
    """Says where in a sparse part an operation may stand.

    Args:
        node: An operation, with what was padded or clamped around it fused into it.

    Returns:
        Its roles, and "" or, where there are none, the reason (see `Reason`).
    """
    if any(value.dtype not in _FLOATS for value in (*node.inputs, *node.outputs)):
        return Role.NONE, Reason.QUANTIZED
    if node.kind is Kind.FULLY_CONNECTED:
        return Role.INSIDE, ""
    if node.kind is Kind.CONVOLUTION and node.window:
        return _convolution(node.window)
    if node.kind is Kind.DEPTHWISE and node.window:
        reason = _depthwise(node.window)
        return (Role.NONE if reason else Role.INSIDE), reason
    if node.kind is Kind.DEPTH_TO_SPACE:
        return Role.END, ""
    if node.kind is Kind.BINARY:
        reason = _binary(node)
        return (Role.NONE if reason else Role.INSIDE), reason
    if node.kind is Kind.RESIZE_BILINEAR:
        small = any(length in (1, None) for length in node.inputs[0].shape[1:3])
        return (Role.NONE, Reason.TINY_RESIZE) if small else (Role.INSIDE, "")
    if node.kind in (Kind.UNARY, Kind.CLAMP, Kind.REDUCE):
        if node.kind is Kind.REDUCE and node.operator not in ("mean", "sum"):
            return Role.NONE, Reason.UNSUPPORTED
        if len(node.inputs[0].shape) != 4:
            return Role.NONE, Reason.RANK
        return (Role.INSIDE | Role.END if node.kind is Kind.REDUCE else Role.INSIDE), ""
    return Role.NONE, node.note or Reason.UNSUPPORTED


def _convolution(window: Window) -> tuple[Role, str]:
    if window.groups != 1:
        return Role.NONE, Reason.GROUPS
    if _either(window.dilation) != 1:
        return Role.NONE, Reason.DILATION
    if _either(window.kernel) == 1:
        if any(window.padding):
            return Role.NONE, Reason.POINTWISE_PADDING
        if _either(window.strides) != 1:
            return Role.NONE, Reason.POINTWISE_STRIDE
        return Role.INSIDE, ""
    if window.kernel != (3, 3):
        return Role.NONE, Reason.KERNEL_SIZE
    if window.channels != 3:
        return Role.NONE, Reason.STEM_CHANNELS
    if _either(window.strides) != 2:
        return Role.NONE, Reason.STEM_STRIDE
    if window.padding != (1, 1, 1, 1):
        return Role.NONE, Reason.SAME_STRIDE if window.same else Reason.STEM_PADDING
    return Role.BEGIN, ""


def _depthwise(window: Window) -> str:
    if _either(window.dilation) != 1:
        return Reason.DILATION
    if window.same:
        return Reason.SAME_STRIDE
    if window.multiplier != 1:
        return Reason.DEPTH_MULTIPLIER
    if window.strides not in ((1, 1), (2, 2)):
        return Reason.DEPTHWISE_STRIDE
    if window.kernel not in ((3, 3), (5, 5)):
        return Reason.DEPTHWISE_SIZE
    around = window.kernel[0] // 2
    return "" if window.padding == (around,) * 4 else Reason.DEPTHWISE_PADDING


def _binary(node: Node) -> str:
    if node.operator not in ("add", "multiply"):
        return Reason.ARITHMETIC
    if any(len(value.shape) != 4 for value in node.inputs):
        constant = any(value.constant for value in node.inputs)
        return Reason.CONSTANT_OPERAND if constant else Reason.RANK
    # XNNPACK looks at the first operand for either constant.
    if any(value.constant for value in node.inputs) and not _is_vector(node.inputs[0]):
        return Reason.CONSTANT_OPERAND
    return ""


def _is_vector(value: Value) -> bool:
    """An open length counts as 1: it is when XNNPACK looks."""
    return sum(length not in (1, None) for length in value.shape) <= 1


def _either(pair: tuple[int, int]) -> int:
    """Both numbers' bits at once, as XNNPACK compares them: 1 | 2 is neither 1 nor 2."""
    return pair[0] | pair[1]
