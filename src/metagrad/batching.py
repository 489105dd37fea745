"""The mean meta-gradient over tasks: side by side, a few at a time, or one by one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.func import vmap

from metagrad import checks, tree
from metagrad.estimators.base import Cost, Estimator
from metagrad.inner.episode import InnerLoop, TaskEpisode
from metagrad.inner.learners import Metrics
from metagrad.tasks.task import Batch, Task
from metagrad.tree import Tree


@dataclass(frozen=True)
class MetaGradient:
    """The mean meta-gradient over T tasks, and what was measured on the way.

    Attributes:
        gradient: a tree like the meta-parameters.
        loss: query loss after adaptation, [T].
        metrics: name → query metric after adaptation, [T].
        cost: what the estimator spent on one task, beyond the inner loop and the outer gradient.
        diagnostics: "support_loss" [T, K] at the start of each inner step; "finite" [T], whether loss and
            meta-gradient of each task are finite; further ones of the estimator, [T].
    """

    gradient: Tree
    loss: Tensor
    metrics: Metrics
    cost: Cost
    diagnostics: dict[str, Tensor]


def meta_gradient(
    loop: InnerLoop,
    estimator: Estimator,
    meta: Tree,
    tasks: "Tasks",
    task_chunk: int | None = None,
) -> MetaGradient:
    """The gradient of the mean query loss after adaptation with respect to the meta-parameters.

        (1/T) Σ_t d/dm q_t(φ_{t,K}(m), m)

    Args:
        loop: learner, rule and number of steps.
        estimator: how the gradient goes back through the inner steps.
        meta: {"model": {name: tensor}} and, for a rule that learns, {"rule": …}; read as values, no graph is kept.
        tasks: leaves [T, N, ...], or a list of tasks with leaves [N, ...] whose sizes may differ.
        task_chunk: how many tasks run side by side under `vmap`; None for all, 1 for a plain loop, which also serves
            models that `vmap` cannot map.

    Raises:
        ValueError: tasks that are empty, not finite, or do not fit together or the meta-parameters; a meta-parameter
            that the estimator cannot reach; a model that draws random numbers.
        TypeError: tasks that are not `Task`s, or an estimator that is not one.

    Cost: per task K inner gradients, one outer gradient and `estimator.cost(K)`. Memory: the trajectories of the tasks
    that run side by side, K + 1 copies of the adapted parameters each, and one round of curvature products.
    """
    if not isinstance(estimator, Estimator):
        raise TypeError(f"estimator must be one such as Exact() or Binomial(order=2), got {estimator!r}")

    def of_one_task(meta: Tree, task: Task) -> Tree:
        episode = TaskEpisode(loop, meta, task)
        estimate = estimator.estimate(episode)
        _require_every_leaf(estimate.gradient, meta, estimator)
        finite = torch.stack([episode.loss, *tree.leaves(tree.map(torch.sum, estimate.gradient))]).isfinite()
        diagnostics: Tree = {
            "support_loss": torch.stack(episode.trajectory.losses),
            "finite": finite.all(),
            **estimate.diagnostics,
        }
        measured: Tree = {"loss": episode.loss, "metrics": {**episode.metrics}, "diagnostics": diagnostics}
        return {"gradient": estimate.gradient, "measured": measured}

    total: Tree = {}

    def keep_sum(result: Tree) -> Tree:
        nonlocal total
        total = tree.add(total, tree.map(lambda leaf: leaf.sum(dim=0), branch(result, "gradient")))
        return branch(result, "measured")

    measured = over_tasks(of_one_task, meta, tasks, task_chunk, keep=keep_sum)
    loss = cast(Tensor, branch(measured, "loss"))
    return MetaGradient(
        tree.scale(total, 1.0 / len(loss)),
        loss,
        cast(Metrics, branch(measured, "metrics")),
        estimator.cost(loop.num_steps),
        cast(dict[str, Tensor], branch(measured, "diagnostics")),
    )


def over_tasks(
    fn: Callable[[Tree, Task], Tree],
    meta: Tree,
    tasks: "Tasks",
    task_chunk: int | None,
    keep: Callable[[Tree], Tree] = lambda result: result,
) -> Tree:
    """Apply a function of (meta-parameters, one task) to every task.

    Args:
        fn: pure; its result is a tree.
        meta: the meta-parameters.
        tasks: as for `meta_gradient`.
        task_chunk: as for `meta_gradient`.
        keep: what to keep of the results of the tasks that ran side by side, [tasks, ...] each; everything by default.

    Returns:
        What was kept, joined along the task axis in the order of `tasks`.

    Raises:
        ValueError: as `meta_gradient`.
        TypeError: as `meta_gradient`.
    """
    if task_chunk is not None:
        checks.integer("task_chunk", task_chunk, least=1)
    kept: list[Tree] = []
    groups = prepare(tasks, meta).groups
    # Without gradient mode the outermost products build no graph of themselves; `torch.func` is indifferent to it.
    with torch.inference_mode(False), torch.no_grad():
        meta = tree.detach(meta)
        for _, group in groups:
            kept += [keep(result) for result in _side_by_side(fn, meta, group, task_chunk)]
        back = torch.tensor([position for positions, _ in groups for position in positions]).argsort()
        return tree.map(lambda *parts: torch.cat(parts)[back.to(parts[0].device)], kept[0], *kept[1:])


def _side_by_side(fn: Callable[[Tree, Task], Tree], meta: Tree, tasks: Task, task_chunk: int | None) -> Iterator[Tree]:
    count = len(tasks.support.inputs)
    size = count if task_chunk is None else min(task_chunk, count)
    if size == 1:
        for t in range(count):
            before = torch.random.get_rng_state()
            result = fn(meta, _take(tasks, t))
            if not torch.equal(before, torch.random.get_rng_state()):
                raise ValueError(_RANDOM)
            yield tree.map(lambda leaf: leaf.unsqueeze(0), result)
        return
    for t in range(0, count, size):
        try:
            yield vmap(fn, in_dims=(None, 0))(meta, _take(tasks, slice(t, t + size)))
        except RuntimeError as error:
            if "randomness" in str(error):
                raise ValueError(_RANDOM) from error
            # `vmap` lacks some operations (LSTM kernels, branches on values); a plain loop has no such limits.
            error.add_note("if `vmap` cannot map this model, run it in a plain loop: task_chunk=1 and link_chunk=1")
            raise


@dataclass(frozen=True)
class Prepared:
    """Checked tasks: groups of equal shapes with a task axis, each with its positions in what was given."""

    groups: list[tuple[list[int], Task]]


Tasks = Task | Sequence[Task] | Prepared


def prepare(tasks: Tasks, meta: Tree) -> Prepared:
    """Check tasks and join those of equal shapes; what is prepared already is returned as it is.

    Raises:
        TypeError: not a `Task` nor a sequence of `Task`s.
        ValueError: an empty sequence, or as `check_tasks`.
    """
    if isinstance(tasks, Prepared):
        return tasks
    if isinstance(tasks, Task):
        check_tasks(tasks, meta)
        return Prepared([(list(range(len(tasks.support.inputs))), _ordinary(tasks))])
    positions: dict[tuple[object, ...], list[int]] = {}
    for position, task in enumerate(tasks):
        if not isinstance(task, Task):
            raise TypeError(
                f"tasks must be a Task with a leading task axis or a list of Tasks, got {type(task).__name__}"
            )
        kind = tuple((leaf.shape, leaf.dtype, leaf.device) for batch in task for leaf in batch)
        positions.setdefault(kind, []).append(position)
    if not positions:
        raise ValueError("the list of tasks is empty: give at least one task")
    groups: list[tuple[list[int], Task]] = []
    for same in positions.values():
        support, query = (
            Batch(*(torch.stack([tasks[i][part][leaf] for i in same]) for leaf in (0, 1))) for part in (0, 1)
        )
        check_tasks(Task(support, query), meta)
        groups.append((same, _ordinary(Task(support, query))))
    return Prepared(groups)


def check_tasks(tasks: Task, meta: Tree) -> None:
    """Require tasks that are whole, finite, and of the kind of the meta-parameters.

    Raises:
        ValueError: names the leaf, what it is, and what it should be.
    """
    model = tree.leaves(meta)[0]
    for part, batch in zip(("support", "query"), tasks, strict=True):
        if batch.inputs.ndim < 2 or batch.targets.ndim < 2:
            raise ValueError(
                f"{part} inputs and targets need a task axis and an example axis, [T, N, ...]; got "
                f"{list(batch.inputs.shape)} and {list(batch.targets.shape)}; for one task add them with unsqueeze(0)"
            )
        if batch.inputs.shape[:2] != batch.targets.shape[:2]:
            raise ValueError(
                f"{part} inputs {list(batch.inputs.shape)} and targets {list(batch.targets.shape)} differ in their "
                "task or example axis"
            )
        if 0 in batch.inputs.shape[:2]:
            raise ValueError(
                f"the {part} set is empty: inputs have shape {list(batch.inputs.shape)} (tasks, examples, …)"
            )
        for name, leaf in zip(("inputs", "targets"), batch, strict=True):
            if leaf.device != model.device:
                raise ValueError(
                    f"{part} {name} are on {leaf.device} and the model on {model.device}; move one with .to(device)"
                )
            if leaf.is_floating_point():
                if leaf.dtype != model.dtype:
                    raise ValueError(
                        f"{part} {name} are {leaf.dtype} and the model is {model.dtype}; convert one with .to(dtype)"
                    )
                finite = leaf.isfinite().flatten(1).all(dim=1)
                if not finite.all():
                    task = int((~finite).nonzero()[0])
                    raise NonFiniteError(f"{part} {name} of task {task} hold NaN or infinite values", task)
    if len(tasks.support.inputs) != len(tasks.query.inputs):
        raise ValueError(
            f"support has {len(tasks.support.inputs)} tasks and query {len(tasks.query.inputs)}: the task axes differ"
        )


class NonFiniteError(ValueError):
    """NaN or infinity, in the data or in what came of them. `task` is the index of the first task that has it."""

    def __init__(self, message: str, task: int) -> None:
        super().__init__(message)
        self.task = task


_RANDOM = (
    "the model draws random numbers, so it is not the same function each time it is evaluated along one trajectory; "
    "switch the randomness off (dropout with p = 0 or model.eval())"
)


def _require_every_leaf(gradient: Tree, meta: Tree, estimator: Estimator) -> None:
    unreached = tree.absent(gradient, meta)
    if unreached:
        shown = ", ".join(unreached[:3]) + (f" and {len(unreached) - 3} more" if len(unreached) > 3 else "")
        raise ValueError(
            f"{estimator!r} gives no gradient to {shown}: nothing leads from there to what it differentiates; freeze "
            "those parameters, or choose an estimator that reaches them, such as Binomial(order=2) or Exact()"
        )


def _ordinary(task: Task) -> Task:
    """Inference tensors cannot be saved for a derivative: copy them, and nothing else."""
    with torch.inference_mode(False):
        return Task(
            Batch(*(leaf.clone() if leaf.is_inference() else leaf for leaf in task.support)),
            Batch(*(leaf.clone() if leaf.is_inference() else leaf for leaf in task.query)),
        )


def _take(tasks: Task, index: int | slice) -> Task:
    return Task(Batch(*(leaf[index] for leaf in tasks.support)), Batch(*(leaf[index] for leaf in tasks.query)))


def branch(result: Tree, name: str) -> Tree:
    """One branch of a tree that is known to be a dict."""
    return cast(dict[str, Tree], result)[name]
