"""One function of trees of tensors, traced once for given shapes and compiled."""

import importlib
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten  # pyright: ignore[reportPrivateUsage]

from metagrad.batching import RANDOM
from metagrad.capture.formulas import Formulas
from metagrad.tree import Tree

Flat = Callable[..., Sequence[Tensor | None]]
Compiler = Callable[[fx.GraphModule, list[Tensor]], Flat]


class CaptureError(RuntimeError):
    """A computation could not be traced or compiled; the cause is chained."""


class Traced:
    """A pure function as a compiled graph, valid for inputs of the shapes, strides and types that it was traced with.

    Args:
        fn: maps trees of tensors to a tree of tensors; pure.
        flat: the leaves of its arguments, in order.
        spec: how they make up the arguments.
        tensors: further tensors that `fn` may read, such as buffers: they become inputs of the graph.
        compiler: makes a function of the leaves from the graph.

    Raises:
        CaptureError: the function cannot be traced (its Python depends on values of tensors, or an operation has no
            rule), or its graph cannot be compiled.
        ValueError: the function draws random numbers.
    """

    def __init__(
        self,
        fn: Callable[..., Tree],
        flat: list[Tensor],
        spec: TreeSpec,
        tensors: list[Tensor],
        compiler: Compiler,
    ) -> None:
        began = time.perf_counter()
        # Distinct objects, even where one tensor is given twice (adapted parameters that still are the start): tracer
        # and compiler tell inputs apart by identity, and would read one in place of the other ever after.
        flat = [leaf.detach() for leaf in flat]
        graph, self._out = _graph(fn, flat, spec)
        self._inputs = _lift(graph, tensors)
        try:
            self._run = compiler(graph, [*flat, *self._fixed(tensors)])
        except Exception as error:  # whatever a compiler may raise, the way out is the same: run eagerly
            raise CaptureError(f"the traced graph could not be compiled: {_first_line(error)}") from error
        self.seconds = time.perf_counter() - began

    def __call__(self, flat: list[Tensor], tensors: list[Tensor]) -> Tree:
        """Replay on other values; `tensors` in the order of those at tracing."""
        return cast(Tree, tree_unflatten(list(self._run(*flat, *self._fixed(tensors))), self._out))

    def _fixed(self, tensors: list[Tensor]) -> list[Tensor]:
        return [tensors[source].detach() if isinstance(source, int) else source for source in self._inputs]


def flatten(arguments: Any) -> tuple[list[Tensor], TreeSpec]:
    """The leaves of some trees and how they are put together."""
    leaves, spec = tree_flatten(arguments)
    return cast(list[Tensor], leaves), spec


def kind(leaf: Tensor) -> tuple[object, ...]:
    """What a compiled graph assumes of an input."""
    return leaf.shape, leaf.dtype, leaf.device, leaf.stride()


def inductor_compiler(graph: fx.GraphModule, inputs: list[Tensor]) -> Flat:
    """Compile with TorchInductor, for as many threads as torch now has; kept on disk between processes.

    Straight to the compiler: `torch.compile` would look at this graph as it does at user code, which takes seconds
    here, and checks guards at each call, a tenth of a millisecond where a meta-gradient may take one.
    """
    # Imported here: it takes a second, which those who never compile should not wait for.
    inductor = importlib.import_module("torch._inductor")
    config = importlib.import_module("torch._inductor.config")
    with config.patch({"cpp.threads": torch.get_num_threads()}), warnings.catch_warnings():
        # torch's compiler still uses what torch deprecates; that is nothing to tell those who treat warnings as errors.
        warnings.simplefilter("ignore", DeprecationWarning)
        return cast(Flat, inductor.compile(graph, inputs))


def _graph(fn: Callable[..., Tree], flat: list[Tensor], spec: TreeSpec) -> tuple[fx.GraphModule, TreeSpec]:
    found: list[TreeSpec] = []

    def of_leaves(*leaves: Tensor) -> tuple[Any, ...]:
        with Formulas():
            result = fn(*cast(tuple[Any, ...], tree_unflatten(list(leaves), spec)))
        outputs, out = tree_flatten(result)
        found.append(out)
        return tuple(outputs)

    try:
        graph = make_fx(of_leaves)(*flat)
    except (ValueError, TypeError):  # our own sentences about the user's model, or theirs
        raise
    except Exception as error:  # tracing executes the user's code under torch's tracer: anything can come up
        raise CaptureError(f"it could not be traced: {_first_line(error)}") from error
    for node in graph.graph.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise ValueError(RANDOM)
    return graph, found[-1]


def _lift(graph: fx.GraphModule, tensors: list[Tensor]) -> list[int | Tensor]:
    """Make inputs of the tensors that a graph holds as constants: by position in `tensors`, or the constant itself."""
    position = {id(tensor): index for index, tensor in enumerate(tensors)}
    after = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    inputs: list[int | Tensor] = []
    made: dict[int, fx.Node] = {}
    for node in list(graph.graph.nodes):
        if node.op != "get_attr":
            continue
        held = cast(Tensor, getattr(graph, cast(str, node.target)))
        if id(held) not in made:
            with graph.graph.inserting_after(after):
                after = graph.graph.placeholder(f"fixed_{len(inputs)}")
            made[id(held)] = after
            inputs.append(position.get(id(held), held))
        node.replace_all_uses_with(made[id(held)])
        graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return inputs


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"
