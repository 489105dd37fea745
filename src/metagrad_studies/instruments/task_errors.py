"""Meta-gradients of many estimators on the same tasks, compared with the exact ones in float64."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from metagrad import Binomial, Exact, FirstOrder, InnerLoop, Task, Truncated, tree
from metagrad.batching import branch, over_tasks
from metagrad.estimators import Chain, Episode, Estimator
from metagrad.estimators.split import ERROR
from metagrad.inner.episode import TaskEpisode
from metagrad.tree import Tree
from metagrad_studies.instruments.remembered import Remembered
from metagrad_studies.instruments.spectra import Extremes, direction, extremes


@dataclass(frozen=True)
class Estimates:
    """T meta-gradients of n numbers each: `exact` [T, n], those of other estimators, and ‖outer gradient‖ [T]."""

    exact: Tensor
    others: Mapping[Any, Tensor]
    outer_norm: Tensor


def estimates(loop: InnerLoop, estimators: Sequence[Estimator], meta: Tree, tasks: Task, chunk: int) -> Estimates:
    """Every estimator on every task, along one trajectory a task; `chunk` tasks side by side.

    Cost: a task's inner loop and outer gradient once, and the products of all estimators; with a chunk of 1 those that
    several ask for once. Memory: all meta-gradients.
    """

    def gradients(meta: Tree, task: Task) -> tuple[list[Tensor], Tree]:
        episode = _episode(loop, meta, task, chunk)
        each = [estimator.estimate(episode).gradient for estimator in (Exact(), *estimators)]
        return [tree.flat(_ordered(gradient, meta)) for gradient in each], episode.outer()[0]

    return _gathered(gradients, estimators, meta, tasks, chunk)


def _gathered(
    gradients: Callable[[Tree, Task], tuple[list[Tensor], Tree]],
    estimators: Sequence[Estimator],
    meta: Tree,
    tasks: Task,
    chunk: int,
) -> Estimates:
    """Over tasks; `gradients` gives the exact one and those of the estimators, flat, and the outer gradient."""

    def of_task(meta: Tree, task: Task) -> Tree:
        each, outer = gradients(meta, task)
        return {"gradients": {str(i): gradient for i, gradient in enumerate(each)}, "norm": tree.norm(outer)}

    result = over_tasks(of_task, meta, tasks, chunk)
    exact, *others = tree.leaves(branch(result, "gradients"))
    return Estimates(exact, dict(zip(estimators, others, strict=True)), cast(Tensor, branch(result, "norm")))


class Errors(NamedTuple):
    """One estimator on T tasks: ‖estimate − exact‖ / ‖exact‖, and what the estimator says of that itself, [T] each.

    `measured` is NaN where the exact one is not finite, infinite where only the estimate is not.
    """

    measured: Tensor
    own: Tensor | None


def task_errors(loop: InnerLoop, estimators: Sequence[Estimator], meta: Tree, tasks: Task, chunk: int) -> list[Errors]:
    """Every estimator on every task, as `estimates`, but of each meta-gradient its error alone is kept.

    Cost: as `estimates`, the exact meta-gradient once a task. Memory: two meta-gradients of each task of a chunk, and
    with a chunk of 1 all products of a task.
    """

    def of_task(meta: Tree, task: Task) -> Tree:
        episode = _episode(loop, meta, task, chunk)
        exact = Exact().estimate(episode).gradient
        size = tree.norm(exact)
        errors: dict[str, Tree] = {}
        for number, estimator in enumerate(estimators):
            estimate = estimator.estimate(episode)
            error = tree.norm(tree.subtract(estimate.gradient, exact)) / size
            overflow = torch.where(size.isfinite(), torch.inf, torch.nan)
            errors[f"{number} measured"] = torch.where(error.isfinite(), error, overflow)
            if ERROR in estimate.diagnostics:
                errors[f"{number} own"] = estimate.diagnostics[ERROR]
        return errors

    errors = cast(dict[str, Tensor], over_tasks(of_task, meta, tasks, chunk))
    return [Errors(errors[f"{number} measured"], errors.get(f"{number} own")) for number in range(len(estimators))]


def curvatures(loop: InnerLoop, meta: Tree, tasks: Task, *, iterations: int, seed: int, chunk: int) -> Extremes:
    """Extreme eigenvalues of α·H at every link of every task, [T, K] each; for the whole model and plain SGD.

    Cost: `iterations` curvature products with each link. The seed is that of the first direction.
    """
    first = direction(loop.learner.start(meta), seed)

    def of_task(meta: Tree, task: Task) -> Tree:
        return {**extremes(TaskEpisode(loop, meta, task).chain, first, iterations)._asdict()}

    each = over_tasks(of_task, meta, tasks, chunk)
    return Extremes(*(cast(Tensor, branch(each, name)) for name in Extremes._fields))


def of_batches(values: Tensor, tasks: int) -> Tensor:
    """Mean over the tasks of every mini-batch: [B·tasks, ...] to [B, ...]."""
    return values.unflatten(0, (-1, tasks)).mean(dim=1)


def relative(estimate: Tensor, exact: Tensor) -> Tensor:
    """‖estimate − exact‖ / ‖exact‖ of every row."""
    return (estimate - exact).norm(dim=-1) / exact.norm(dim=-1)


def _episode(loop: InnerLoop, meta: Tree, task: Task, chunk: int) -> Episode:
    """A task that is alone has values to compare, and products are remembered."""
    episode = TaskEpisode(loop, meta, task)
    return cast(Episode, Remembered(episode)) if chunk == 1 else episode


def _ordered(gradient: Tree, meta: Tree) -> Tree:
    """In the order of the meta-parameters, whatever the order in which an estimator met them."""
    return tree.map(lambda _, leaf: leaf, meta, gradient)


def expansion(chain: Chain, cotangent: Tree) -> list[list[Tree]]:
    """Terms of ∏ (I − E_k) applied to a cotangent: entry j, l sums those of the last j links with l factors −E_k.

        T_0 = [g],   T_{j+1}[l] = T_j[l] − E_k·T_j[l − 1],   k = K − 1 − j

    The sum of row j is Truncated(j), the sum of the first L + 1 terms of the last row Binomial(L), that of all Exact:
    so it is for plain SGD on the whole model, whose direct maps are the identity.

    Cost: K(K+1)/2 products for all orders together.
    """
    rows = [[cotangent]]
    for k in reversed(range(len(chain))):
        curved = [chain.curvature(k, chain.direct(k, term).gradient)[0] for term in rows[-1]]
        kept = [chain.direct(k, term).state for term in rows[-1]]
        between = [tree.add(same, below) for same, below in zip(kept[1:], curved[:-1], strict=True)]
        rows.append([kept[0], *between, curved[-1]])
    return rows


def plain_estimates(loop: InnerLoop, meta: Tree, tasks: Task, chunk: int) -> Estimates:
    """`estimates` of FirstOrder and every Truncated and plain Binomial below K, up to rounding, in a third of its time.

    For the whole model and plain SGD; tasks have leaves [T, N, ...], of which `chunk` go side by side.
    """
    orders = range(1, loop.num_steps)

    def gradients(meta: Tree, task: Task) -> tuple[list[Tensor], Tree]:
        episode = TaskEpisode(loop, meta, task)
        outer = episode.outer()[0]
        rows = expansion(episode.chain, outer)
        last = rows[-1]
        terms = [last, last[:1], *(rows[window] for window in orders), *(last[: order + 1] for order in orders)]
        return [tree.flat(reduce(tree.add, each)) for each in terms], outer

    return _gathered(gradients, [FirstOrder(), *map(Truncated, orders), *map(Binomial, orders)], meta, tasks, chunk)
