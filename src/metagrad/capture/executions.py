"""How captured meta-gradients are run: as one graph, or as pieces that parallel threads replay."""

from collections.abc import Generator, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from metagrad import tree
from metagrad.batching import Chunk
from metagrad.capture.graphs import Graphs
from metagrad.capture.pieces import CapturedDerivatives
from metagrad.capture.survey import survey
from metagrad.capture.trace import flatten, kind, unflatten
from metagrad.inner.derivatives import Derivatives
from metagrad.inner.loop import InnerLoop
from metagrad.task import Task
from metagrad.tree import Tree


class Whole:
    """The meta-gradient of a chunk of tasks as one graph, for networks so small that calling costs more than computing.

    Compile time grows with the number of inner steps; memory is what the compiler makes of it.
    """

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs

    def derivatives(self, loop: InnerLoop) -> Derivatives:
        """The loop's own: they are traced with everything else."""
        return loop.derivatives()

    def run(self, fn: Chunk, meta: Tree, chunks: list[Task]) -> list[Tree]:
        """Replay the graph for each chunk."""
        known = self._graphs.under(survey(fn))
        results: list[Tree] = []
        for chunk in chunks:
            leaves, structure = known.call("the meta-gradient", fn, None, *flatten((meta, chunk)))
            results.append(unflatten(leaves, structure))
        return results


class Pieces:
    """Inner gradient, curvature product and outer gradient as one graph each; loop and estimator remain Python.

    Args:
        graphs: where the pieces are kept.
        streams: threads that work on chunks at once, each with a single thread of torch. Operations of a small
            network are too short to be split among cores; whole tasks are not.
        channels_last: keep images and filters so, which convolutions on a CPU prefer.
    """

    def __init__(self, graphs: Graphs, streams: int, channels_last: bool) -> None:
        self._graphs = graphs
        self._streams = streams
        self._channels_last = channels_last
        self._mark: Hashable = None
        self._warm: set[Hashable] = set()

    def derivatives(self, loop: InnerLoop) -> Derivatives:
        """The loop's own, captured."""
        direct = loop.derivatives()
        found = survey(direct)
        self._mark = found.mark
        return CapturedDerivatives(direct, self._graphs.under(found))

    def run(self, fn: Chunk, meta: Tree, chunks: list[Task]) -> list[Tree]:
        """Evaluate the chunks, `streams` at a time."""
        if self._channels_last:
            meta, chunks = tree.map(_channels_last, meta), [chunk.map(_images_channels_last) for chunk in chunks]
        if self._streams == 1 or len(chunks) == 1:
            return [fn(meta, chunk) for chunk in chunks]
        with _threads(1):
            results = self._first_of_each_kind(fn, meta, chunks)
            with ThreadPoolExecutor(self._streams, initializer=_worker) as pool:
                waiting = {i: pool.submit(fn, meta, chunk) for i, chunk in enumerate(chunks) if i not in results}
                return [results[i] if i in results else waiting[i].result() for i in range(len(chunks))]

    def _first_of_each_kind(self, fn: Chunk, meta: Tree, chunks: list[Task]) -> dict[int, Tree]:
        """Trace in this thread alone: tracing puts other parameters into the user's module for a while."""
        results: dict[int, Tree] = {}
        for i, chunk in enumerate(chunks):
            key = (self._mark, tuple(map(kind, chunk.leaves)))
            if key not in self._warm:
                results[i] = fn(meta, chunk)
                self._warm.add(key)
        return results


def _worker() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


@contextmanager
def _threads(count: int) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _channels_last(leaf: Tensor) -> Tensor:
    return leaf.contiguous(memory_format=torch.channels_last) if leaf.ndim == 4 else leaf


def _images_channels_last(inputs: Tensor) -> Tensor:
    """Images [t, N, C, H, W], each task's channels last."""
    if inputs.ndim != 5:
        return inputs
    return _channels_last(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
