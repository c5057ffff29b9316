"""LiteRT's `Interpreter` for pruned models: the same methods and outputs, in less time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.runtime import _native, _whole
from secateur.runtime._ends import Ends
from secateur.runtime._opening import open_file
from secateur.runtime._reading import Dims, Graph, read_graph
from secateur.runtime._reasons import Reason
from secateur.runtime._session import Session
from secateur.runtime._steps import Mistaken
from secateur.runtime.signature import SignatureRunner

if TYPE_CHECKING:
    from secateur.runtime.plan import Plan
    from secateur.runtime.profile import Profile

_native.available()  # loads it, so that no model has to wait for that; LiteRT's import does the same


class Interpreter:
    """Runs a `.tflite` model; its convolutions leave out their zeros where that is faster.

    A stand-in for `ai_edge_litert.interpreter.Interpreter`. The model is divided: layers that gain
    run in secateur's native library, the others in LiteRT. A model that gains nothing runs in
    LiteRT as it is. The outputs are LiteRT's up to rounding, about 1e-5 of the largest value.

    Weights are any of those a file may hold: float32, float16 or int8 ones that are unpacked to
    float32, sparse-encoded or dense with zeros. Models quantized as a whole run in LiteRT.

    Args:
        model_path: The path of a `.tflite` file.
        model_content: Its bytes, instead of its path.
        experimental_delegates: As in LiteRT; the model then runs in LiteRT.
        num_threads: How many threads to use, 1 by default.
        native: "auto" runs natively what is thought to be faster so, "always" whatever can be, as
            for tests, and "never" nothing.
        **experimental: Other options of LiteRT's interpreter; the model then runs in LiteRT.

    Raises:
        ValueError: If both or none of path and content are given, `num_threads` is no positive
            whole number, there is no such file, or it is damaged.
        ImportError: If `native` is "always" and the native library is not installed.

    Example:
        >>> interpreter = Interpreter(model_path="model.tflite")  # doctest: +SKIP
        >>> interpreter.allocate_tensors()  # doctest: +SKIP
        >>> interpreter.set_tensor(0, images)  # doctest: +SKIP
        >>> interpreter.invoke()  # doctest: +SKIP
        >>> print(interpreter.plan())  # doctest: +SKIP
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        model_content: bytes | None = None,
        experimental_delegates: Any = None,
        num_threads: int | None = None,
        *,
        native: str = "auto",
        **experimental: Any,
    ) -> None:
        _check(model_path, model_content, num_threads, native)
        self._source: str | bytes = bytes(model_content or b"") or os.fspath(model_path or "")
        self._threads = num_threads or 1
        self._always = native == "always"
        self._session: Session | None = None
        self._left: Session | None = None  # that leaves all layers to LiteRT
        self._shapes: dict[int, Dims] | None = None  # of inputs, for which there is a plan
        self._ready = False
        if experimental_delegates:
            experimental["experimental_delegates"] = experimental_delegates
        prune = native != "never" and not experimental
        opened, graph = open_file(self._source, prune), None
        reason = Reason.OPTIONS_GIVEN if experimental else _whole.why_not(opened, native)
        if reason is None:
            graph = Graph(opened)
            reason = _whole.why_not_graph(graph)
        self._reason = reason or ""  # why LiteRT runs the whole file
        self._graph = graph if reason is None else None  # only until there is a plan
        self._ends = None if self._graph is None else Ends(self._graph, self._source)
        self._whole = None if self._ends is not None else self._litert(**experimental)

    def _litert(self, **options: Any) -> Any:
        """LiteRT's interpreter of the whole file."""
        return _whole.litert(self._source, self._threads, **options)

    @property
    def _front(self) -> Any:
        """What the caller has to do with: LiteRT's interpreter, or what stands for it."""
        return self._ends if self._whole is None else self._whole

    def _load(self, prune: bool = False) -> Graph:
        """The graph; read again where it was given up."""
        graph, self._graph = self._graph or read_graph(self._source, prune), None
        return graph

    # -- what LiteRT's interpreter has --

    def allocate_tensors(self) -> None:
        """Get ready for inputs of the shapes asked for; plans what runs where.

        Raises:
            RuntimeError: If the model does not take such shapes, or an array that `tensor` gave is
                still in use.
        """
        self._ready = False
        if self._ends is not None:
            if self._ends.given() != self._shapes:
                self._divide(self._ends)
            else:
                self._ends.check_unused()
        if self._whole is not None:
            self._whole.allocate_tensors()
        if self._session is not None:
            self._session.bind()
        self._ready = True

    def _divide(self, ends: Ends) -> None:
        """Make a plan for the shapes that are asked for now, and get ready to run it."""
        graph = self._load(prune=True)
        self._session, self._left, self._shapes, self._whole = None, None, None, None
        ends.settle(graph)
        try:
            session = Session(graph, ends.places(), self._threads, self._always)
        except Mistaken:
            graph = self._load(prune=True)
            ends.settle(graph, ask=True)
            session = Session(graph, ends.places(), self._threads, self._always)
        if session.native:
            self._session = session
        else:
            self._left = session
            self._whole = self._litert()
            ends.release()
            for tensor, dims in ends.given().items():
                self._whole.resize_tensor_input(tensor, dims)
        self._shapes = ends.given()

    def resize_tensor_input(self, input_index: int, tensor_size: Any, strict: bool = False) -> None:
        """Ask for another shape of an input; takes effect with `allocate_tensors`.

        Args:
            input_index: The input's number.
            tensor_size: Its shape.
            strict: Whether only lengths that the model leaves open may change.

        Raises:
            ValueError: If the shape is no list of lengths.
            RuntimeError: If there is no such input, it cannot have this shape, or an array that
                `tensor` gave is still in use.
        """
        if self._ends is not None:
            self._ends.resize_tensor_input(input_index, tensor_size, strict)
        if self._whole is not None:
            self._whole.resize_tensor_input(input_index, tensor_size, strict)
        self._ready = False

    def set_tensor(self, tensor_index: int, value: Any) -> None:
        """Copy values into an input.

        Args:
            tensor_index: The input's number.
            value: An array of its shape and dtype.

        Raises:
            ValueError: If there is no such tensor, shape or dtype differ, or memory was not
                allocated.
        """
        self._front.set_tensor(tensor_index, value)

    def invoke(self) -> None:
        """Run the model. Other Python threads go on meanwhile.

        Raises:
            RuntimeError: If `allocate_tensors` was not called, or LiteRT fails.
        """
        if self._whole is not None:
            self._whole.invoke()
            return
        self._check_ready()
        assert self._session is not None
        self._session.run()

    def _check_ready(self) -> None:
        if not self._ready:
            raise RuntimeError(
                "The interpreter is not ready to run. Call allocate_tensors() first, and again "
                "after resize_tensor_input(). Received: invoke()"
            )

    def get_tensor(self, tensor_index: int, subgraph_index: int = 0) -> Any:
        """A copy of an input, an output or a constant.

        Args:
            tensor_index: Its number.
            subgraph_index: The number of its subgraph.

        Raises:
            ValueError: If there is no such tensor, or none of its values are kept.
        """
        if self._session is None or subgraph_index:
            return self._front.get_tensor(tensor_index, subgraph_index)
        self._check_kept(tensor_index)
        if tensor_index in self._session.loose:
            return np.array(self._session.loose[tensor_index]())
        if tensor_index in self._session.kept:
            return self._front.get_tensor(tensor_index)
        return np.array(self._load().values(tensor_index))

    def _check_kept(self, tensor_index: int) -> None:
        """Refuse what lies within the model: it may not even be computed."""
        assert self._session is not None
        session = self._session
        known = tensor_index in session.kept or tensor_index in session.loose
        if not known and not session.is_constant(tensor_index):
            raise ValueError(
                "Only inputs, outputs and constants can be read: the others are not kept, or not "
                f"in this form. Received: tensor_index={tensor_index}"
            )

    def tensor(self, tensor_index: int) -> Callable[[], Any]:
        """A function that gives the memory of an input or output as an array.

        Do not keep the array: with it in use, nothing can be allocated or resized.

        Args:
            tensor_index: Its number.
        """

        def look() -> Any:
            loose = {} if self._session is None else self._session.loose
            return loose.get(tensor_index, self._front.tensor(tensor_index))()

        return look

    def get_input_details(self) -> list[dict[str, Any]]:
        """Name, index, shape, dtype and so on of each input, as in LiteRT."""
        return self._front.get_input_details()

    def get_output_details(self) -> list[dict[str, Any]]:
        """Name, index, shape, dtype and so on of each output, as in LiteRT."""
        details = self._front.get_output_details()
        if self._session is not None and self._session.ran:
            for entry in details:
                if entry["index"] in self._session.loose:
                    shape = self._session.loose[entry["index"]]().shape
                    entry["shape"] = np.array(shape, np.int32)
                    if -1 not in entry["shape_signature"]:
                        entry["shape_signature"] = entry["shape"]
        return details

    def get_tensor_details(self, subgraph_index: int = 0) -> list[dict[str, Any]]:
        """Name, index, shape, dtype and so on of each tensor, as in LiteRT."""
        return self._front.get_tensor_details(subgraph_index)

    def num_subgraphs(self) -> int:
        """How many subgraphs the model has."""
        return self._front.num_subgraphs()

    def get_signature_list(self) -> dict[str, Any]:
        """The signatures with the names of their inputs and outputs."""
        return self._front.get_signature_list()

    def get_signature_runner(self, signature_key: str | None = None) -> Any:
        """A function that runs a signature: arrays by name in, arrays by name out.

        Args:
            signature_key: Its key; may be left out where there is one signature.

        Raises:
            ValueError: If there is no such signature.
        """
        runner = self._front.get_signature_runner(signature_key)
        return runner if self._ends is None else SignatureRunner(self, runner)

    def reset_all_variables(self) -> None:
        """Set the model's variables to what they were at first."""
        if self._whole is not None:
            self._whole.reset_all_variables()

    # -- what it does not have --

    def plan(self) -> Plan:
        """Where each layer runs, and why.

        Returns:
            The plan for the shapes of inputs that were asked for.
        """
        from secateur.runtime.plan import Plan  # only who asks needs it

        if not self._ready:
            self.allocate_tensors()
        if self._session is not None:
            return self._session.plan
        return Plan(reason=self._reason) if self._left is None else self._left.plan

    def profile(self, runs: int = 20) -> Profile:
        """Run the model on the inputs that it has now, and time each layer.

        Args:
            runs: How often.

        Returns:
            The median time of each layer.

        Raises:
            ValueError: If `runs` is below 1.
        """
        from secateur.runtime.profile import Profile

        if runs < 1:
            raise ValueError(f"At least one run is needed. Received: runs={runs}")
        if not self._ready:
            self.allocate_tensors()
        if self._session is not None:
            layers = self._session.times(runs)
        else:
            layers = [_whole.time_of(self._whole, runs)]
        return Profile(tuple(layers), runs, self._threads)


def _check(path: Any, content: Any, threads: Any, native: Any) -> None:
    """Check arguments as LiteRT does."""
    if native not in ("auto", "always", "never"):
        raise ValueError(
            f'native should be "auto", "always" or "never". Received: native={native!r}'
        )
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(
            f"num_threads should be a whole number of at least 1. Received: num_threads={threads!r}"
        )
    if not path and not content:
        raise ValueError("`model_path` or `model_content` must be specified. Received: neither")
    if path and content:
        raise ValueError("Can't both provide `model_path` and `model_content`. Received: both")
