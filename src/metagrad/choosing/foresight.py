"""How much memory a meta-gradient will take, found without taking it: a run on shapes alone."""

from torch._subclasses.fake_tensor import FakeTensorMode

from metagrad import tree
from metagrad.batching import Chunk, Eager, Job, meta_gradient
from metagrad.batching.chunks import in_chunks, joined
from metagrad.batching.execution import Way
from metagrad.estimators.base import Estimator
from metagrad.inner.loop import InnerLoop
from metagrad.memory import LiveTensors
from metagrad.prepared import Prepared
from metagrad.probing import TaskProbe, first_tasks
from metagrad.tree import Tree


def foreseen_bytes(
    loop: InnerLoop, estimator: Estimator, meta: Tree, tasks: Prepared, task_chunk: int | None, probes: int
) -> int:
    """Most bytes of tensors that a mean meta-gradient, or a decision on `probes` tasks, holds beyond model and tasks.

    Every operation is carried out on tensors that have a shape and no values, and their sizes are counted while they
    live: equal to what a measured run holds (`metagrad.memory`), workspaces inside an operation left out.

    Raises:
        ValueError: the model cannot be evaluated without values, for instance because it branches on them.
    """
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            shapes = tree.map(mode.from_tensor, tree.detach(meta))
            groups = [
                (places, group.map(lambda leaf: mode.from_tensor(leaf.detach()))) for places, group in tasks.groups
            ]
            with LiveTensors() as whole:
                meta_gradient(loop, estimator, shapes, Prepared(groups), execution=_OnShapes(task_chunk))
            with LiveTensors() as alone:
                TaskProbe(loop, shapes, first_tasks(Prepared(groups), 1)[0]).gap(estimator)
    except (RuntimeError, AssertionError) as error:  # what FakeTensorMode raises, and its operators
        raise ValueError(
            f"the memory of {estimator!r} cannot be foreseen, because the model cannot be evaluated on shapes alone "
            f"({type(error).__name__}: {error}); leave memory=… out, and use rounds=… or tolerance=…"
        ) from error
    return max(whole.peak, alone.peak)


class _OnShapes(Eager):
    """Without the look at random states, which compares values."""

    def attempt(self, way: Way, job: Job, loop: InnerLoop, meta: Tree, tasks: Prepared, asked_once: int) -> Tree:
        """Evaluate the job."""
        fitting, task_chunk = self.fitting(way, loop, meta, tasks, asked_once)
        chunks, order = in_chunks(tasks, task_chunk)
        chunk = Chunk(job(fitting, way.derivatives(fitting)))
        return joined([chunk(meta, part) for part in chunks], order)
