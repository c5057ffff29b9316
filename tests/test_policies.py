"""PruningPolicy and PruneForLatencyOnXNNPack: tfmot's verdicts and messages, where they are right."""

import keras
import pytest
from keras import layers as L
from keras import ops

import secateur

POLICY = secateur.PruneForLatencyOnXNNPack()
NO_START = (
    "Could not find `Conv2D 3x3` layer with stride 2x2, `input filters == 3` and `VALID` padding and "
    "preceding `ZeroPadding2D` with `padding == 1` in all input branches of the model"
)
NO_END = "Could not find a `GlobalAveragePooling2D` layer in all output branches"


def stem(x, padding=1, **kwargs):
    arguments = {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "valid", **kwargs}
    return L.Conv2D(**arguments)(L.ZeroPadding2D(padding)(x))


def network(middle=lambda x: x, begin=stem, end=None, channels=3, batch=None):
    """An eligible network, with one part replaced. No height is a number of channels."""
    inputs = keras.Input((24, 24, channels), batch_size=batch)
    x = L.Conv2D(8, 1, name="one")(begin(inputs))
    x = middle(x)
    x = L.Conv2D(8, 1, name="two")(x)
    x = end(x) if end else L.Dense(2)(L.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x)


def verdict(model):
    try:
        POLICY.ensure_model_supports_pruning(model)
    except ValueError as error:
        return str(error)
    return None


def unsupported(name):
    return f"Layer {name} is not supported for the PruneForLatencyOnXNNPack pruning policy"


def block(x):
    """An inverted residual block."""
    y = L.BatchNormalization()(L.Conv2D(16, 1)(x))
    y = L.DepthwiseConv2D(3, padding="same")(L.Activation("relu6")(y))
    return L.Add()([x, L.Conv2D(8, 1)(y)])


def gate(x):
    """A squeeze-and-excitation block."""
    y = L.Conv2D(4, 1, activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    return L.Multiply()([x, L.Conv2D(8, 1, activation="sigmoid")(y)])


def new(layer, *args, **kwargs):
    return lambda x: layer(*args, **kwargs)(x)


def padded_depthwise(size, strides, pad, **kwargs):
    return lambda x: L.DepthwiseConv2D(size, strides, "valid", **kwargs)(L.ZeroPadding2D(pad)(x))


ACCEPTED = {
    "plain": lambda x: x,
    "residual block": block,
    "squeeze and excitation": gate,
    "LeakyReLU": new(L.LeakyReLU),
    "ReLU": new(L.ReLU, 6.0),
    "ELU": new(L.ELU),
    "Dropout": new(L.Dropout, 0.1),
    "elu": new(L.Activation, "elu"),
    "leaky_relu": new(L.Activation, "leaky_relu"),
    "sigmoid": new(L.Activation, "sigmoid"),
    "x + y": lambda x: x + L.Conv2D(8, 1)(x),
    "x * y": lambda x: ops.multiply(x, L.Conv2D(8, 1)(x)),
    "bilinear upsampling": new(L.UpSampling2D, interpolation="bilinear"),
    "depthwise 3x3 same": new(L.DepthwiseConv2D, 3, padding="same"),
    "depthwise 5x5 same": new(L.DepthwiseConv2D, 5, padding="same"),
    "depthwise 3x3 padded": padded_depthwise(3, 1, 1),
    "depthwise 3x3 padded, stride 2": padded_depthwise(3, 2, 1),
    "depthwise 5x5 padded, stride 2": padded_depthwise(5, 2, 2),
    "axis 3": new(L.BatchNormalization, axis=3),
    "a convolution with swish inside": new(L.Conv2D, 8, 1, activation="swish"),
    "a sequential model": lambda x: keras.Sequential(
        [keras.Input((12, 12, 8)), L.Conv2D(8, 1), L.ReLU()]
    )(x),
}


# tfmot refuses these, and XNNPACK runs them sparse.
ACCEPTED_BY_XNNPACK = {
    "SeparableConv2D": new(L.SeparableConv2D, 8, 3, padding="same"),
    "Rescaling": new(L.Rescaling, 2.0),  # which the converter folds into the next convolution
    "swish": new(L.Activation, "swish"),
    "hard_swish": new(L.Activation, "hard_swish"),
    "gelu": new(L.Activation, "gelu"),
    "exp": ops.exp,
    "a functional model": lambda x: network_part(x),
    "SpatialDropout2D": new(L.SpatialDropout2D, 0.1),
}


@pytest.mark.parametrize("name", [*ACCEPTED, *ACCEPTED_BY_XNNPACK])
def test_accepts(name):
    assert verdict(network({**ACCEPTED, **ACCEPTED_BY_XNNPACK}[name])) is None


def test_accepts_what_stands_in_front_of_the_stem():
    assert verdict(network(begin=lambda x: stem(L.Rescaling(1 / 255)(x)))) is None


def test_accepts_other_ends():
    pixels = lambda x: ops.depth_to_space(L.Conv2D(8, 1)(x), 2)  # noqa: E731
    assert verdict(network(end=pixels)) is None
    assert verdict(network(end=lambda x: L.Softmax()(L.GlobalAveragePooling2D()(x)))) is None


REJECTED = {
    "MaxPooling2D": new(L.MaxPooling2D),
    "AveragePooling2D": new(L.AveragePooling2D, 2),
    "Concatenate": lambda x: L.Concatenate()([x, x]),
    "SeparableConv2D": new(L.SeparableConv2D, 8, 3),
    "PReLU": new(L.PReLU),
    "Activation": new(L.Activation, "softplus"),
    "Conv2D": new(L.Conv2D, 8, 3),
    "Conv2D strides": new(L.Conv2D, 8, 1, strides=2),
    "Conv2D groups": new(L.Conv2D, 8, 1, groups=2),
    "UpSampling2D": new(L.UpSampling2D, interpolation="nearest"),
    "BatchNormalization": new(L.BatchNormalization, axis=1),
    "DepthwiseConv2D": new(L.DepthwiseConv2D, 3),
    "DepthwiseConv2D strides": new(L.DepthwiseConv2D, 3, strides=2, padding="same"),
    "DepthwiseConv2D size": new(L.DepthwiseConv2D, 7, padding="same"),
    "DepthwiseConv2D multiplier": new(L.DepthwiseConv2D, 3, padding="same", depth_multiplier=2),
    "DepthwiseConv2D dilation": new(L.DepthwiseConv2D, 3, padding="same", dilation_rate=2),
    "DepthwiseConv2D padding": padded_depthwise(3, 1, 2),
    "DepthwiseConv2D 5x5": padded_depthwise(5, 1, 1),
    "Conv2DTranspose": new(L.Conv2DTranspose, 8, 1),
    # tfmot accepts these. XNNPACK computes the numbers of the first three wrong.
    "Subtract": lambda x: x - L.Conv2D(8, 1)(x),
    "Conv2D padded": new(L.ZeroPadding2D),
    "GlobalAveragePooling2D": lambda x: x * L.GlobalAveragePooling2D(keepdims=True)(x),
    "Add": lambda x: x + x,
}


def network_part(x):
    inputs = keras.Input(x.shape[1:])
    return keras.Model(inputs, L.Conv2D(8, 1)(inputs))(x)


@pytest.mark.parametrize("name", REJECTED)
def test_rejects(name):
    assert verdict(network(REJECTED[name])) == unsupported(name.split()[0])


def test_rejects_what_is_inside_a_sequential_model():
    inner = keras.Sequential([keras.Input((12, 12, 8)), L.Conv2D(8, 1), L.MaxPooling2D()])
    assert verdict(network(inner)) == unsupported("MaxPooling2D")


def test_rejects_rows_in_between():
    def squeeze(x):
        y = L.Reshape((1, 1, 8))(L.Dense(8)(L.GlobalAveragePooling2D()(x)))
        return L.Multiply()([x, y])

    assert verdict(network(squeeze)) == unsupported("Reshape")


@pytest.mark.parametrize("batch_size", [None, 1])
def test_accepts_pooling_without_kept_dimensions_that_a_reshape_puts_back(batch_size):
    """The converter, or with an open batch size `secateur.export`, makes one operation of both."""
    inputs = keras.Input((24, 24, 3), batch_size=batch_size)
    x = L.Conv2D(8, 1)(stem(inputs))
    y = L.Conv2D(8, 1)(L.Reshape((1, 1, 8))(L.GlobalAveragePooling2D()(x)))
    x = L.Conv2D(8, 1)(L.Multiply()([x, y]))
    assert verdict(keras.Model(inputs, L.GlobalAveragePooling2D()(x))) is None


def test_an_error_has_the_reason_and_the_fix_as_notes():
    with pytest.raises(ValueError) as raised:
        POLICY.ensure_model_supports_pruning(network(new(L.MaxPooling2D, name="pool")))
    (note,) = raised.value.__notes__
    assert "pool: XNNPACK has no sparse form of it" in note
    assert "Replace pooling by stride 2" in note
    assert "secateur.xnnpack.adapt(model)" in note


NO_STARTS = {
    "no padding layer": lambda x: L.Conv2D(4, 3, 2)(x),
    "same": lambda x: L.Conv2D(4, 3, 2, padding="same")(x),
    "padding 2": lambda x: stem(x, 2),
    "stride 1": lambda x: stem(x, strides=1),
    "5x5": lambda x: stem(x, kernel_size=5),
}


@pytest.mark.parametrize("name", NO_STARTS)
def test_needs_a_start(name):
    assert verdict(network(begin=NO_STARTS[name])) == NO_START


def test_needs_three_channels():
    assert verdict(network(channels=1)) == NO_START


def test_needs_a_start_in_every_input_branch():
    one, other = keras.Input((24, 24, 3)), keras.Input((12, 12, 8))
    x = L.Add()([L.Conv2D(8, 1)(stem(one)), L.Conv2D(8, 1)(other)])
    model = keras.Model([one, other], L.GlobalAveragePooling2D()(x))
    assert verdict(model) == NO_START


def test_needs_an_end_in_every_output_branch():
    assert verdict(network(end=L.Flatten())) == NO_END
    assert verdict(network(end=lambda x: [L.GlobalAveragePooling2D()(x), L.Flatten()(x)])) == NO_END


def test_calls_in_other_models_do_not_count():
    """tfmot looks at every call of a layer, wherever it was."""
    model = network(block)
    inputs = keras.Input((12, 12, 8))
    other = keras.Model(inputs, L.Flatten()(model.get_layer("two")(inputs)))
    assert verdict(model) is None
    assert verdict(other) == NO_START


def test_a_deep_model():
    def deep(x):
        for _ in range(400):
            x = L.ReLU()(x)
        return x

    assert verdict(network(deep)) is None


def test_subclassed_and_unbuilt_models():
    class Subclassed(keras.Model):
        pass

    assert verdict(Subclassed()) == "Subclassed models are not supported currently."
    unbuilt = keras.Sequential([L.Conv2D(4, 1)])
    assert verdict(unbuilt) == "Unbuilt models are not supported currently."


def test_prune_with_the_policy_prunes_1x1_convolutions_only():
    model = network(block)
    model.compile("sgd", "mse")
    report = secateur.prune(model, sparsity=0.75, policy=POLICY)
    channels = [(4, 8), (8, 16), (16, 8), (8, 8)]
    assert [w.shape for w in report.pruned] == [(1, 1, *c) for c in channels]
    assert {w.layer for w in report.left_alone if w.reason == secateur.Reason.POLICY} == {
        "Conv2D",
        "Dense",
    }


def test_prune_with_the_policy_leaves_an_unfit_model_alone():
    model = network(new(L.MaxPooling2D))
    model.compile("sgd", "mse")
    optimizer = model.optimizer
    with pytest.raises(ValueError, match="MaxPooling2D is not supported"):
        secateur.prune(model, sparsity=0.75, policy=POLICY)
    assert model.optimizer is optimizer


def test_separable_convolutions_and_dense_layers_on_images_are_pruned_too():
    model = network(lambda x: L.Dense(8)(L.SeparableConv2D(8, 3, padding="same")(x)), batch=1)
    model.compile("sgd", "mse")
    report = secateur.prune(model, sparsity=0.75, policy=POLICY)
    assert [w.shape for w in report.pruned] == [(1, 1, 4, 8), (1, 1, 8, 8), (8, 8), (1, 1, 8, 8)]


def test_a_target_that_leaves_too_few_zeros_warns_with_the_numbers():
    model = network()
    model.compile("sgd", "mse")
    schedule = secateur.PolynomialDecay(0.25, 0.5, begin_step=0, end_step=10)
    with pytest.warns(UserWarning, match=r"48 of 96 zero, 50\.0%.*sparsity=0\.5"):
        secateur.prune(model, schedule, policy=POLICY)
    secateur.prune(model, sparsity=0.75, policy=POLICY)  # which does not warn
    with pytest.warns(UserWarning, match="48 of 96 zero"):
        secateur.prune_once(network(), 0.5, policy=POLICY)


def test_two_thirds_are_not_enough():
    model = network()  # 4 x 8 and 8 x 8 weights: 64 of 96 are two thirds
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=r"64 of 96 zero, 66\.7%"):
        secateur.prune(model, layers={"one": 0.5, "two": 0.75}, sparsity=0.7, policy=POLICY)


def test_targets_over_all_layers_together_count_as_a_whole():
    model = network()
    model.compile("sgd", "mse")
    secateur.prune(model, sparsity=0.75, allocation=secateur.Global(), policy=POLICY)


def test_wrapped_layers_are_judged_by_what_is_inside():
    from secateur.tfmot.sparsity.keras import prune_low_magnitude

    pruned = prune_low_magnitude(network(block), pruning_policy=POLICY)
    names = [x.name for x in pruned.layers if x.name.startswith("prune_low_magnitude")]
    assert len(names) == 4
    assert verdict(pruned) is None
    assert verdict(prune_low_magnitude(network(block))) is None
    assert verdict(prune_low_magnitude(network(new(L.MaxPooling2D)))) == unsupported("MaxPooling2D")


def test_a_policy_of_ones_own_must_say_both():
    class Half(secateur.PruningPolicy):
        def allow_pruning(self, layer):
            return True

    with pytest.raises(TypeError, match="ensure_model_supports_pruning"):
        Half()
