"""The mean meta-gradient over tasks: side by side, a few at a time, or one by one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.func import vmap

from metagrad import checks, tree
from metagrad.estimators.base import Cost, Estimator
from metagrad.inner.episode import TaskEpisode
from metagrad.inner.learners import Metrics
from metagrad.inner.loop import InnerLoop
from metagrad.tasks.prepared import Tasks, prepare
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
        diagnostics: "support_loss" [T, K] at the start of each inner step; "finite" [T], whether losses
            and meta-gradient of each task are finite; further ones of the estimator, [T].
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
    tasks: Tasks,
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

    Cost: per task K inner gradients, one outer gradient and `estimator.cost(K)`. Memory: the states and gradients of
    the tasks that run side by side, 2K + 1 copies of the adapted parameters each for SGD, and one round of curvature
    products; no graph of the loop.
    """
    if not isinstance(estimator, Estimator):
        raise TypeError(f"estimator must be one such as Exact() or Binomial(order=2), got {estimator!r}")

    def of_one_task(meta: Tree, task: Task) -> Tree:
        episode = TaskEpisode(loop, meta, task)
        estimate = estimator.estimate(episode)
        _require_every_leaf(estimate.gradient, meta, estimator)
        numbers = [episode.loss, *episode.support_losses, *tree.leaves(estimate.gradient)]
        diagnostics: Tree = {
            "support_loss": torch.stack(episode.support_losses),
            "finite": torch.stack([leaf.isfinite().all() for leaf in numbers]).all(),
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
    with torch.inference_mode(False):
        # In the order of the meta-parameters, whatever the order in which estimators met them.
        mean = tree.map(lambda _, leaf: leaf / len(loss), meta, total)
    return MetaGradient(
        mean,
        loss,
        cast(Metrics, branch(measured, "metrics")),
        estimator.cost(loop.num_steps),
        cast(dict[str, Tensor], branch(measured, "diagnostics")),
    )


def over_tasks(
    fn: Callable[[Tree, Task], Tree],
    meta: Tree,
    tasks: Tasks,
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
    device = tasks.support.inputs.device
    for t in range(0, count, size):
        try:
            if size > 1:
                yield vmap(fn, in_dims=(None, 0))(meta, _take(tasks, slice(t, t + size)))
                continue
            before = _random_state(device)
            alone = fn(meta, _take(tasks, t))
        except RuntimeError as error:
            if "randomness" in str(error):
                raise ValueError(_RANDOM) from error
            # `vmap` lacks some operations (LSTM kernels, branches on values); a plain loop has no such limits.
            error.add_note("if `vmap` cannot map this model, run it in a plain loop: task_chunk=1 and link_chunk=1")
            raise
        if not all(torch.equal(a, b) for a, b in zip(before, _random_state(device), strict=True)):
            raise ValueError(_RANDOM)
        yield tree.map(lambda leaf: leaf.unsqueeze(0), alone)


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.random.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


_RANDOM = (
    "the model draws random numbers, so it is not the same function each time it is evaluated along one trajectory; "
    "switch the randomness off (dropout with p = 0 or model.eval())"
)


def _require_every_leaf(gradient: Tree, meta: Tree, estimator: Estimator) -> None:
    unreached = tree.absent(gradient, meta)
    if unreached:
        shown = ", ".join(unreached[:3]) + (f" and {len(unreached) - 3} more" if len(unreached) > 3 else "")
        raise ValueError(
            f"{estimator!r} gives no gradient to {shown}: nothing leads from there to what it differentiates; take an "
            "estimator that reaches all, such as Binomial(order=2), or add proximal=... (for what adapts), use SGD "
            "(for learned rates), freeze those parameters (for a body that does not adapt)"
        )


def _take(tasks: Task, index: int | slice) -> Task:
    return Task(Batch(*(leaf[index] for leaf in tasks.support)), Batch(*(leaf[index] for leaf in tasks.query)))


def branch(result: Tree, name: str) -> Tree:
    """One branch of a tree that is known to be a dict."""
    return cast(dict[str, Tree], result)[name]
