"""One function of trees of tensors, traced once for given shapes and compiled."""

import importlib
import logging
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from metagrad.capture.formulas import Formulas
from metagrad.capture.values import CaptureError, NoValuesRead
from metagrad.inner.randomness import RandomModelError
from metagrad.structure import Structure as DataStructure
from metagrad.structure import flatten as flatten_data

Structure = tuple[type, tuple[str, ...], tuple["Structure", ...]] | DataStructure | None
Flat = Callable[..., Sequence[Tensor | None]]
Compiler = Callable[[fx.GraphModule, list[Tensor]], Flat]


# torch's tracer and compiler keep settings of the whole process while they work.
_ONE_AT_A_TIME = threading.RLock()


class Traced:
    """A pure function as a compiled graph, valid for inputs of the shapes, strides and types that it was traced with.

    Args:
        fn: maps trees of tensors to a tree of tensors; pure.
        flat: the leaves of its arguments, in order.
        structure: how they make up the arguments.
        tensors: further tensors that `fn` may read, such as buffers: they become inputs of the graph.
        compiler: makes a function of the leaves from the graph.

    Raises:
        CaptureError: the function cannot be traced (its Python depends on values of tensors, or an operation has no
            rule), or its graph cannot be compiled.
        ValueError: the function draws random numbers.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        flat: list[Tensor],
        structure: Structure,
        tensors: list[Tensor],
        compiler: Compiler,
    ) -> None:
        with _ONE_AT_A_TIME:
            self._make(fn, flat, structure, tensors, compiler)

    def _make(
        self,
        fn: Callable[..., Any],
        flat: list[Tensor],
        structure: Structure,
        tensors: list[Tensor],
        compiler: Compiler,
    ) -> None:
        began = time.perf_counter()
        # Distinct objects, even where one tensor is given twice (adapted parameters that still are the start): tracer
        # and compiler tell inputs apart by identity, and would read one in place of the other ever after.
        flat = [leaf.detach() for leaf in flat]
        graph, self.structure = _graph(fn, flat, structure)
        self._used = _drop_unused(graph)
        self._inputs = _lift(graph, tensors)
        try:
            self._run = compiler(graph, [*(flat[i] for i in self._used), *self._fixed(tensors)])
        except Exception as error:  # whatever a compiler may raise, the way out is the same: run eagerly
            raise CaptureError(f"the traced graph could not be compiled: {_first_line(error)}") from error
        self.seconds = time.perf_counter() - began

    def __call__(self, flat: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
        """The leaves of the result, to be put together as `structure`; `tensors` in the order of those at tracing."""
        return cast(list[Tensor], list(self._run(*[flat[i] for i in self._used], *self._fixed(tensors))))

    def _fixed(self, tensors: list[Tensor]) -> list[Tensor]:
        return [tensors[source].detach() if isinstance(source, int) else source for source in self._inputs]


def flatten(value: Any) -> tuple[list[Tensor], Structure]:
    """The leaves of nested dicts and tuples of tensors, and how they are put together, which can be hashed.

    `metagrad.structure` does the same for the containers of data, at several times the price: here, where it is paid
    for at every piece, it takes over at the first container that is neither.
    """
    leaves: list[Tensor] = []
    return leaves, _structure(value, leaves)


def unflatten(leaves: Iterable[Tensor], structure: Structure) -> Any:
    """What `flatten` took apart."""
    return _built(iter(leaves), structure)


def _structure(value: Any, leaves: list[Tensor]) -> Structure:
    if isinstance(value, Tensor):
        leaves.append(value)
        return None
    if isinstance(value, dict):
        branches = cast(dict[str, Any], value)
        return dict, tuple(branches), tuple([_structure(branch, leaves) for branch in branches.values()])
    if not isinstance(value, tuple):
        of_data, built = flatten_data(value)
        leaves += of_data
        return built
    return cast(type, type(value)), (), tuple([_structure(part, leaves) for part in cast(tuple[Any, ...], value)])


def _built(leaves: Iterator[Tensor], structure: Structure) -> Any:
    if structure is None:
        return next(leaves)
    if isinstance(structure, DataStructure):
        return structure.build(leaves)
    kind_of, names, parts = structure
    built = [_built(leaves, part) for part in parts]
    if kind_of is dict:
        return dict(zip(names, built, strict=True))
    return tuple(built) if kind_of is tuple else kind_of(*built)


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
    settings = config.patch({"cpp.threads": torch.get_num_threads()})
    guards = importlib.import_module("torch._guards")
    fakes = _fake_mode()
    keeping = guards.tracing(guards.TracingContext(fakes))
    with settings, keeping, _unlocked_kernels(), warnings.catch_warnings():
        # torch's compiler still uses what torch deprecates; that is nothing to tell those who treat warnings as errors.
        warnings.simplefilter("ignore", DeprecationWarning)
        return cast(Flat, inductor.compile(graph, [fakes.from_tensor(leaf, static_shapes=True) for leaf in inputs]))


def _fake_mode() -> Any:
    """Stand-ins that could have symbols for shapes: the compiler keeps whole graphs on disk for no others."""
    shapes = importlib.import_module("torch.fx.experimental.symbolic_shapes")
    return importlib.import_module("torch._subclasses").FakeTensorMode(shape_env=shapes.ShapeEnv())


def inductor_cpp_compiler(graph: fx.GraphModule, inputs: list[Tensor]) -> Flat:
    """As `inductor_compiler`, calls between kernels compiled too: for graphs of many short operations on a CPU.

    A meta-gradient of the sinusoid network makes some 80 calls, which take 0.7 ms so in place of 1.2. It holds
    Python's lock from beginning to end, so it is not for graphs that threads replay side by side.
    """
    config = importlib.import_module("torch._inductor.config")
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            # The compiler would take these stand-ins for the inputs', and each was made by itself.
            node.meta.pop("val", None)
    try:
        with config.patch({"cpp_wrapper": True}):
            return inductor_compiler(graph, inputs)
    except Exception as error:  # what a compiler raises where it cannot do this; without, it may still be able to
        logging.getLogger("metagrad.capture").info(f"calls stay in Python: {_first_line(error)}")
        return inductor_compiler(graph, inputs)


# How Inductor's bindings call a kernel: with Python's lock held, for no kernel needs it, so that threads which replay
# graphs would wait for one another. The arguments are read with the lock, then it is let go.
_LOCKED = "kernel({}); Py_RETURN_NONE;"
_UNLOCKED = "[](auto... given) {{ Py_BEGIN_ALLOW_THREADS kernel(given...); Py_END_ALLOW_THREADS }}({}); Py_RETURN_NONE;"


@contextmanager
def _unlocked_kernels() -> Generator[None]:
    """Have kernels that are compiled for a CPU run without Python's lock, where this torch can be told so."""
    bindings = importlib.import_module("torch._inductor.codecache").CppPythonBindingsCodeCache
    if getattr(bindings, "call_entry_function", None) != _LOCKED:
        yield
        return
    bindings.call_entry_function = _UNLOCKED
    try:
        yield
    finally:
        bindings.call_entry_function = _LOCKED


def _graph(fn: Callable[..., Any], flat: list[Tensor], structure: Structure) -> tuple[fx.GraphModule, Structure]:
    found: list[Structure] = []

    def of_leaves(*leaves: Tensor) -> tuple[Tensor, ...]:
        with Formulas(), NoValuesRead():
            result = fn(*unflatten(leaves, structure))
        outputs, out = flatten(result)
        found.append(out)
        return tuple(outputs)

    try:
        graph = make_fx(of_leaves)(*flat)
    except CaptureError:
        raise
    # Tracing executes the user's code under torch's tracer: anything can come up. What fails as written too is raised
    # there, in its own words.
    except Exception as error:
        raise CaptureError(f"it could not be traced: {_first_line(error)}") from error
    for node in graph.graph.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise RandomModelError
    return graph, found[-1]


def _drop_unused(graph: fx.GraphModule) -> list[int]:
    """Remove the inputs that nothing reads; the positions of the others. One is kept in any case."""
    places = [node for node in graph.graph.nodes if node.op == "placeholder"]
    used = [i for i, node in enumerate(places) if node.users] or [0]
    for i, node in enumerate(places):
        if i not in used:
            graph.graph.erase_node(node)
    return used


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
