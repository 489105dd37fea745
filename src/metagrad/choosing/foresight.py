"""How much memory a meta-gradient will take, found without taking it: a run on shapes alone."""

from torch._subclasses.fake_tensor import FakeTensorMode

from metagrad import tree
from metagrad.batching import Eager, OfTask, meta_gradient
from metagrad.estimators.base import Estimator
from metagrad.inner.loop import InnerLoop
from metagrad.memory import LiveTensors
from metagrad.probing import TaskProbe, first_tasks
from metagrad.tasks.prepared import Prepared
from metagrad.tasks.task import Task, map_leaves
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
                (places, map_leaves(lambda leaf: mode.from_tensor(leaf.detach()), group))
                for places, group in tasks.groups
            ]
            with LiveTensors() as whole:
                meta_gradient(loop, estimator, shapes, Prepared(groups), task_chunk, _OnShapes())
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

    def run(self, fn: OfTask, meta: Tree, chunks: list[Task]) -> list[Tree]:
        """Call `fn` on each."""
        return [fn(meta, chunk) for chunk in chunks]
