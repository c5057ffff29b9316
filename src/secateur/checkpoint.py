"""The engine's state in a checkpoint: the step, and the masks at eight weights a byte."""

from collections.abc import Sequence

import numpy as np

STEP_KEY = "pruning_step"


def pack(step: int, masks: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns what a checkpoint stores, by key."""
    packed = {f"mask_{i}": np.packbits(mask.reshape(-1)) for i, mask in enumerate(masks)}
    return {STEP_KEY: np.array(step, np.int64), **packed}


def unpack(
    packed: dict[str, np.ndarray], shapes: Sequence[tuple[int, ...]]
) -> tuple[int, list[np.ndarray]]:
    """Returns the step and the masks that `pack` stored.

    Args:
        packed: What the checkpoint holds, by key.
        shapes: The masks' shapes.

    Raises:
        ValueError: If that is not the state of masks of these shapes.
    """

    def damaged(what: str, received: str) -> ValueError:
        return ValueError(
            f"The checkpoint's pruning state does not fit this model, or is damaged: {what}. Nothing "
            "of it was restored. Load it into the model it was saved from, pruned with the same "
            f"layers, or use an earlier checkpoint. Received: {received}"
        )

    step = packed.pop(STEP_KEY)
    if step.shape != () or not np.issubdtype(step.dtype, np.integer) or step < 0:
        raise damaged("the step is no integer >= 0", f"{STEP_KEY}={step}")
    if sorted(packed) != sorted(f"mask_{i}" for i in range(len(shapes))):
        raise damaged(f"expected {len(shapes)} masks", f"keys={sorted(packed)}")
    masks = []
    for i, shape in enumerate(shapes):
        bits, size = packed[f"mask_{i}"], int(np.prod(shape))
        if bits.dtype != np.uint8 or bits.shape != (-(-size // 8),):
            raise damaged(
                f"mask {i} has {size} weights", f"mask_{i}={bits.dtype} of shape {bits.shape}"
            )
        masks.append(np.unpackbits(bits, count=size).astype(bool).reshape(shape))
    return int(step), masks
