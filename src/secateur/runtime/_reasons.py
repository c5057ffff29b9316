"""Why an operator or a whole model runs where it runs."""


class Reason:
    """The reasons, as they are put in plans."""

    SPARSE = "native: the zeros are left out"
    DENSE = "native: too few zeros to leave out, but faster than a change to LiteRT and back"
    WITH_OTHERS = "native: cheaper than a change to LiteRT and back"
    KIND = "LiteRT: the native library has no such operator"
    TYPE = "LiteRT: not in float32"
    SHAPE = "LiteRT: a shape the native library does not take"
    OPTIONS = "LiteRT: with options the native library does not take"
    BROADCAST = "LiteRT: operands of these shapes"
    UNKNOWN = "LiteRT: shapes that are known only while the model runs"
    COST = "LiteRT: at least as fast there"
    NO_ZEROS = "LiteRT: no convolution or fully connected layer of float32 has enough zeros"
    NOT_WORTH = "LiteRT: the whole model is at least as fast there"
    SUBGRAPHS = "LiteRT: the model has several subgraphs"
    STATE = "LiteRT: the model keeps variables"
    CUSTOM = "LiteRT: the model has operators of its own"
    RARE = "LiteRT: the file has something rare that the native library does not read"
    NEVER = 'LiteRT: native="never"'
    OPTIONS_GIVEN = "LiteRT: options were given that only LiteRT has"
    MISSING = "LiteRT: the native library is not installed"
    UNREADABLE = "LiteRT: the model's inputs and outputs are not as usual"


#: Those that the native library gives, by its numbers; "" where an operator can run there.
NATIVE_REASONS = (
    "",
    Reason.KIND,
    Reason.TYPE,
    Reason.SHAPE,
    Reason.OPTIONS,
    Reason.BROADCAST,
    Reason.UNKNOWN,
)
