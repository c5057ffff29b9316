"""Shorten the names of tensors that TensorFlow's converter made out of scopes and operations."""

from __future__ import annotations

from typing import Any

from secateur.litert.graph import indices, text


def shorten_names(model: Any) -> None:
    """Name tensors by the layers they come from, and by nothing else.

    The converter names a tensor by the model, the layer and the operation, for each operation that
    was merged: half of what a small file takes. Inputs, outputs and what signatures name keep their
    names.

    Args:
        model: A `ModelT`, changed in place.
    """
    for index, graph in enumerate(model.subgraphs):
        kept = {*indices(graph.inputs), *indices(graph.outputs)}
        for signature in model.signatureDefs or ():
            if signature.subgraphIndex == index:
                entries = (*(signature.inputs or ()), *(signature.outputs or ()))
                kept.update(entry.tensorIndex for entry in entries)
        for number, tensor in enumerate(graph.tensors or ()):
            if number not in kept:
                tensor.name = short_name(text(tensor.name))


def short_name(name: str) -> str:
    """The layers in a tensor's name.

    Args:
        name: The name, of parts `MODEL/LAYER/OPERATION` joined by semicolons.

    Returns:
        The layers, each once; a part without a layer stays as it is.

    Example:
        >>> short_name("model/relu/Relu6;model/conv/convolution;model/conv/bias")
        'relu;conv'
        >>> short_name("StatefulPartitionedCall:0")
        'StatefulPartitionedCall:0'
    """
    layers: dict[str, None] = {}
    for part in name.split(";"):
        scopes = part.split("/")
        layer = "/".join(scopes[1:-1]) or part
        if layer and not layer.isdecimal():  # a number makes the whole name unique
            layers[layer] = None
    return ";".join(layers) or name
