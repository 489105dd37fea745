"""Which way of capturing, and what happens where none works."""

import logging
import warnings
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, Literal, get_args

import torch

from metagrad import checks, tree
from metagrad.batching import Chunk, Eager, Job
from metagrad.batching.chunks import in_chunks, joined
from metagrad.capture.cuda import cuda_graph_compiler
from metagrad.capture.executions import Pieces, Whole
from metagrad.capture.graphs import Announce, Graphs
from metagrad.capture.trace import Compiler, inductor_compiler, inductor_cpp_compiler
from metagrad.capture.values import CaptureError
from metagrad.inner.curvature import reverse_over_reverse
from metagrad.inner.loop import InnerLoop
from metagrad.inner.randomness import RandomModelError
from metagrad.inner.trajectory import Stored
from metagrad.prepared import Prepared
from metagrad.tree import Tree

Mode = Literal["auto", "off", "pieces", "whole"]
MODES: tuple[Mode, ...] = get_args(Mode)

# Compile time of one graph grows with its length, which grows with inner steps times parameter tensors; the sinusoid
# network at K = 5 has 30 and takes half a minute.
WHOLE_AT_MOST = 64
# Above this many parameters computing costs more than calling, and one graph gains nothing over pieces.
SMALL = 100_000
# Numbers in the support inputs of a task below which whole tasks make better use of cores than their operations do:
# 5 images of 28×28 took 117 ms with two threads and 159 with one, 5 of 84×84×3 took longer with two.
SMALL_IMAGES = 2**15
GRAPHS_AT_MOST = 16


class Capture:
    """The execution of one learner that traces and compiles.

    Args:
        mode: "whole" makes one graph of the meta-gradient; "pieces" one of each of inner gradient, curvature product
            and outer gradient, whatever the number of inner steps; "auto" takes "whole" on CUDA and for small networks
            without convolutions, and "pieces" for all others; "off" evaluates as written. Pieces with convolutions on a
            CPU take tasks, and links, one at a time unless `task_chunk` and `link_chunk` say otherwise: with filters of
            their own, side by side they would be slow grouped convolutions.
        streams: threads that work on tasks at once in "pieces", each with a single thread of torch; None takes as many
            as torch has where images are small, too small for an operation to be split among cores, and 1 elsewhere.
        announce: told, in sentences, what was chosen and when something is compiled; the log of this package by
            default.
        compiler: makes a function of a traced graph; None for TorchInductor, and CUDA graphs for "whole" on CUDA.
        otherwise: how it is evaluated as written, and how many tasks run side by side; None for `Eager()`.

    Where tracing or compiling fails there is one `RuntimeWarning`, and everything is evaluated as written from then on.
    """

    def __init__(
        self,
        mode: Mode,
        streams: int | None = None,
        announce: Announce | None = None,
        compiler: Compiler | None = None,
        otherwise: Eager | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"capture must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
        if streams is not None:
            checks.integer("streams (None for as many as pay off)", streams, least=1)
        self.mode: Mode = mode
        self.announce = announce or logging.getLogger("metagrad.capture").info
        self.otherwise = otherwise or Eager()
        self._streams = streams
        self._compiler = compiler
        self._suited: tuple[InnerLoop, Hashable, InnerLoop] | None = None  # given, and what is made of it
        self._executions: dict[tuple[str, int, bool], Whole | Pieces] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Graphs stay behind when a learner is copied or pickled: they are made again where they are needed."""
        return {**self.__dict__, "_executions": {}, "_suited": None}

    @property
    def plan(self) -> str:
        """How it is evaluated at present, as a sentence."""
        captured = {"whole": "compiled as one graph", "pieces": "compiled in pieces: a graph for each derivative"}
        return captured.get(self.mode, self.otherwise.plan)

    def run(self, job: Job, loop: InnerLoop, meta: Tree, tasks: Prepared, asked_once: int = 0) -> Tree:
        """As `Eager.run`; errors too."""
        mode = self._chosen(loop, meta)
        if mode == "off":
            return self.otherwise.run(job, loop, meta, tasks, asked_once)
        convolutions = _has_convolutions(meta) and tree.leaves(meta)[0].device.type == "cpu"
        task_chunk = self.otherwise.task_chunk
        if convolutions and mode == "pieces" and task_chunk is None:
            task_chunk = 1
        key = (asked_once, mode, convolutions)
        if self._suited is None or self._suited[0] is not loop or self._suited[1] != key:
            self._suited = loop, key, _suiting(loop, asked_once, mode, convolutions, meta)
        loop_here = self._suited[2]
        try:
            execution = self._execution(mode, self._streams or _streams(tasks, convolutions), convolutions, meta)
            chunks, order = in_chunks(tasks, task_chunk)
            of_task = job(loop_here, execution.derivatives(loop_here))
            return joined(execution.run(Chunk(of_task), meta, chunks), order)
        except (CaptureError, RandomModelError) as error:
            # First, so that what fails as written too, such as data that the model cannot take, is that error alone.
            result = self.otherwise.run(job, loop, meta, tasks, asked_once)
            self.mode = "off"
            warnings.warn(
                f"the meta-gradient cannot be captured, and is evaluated as written from now on: {error}. "
                "capture='off' silences this",
                RuntimeWarning,
                stacklevel=3,
            )
            return result

    def _chosen(self, loop: InnerLoop, meta: Tree) -> Mode:
        if self.mode != "auto":
            return self.mode
        leaves = tree.leaves(meta)
        length = loop.num_steps * len(leaves)
        small = _size(meta) <= SMALL and length <= WHOLE_AT_MOST
        whole = leaves[0].device.type == "cuda" or (small and not _has_convolutions(meta))
        self.mode = "whole" if whole else "pieces"
        self.announce(f"capture: {self.mode}")
        return self.mode

    def _execution(self, mode: Mode, streams: int, convolutions: bool, meta: Tree) -> Whole | Pieces:
        key = (mode, streams, convolutions)
        if key not in self._executions:
            device = tree.leaves(meta)[0].device.type if mode == "whole" else ""
            suited = {"cuda": cuda_graph_compiler, "cpu": inductor_cpp_compiler}.get(device, inductor_compiler)
            compiler = self._compiler or suited
            graphs = Graphs(compiler, lambda message: self.announce(message), GRAPHS_AT_MOST)
            self._executions[key] = Whole(graphs) if mode == "whole" else Pieces(graphs, streams, convolutions)
        return self._executions[key]


def _streams(tasks: Prepared, convolutions: bool) -> int:
    first = tasks.groups[0][1].leaves[0]
    return torch.get_num_threads() if convolutions and first[0].numel() <= SMALL_IMAGES else 1


def _size(meta: Tree) -> int:
    return sum(leaf.numel() for leaf in tree.leaves(meta))


def _suiting(loop: InnerLoop, asked_once: int, mode: Mode, convolutions: bool, meta: Tree) -> InnerLoop:
    """The loop as it is fastest: convolutions one link at a time; in one graph, gradients kept for their one product.

    Keeping them is a seventh faster, once compiled. The expansion, which asks for several products of a link, is slower
    so.
    """
    if mode == "whole":
        free = loop.reuse == 0 and isinstance(loop.trajectory, Stored) and loop.curvature is reverse_over_reverse
        free = free and loop.micro_batches == 1
        return replace(loop, reuse=asked_once) if free and _size(meta) <= SMALL else loop
    return replace(loop, link_chunk=1) if convolutions and loop.link_chunk is None else loop


def _has_convolutions(meta: Tree) -> bool:
    """Filters are the parameters with more than two axes."""
    return any(leaf.ndim > 2 for leaf in tree.leaves(meta))
