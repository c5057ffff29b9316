"""The child process that converts a model of another backend: `FOLDER MODE`.

The folder holds `model.keras` and `samples.npz`; `model.tflite` is written into it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    """Convert the model in the folder `sys.argv[1]`; a failure's reason goes to standard error."""
    folder, quantize = Path(sys.argv[1]), sys.argv[2]
    import keras

    from secateur.litert.convert import ConversionError, convert_here
    from secateur.litert.representative import load_samples
    from secateur.litert.signature import signature_of

    source = str(folder / "model.keras")
    import_custom_modules(source)
    try:
        # The parent wrote the file a moment ago, so the code in it is the user's own.
        model = keras.saving.load_model(source, compile=False, safe_mode=False)
        samples = load_samples(folder / "samples.npz")
        data = convert_here(model, signature_of(model), quantize or None, samples)
        (folder / "model.tflite").write_bytes(data)
    except ConversionError as error:
        sys.exit(str(error))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")


def import_custom_modules(source: str) -> None:
    """Import the modules of custom classes: Keras finds registered ones only after that."""
    with zipfile.ZipFile(source) as archive:
        config = json.loads(archive.read("config.json"))
    for name in sorted(set(_modules(config))):
        with contextlib.suppress(Exception):  # the loading that follows says what is missing
            importlib.import_module(name)


def _modules(config: Any) -> Iterator[str]:
    """The modules named in a serialized model, Keras' own left out."""
    if isinstance(config, list):
        for item in config:
            yield from _modules(item)
    elif isinstance(config, dict):
        name = config.get("module")
        if isinstance(name, str) and "class_name" in config and name.split(".")[0] != "keras":
            yield name
        for item in config.values():
            yield from _modules(item)
