"""Running a model by the names of its inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.runtime.interpreter import Interpreter


class SignatureRunner:
    """What `Interpreter.get_signature_runner` returns: LiteRT's `SignatureRunner`.

    Args:
        interpreter: The interpreter.
        runner: LiteRT's runner of the same signature, which knows its names.
    """

    def __init__(self, interpreter: Interpreter, runner: Any) -> None:
        self._interpreter = interpreter
        self._inputs = {k: v["index"] for k, v in runner.get_input_details().items()}
        self._outputs = {k: v["index"] for k, v in runner.get_output_details().items()}

    def __call__(self, **inputs: Any) -> dict[str, Any]:
        """Run the signature.

        Args:
            **inputs: An array for each input, of any shape that the model takes.

        Returns:
            The outputs by their names.

        Raises:
            ValueError: If inputs are missing or have other names, shapes or dtypes.
        """
        if inputs.keys() != self._inputs.keys():
            raise ValueError(
                f"The signature has the inputs {', '.join(self._inputs)}. Give each of them an "
                f"array. Received: {', '.join(inputs) or 'none'}"
            )
        for name, value in inputs.items():
            self._interpreter.resize_tensor_input(self._inputs[name], value.shape)
        self._interpreter.allocate_tensors()
        for name, value in inputs.items():
            self._interpreter.set_tensor(self._inputs[name], value)
        self._interpreter.invoke()
        return {k: self._interpreter.get_tensor(i) for k, i in self._outputs.items()}

    def get_input_details(self) -> dict[str, Any]:
        """The details of each input by its name."""
        return _pick(self._interpreter.get_input_details(), self._inputs)

    def get_output_details(self) -> dict[str, Any]:
        """The details of each output by its name."""
        return _pick(self._interpreter.get_output_details(), self._outputs)


def _pick(details: list[dict[str, Any]], names: dict[str, int]) -> dict[str, Any]:
    entries = {entry["index"]: entry for entry in details}
    return {name: entries[index] for name, index in names.items()}
