"""Random small networks, for comparing what is predicted from Keras with what is read from a file."""

import keras
from battery import (
    head,
    layer,
    normalized,
    pointwise,
    pool,
    residual,
    separable,
    squeeze,
    stem,
    strided,
)
from hypothesis import strategies as st
from keras import layers as L
from keras import ops

SIZES = (12, 16, 17)
# Each takes an image of 16 channels and gives one.
BLOCKS = {
    "pointwise": pointwise,
    "separable": separable,
    "normalized": normalized,
    "residual": residual,
    "squeeze": lambda x: squeeze(x, pool),
    "shrink": strided(3, 2, 1),
    "shrink 5x5": strided(5, 2, 2),
    "grow": layer(L.UpSampling2D, interpolation="bilinear"),
    "relu6": layer(L.ReLU, 6.0),
    "relu 4": layer(L.ReLU, 4.0),
    "swish": layer(L.Activation, "swish"),
    "hard_swish": layer(L.Activation, "hard_swish"),
    "hard_sigmoid": layer(L.Activation, "hard_sigmoid"),
    "softplus": layer(L.Activation, "softplus"),
    "clip": lambda x: ops.clip(x, 0.1, 1.0),
    "scale": lambda x: x * 0.7,
    "shift": lambda x: x + 0.3,
    "normalize": layer(L.BatchNormalization),
    "subtract": lambda x: L.Subtract()([x, L.Conv2D(16, 1)(x)]),
    "twice": lambda x: L.Add()([x, x]),
    "square": lambda x: L.Multiply()([x, x]),
    "same stride": layer(L.DepthwiseConv2D, 3, 2, padding="same"),
    "depthwise 7x7": layer(L.DepthwiseConv2D, 7, padding="same"),
    "max": layer(L.MaxPooling2D, padding="same"),
    "average": layer(L.AveragePooling2D, 2, padding="same"),
    "ordinary": layer(L.Conv2D, 16, 3, padding="same"),
    "concatenate": lambda x: pointwise(L.Concatenate()([x, x])),
    "nearest": layer(L.UpSampling2D),
    "dense": layer(L.Dense, 16),
    "groups": layer(L.Conv2D, 16, 1, groups=2),
    "strides": layer(L.Conv2D, 16, 1, strides=2),
    "pad": layer(L.ZeroPadding2D, 1),
    "gate": lambda x: x * ops.sigmoid(pool(x)),
    "channel mean": lambda x: x * ops.mean(x, axis=-1, keepdims=True),
    "reshape": lambda x: L.Reshape(x.shape[1:])(L.Reshape((-1, 16))(x)),
}
GOOD = ("pointwise", "separable", "normalized", "residual", "squeeze", "shrink", "swish", "relu6")
ENDS = {
    "head": head,
    "pooled": pool,
    "map": layer(L.Conv2D, 4, 1),
    "pixels": lambda x: ops.depth_to_space(x, 2),
    "flat": lambda x: L.Dense(3)(L.Flatten()(x)),
    "pointwise head": lambda x: L.Conv2D(5, 1)(pool(x)),
    "softmax": lambda x: L.Softmax()(pool(x)),
}


@st.composite
def recipes(draw):
    """What a network is made of: mostly what XNNPACK takes, with a thing or two that it may not."""
    good = st.tuples(st.sampled_from(GOOD), st.booleans())
    blocks = draw(st.lists(good, min_size=1, max_size=4))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(blocks)))
        blocks.insert(place, (draw(st.sampled_from(sorted(BLOCKS))), draw(st.booleans())))
    ends = [("head", 0)]
    if draw(st.booleans()):
        ends = draw(
            st.lists(
                st.tuples(st.sampled_from(sorted(ENDS)), st.integers(0, 2)), min_size=1, max_size=2
            )
        )
    return draw(st.sampled_from(SIZES)), draw(st.sampled_from((1, None))), blocks, ends


def build(recipe):
    """The network: a chain of blocks, each reading the block before, or the one before that."""
    size, batch, blocks, ends = recipe
    inputs = keras.Input((size, size, 3), batch_size=batch)
    images = [L.Conv2D(16, 1)(stem(inputs))]
    for name, from_the_last in blocks:
        x = images[-1] if from_the_last else images[max(len(images) - 2, 0)]
        images.append(BLOCKS[name](x))
    outputs = [ENDS[name](images[max(len(images) - 1 - back, 0)]) for name, back in ends]
    return keras.Model(inputs, outputs)
