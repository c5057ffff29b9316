"""Rewrite a Keras model into one whose 1x1 convolutions XNNPACK can run sparse."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from secateur.xnnpack.adaptation.arithmetic import rewrite_arithmetic
from secateur.xnnpack.adaptation.convolutions import rewrite_convolutions, shift_stem
from secateur.xnnpack.adaptation.depthwise import rewrite_depthwise, shift_depthwise
from secateur.xnnpack.adaptation.editing import Change, Editor, build
from secateur.xnnpack.adaptation.ends import put_ends
from secateur.xnnpack.adaptation.pooling import flatten_head, rewrite_pooling, settle_pooled
from secateur.xnnpack.adaptation.report import Adaptation, _able
from secateur.xnnpack.check import check
from secateur.xnnpack.keras_calls import calls_of
from secateur.xnnpack.report import EligibilityReport
from secateur.xnnpack.rules import Reason

# Images on which the difference is measured where no data is given.
_SAMPLES = 4


def rewritten(model: Any, allow_approximate: bool, data: Any) -> Any:
    """Does what `secateur.xnnpack.adapt` says."""
    before = check(model)
    candidate, changes = _rewrite(model, allow_approximate)
    after = check(candidate)
    notes: tuple[str, ...] = ()
    if _able(after) <= _able(before) and not (after.eligible and not before.eligible):
        candidate, changes = build(calls_of(model)), []
        notes = _advice(before, after, allow_approximate)
        after = check(candidate)
    difference, measured_on = None, ""
    if data is not None or not all(change.exact for change in changes):
        difference, measured_on = _difference(model, candidate, data)
    candidate.adaptation = Adaptation(tuple(changes), before, after, difference, measured_on, notes)
    return candidate


def _advice(
    before: EligibilityReport, after: EligibilityReport, allow_approximate: bool
) -> tuple[str, ...]:
    """What to say where nothing that may be done helps."""
    if before.eligible:
        return ("it could from the start, so it is a copy of the model",)
    stems = (Reason.SAME_STRIDE, Reason.STEM_PADDING)
    left = after.in_the_way
    if left and not allow_approximate and all(op.reason in stems for op in left):
        return (
            f"there is no exact form of {left[0].name!r}; adapt(model, allow_approximate=True) moves "
            "its window by one pixel, which a fine-tune makes up for",
        )
    return ()


def _rewrite(model: Any, allow_approximate: bool) -> tuple[Any, list[Change]]:
    changes: list[Change] = []
    if allow_approximate:
        editor = Editor(calls_of(model), changes)
        moved = shift_stem(editor)
        if shift_depthwise(editor) or moved:
            model = build(editor.calls)
    editor = Editor(calls_of(model), changes)
    rewrite_pooling(editor)
    rewrite_convolutions(editor)
    rewrite_depthwise(editor)
    rewrite_arithmetic(editor)
    model = build(editor.calls)
    model = _settle_pooling(model, changes)
    editor = Editor(calls_of(model), changes)
    if put_ends(editor):
        model = build(editor.calls)
    return model, changes


def _settle_pooling(model: Any, changes: list[Change]) -> Any:
    """Changes poolings of which XNNPACK would get the shape wrong."""
    settled: set[str] = set()
    while True:
        wrong = [
            op.name
            for op in check(model).operations
            if op.reason == Reason.WRONG_SHAPE and not op.culprit and op.name not in settled
        ]
        if not wrong:
            return model
        editor = Editor(calls_of(model), changes)
        if flatten_head(editor, wrong[0]) or settle_pooled(editor, wrong[0]):
            model = build(editor.calls)
        settled.add(wrong[0])


def _difference(model: Any, other: Any, data: Any) -> tuple[float, str]:
    """The largest difference of outputs as a share of the largest output."""
    said = "the given data"
    if data is None:
        said = f"{_SAMPLES} random images"
        rng = np.random.default_rng(0)
        data = [
            rng.uniform(0, 1, [_SAMPLES, *(n or 64 for n in tensor.shape[1:])]).astype("float32")
            if tensor.shape[0] is None
            else rng.uniform(0, 1, [n or 64 for n in tensor.shape]).astype("float32")
            for tensor in model.inputs
        ]
        is_sequential = isinstance(model, keras.Sequential)
        data = data[0] if is_sequential else keras.tree.pack_sequence_as(model.input, data)
    results = [
        [np.asarray(y, "float64") for y in keras.tree.flatten(m.predict(data, verbose=0))]
        for m in (model, other)
    ]
    pairs = list(zip(*results, strict=True))
    largest = max(float(np.max(np.abs(y), initial=0.0)) for y, _ in pairs) or 1.0
    return max(float(np.max(np.abs(y - z), initial=0.0)) for y, z in pairs) / largest, said
