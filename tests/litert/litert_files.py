"""`.tflite` files made by hand, and what LiteRT makes of them."""

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tflite_graph import KINDS, TYPES, Graph

__all__ = ["KINDS", "TYPES", "Graph", "run"]


def run(data, *inputs, delegate=True):
    """The outputs of a file in LiteRT, with its XNNPACK delegate or without."""
    kind = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=kind)
    for entry, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.resize_tensor_input(entry["index"], value.shape)
    interpreter.allocate_tensors()
    for entry, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(entry["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(entry["index"]) for entry in interpreter.get_output_details()]
