"""The mean meta-gradient over tasks."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from metagrad import tree
from metagrad.batching.chunks import branch
from metagrad.batching.execution import Eager, Execution
from metagrad.estimators.base import Cost, Estimator
from metagrad.inner.derivatives import Derivatives
from metagrad.inner.learner import learned
from metagrad.inner.loop import InnerLoop
from metagrad.inner.of_one_task import TaskMetaGradient
from metagrad.objectives import Metrics
from metagrad.prepared import Tasks, prepare
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

    Example:
        >>> import torch
        >>> MetaGradient({}, torch.tensor([0.5, 1.5]), {}, Cost(products=5, rounds=5), {}).loss.mean()
        tensor(1.)
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
    execution: Execution | None = None,
) -> MetaGradient:
    """The gradient of the mean query loss after adaptation with respect to the meta-parameters.

        (1/T) Σ_t d/dm q_t(φ_{t,K}(m), m)

    Args:
        loop: learner, rule and number of steps.
        estimator: how the gradient goes back through the inner steps.
        meta: {"model": {name: tensor}} and, for a rule that learns, {"rule": …}; read as values, no graph is kept.
        tasks: leaves [T, N, ...], or a list of tasks with leaves [N, ...] whose sizes may differ.
        task_chunk: how many tasks run side by side under `vmap`, as written; None for all, 1 for a plain loop.
        execution: how it is evaluated; None for `Eager(task_chunk)`, `metagrad.capture.Capture` traced and replayed.

    Raises:
        ValueError: tasks that are empty, not finite, or do not fit together or the meta-parameters; a meta-parameter
            that the estimator cannot reach; a model that draws random numbers.
        TypeError: tasks that are not of the type `Task`, or an estimator that is not one.

    Cost: per task K inner gradients, one outer gradient and `estimator.cost(K)`. Memory: the states and gradients of
    the tasks that run side by side, 2K + 1 copies of the adapted parameters each for SGD unless `loop.trajectory`
    recomputes them or the estimator does not walk back through them (`Implicit`, `FiniteDifference`, `Reptile`: three
    copies), and one round of curvature products; no graph of the loop unless `loop.reuse` keeps some.

    Example:
        >>> import torch
        >>> from metagrad import SGD, Exact, WholeModel, functional
        >>> from metagrad.data.regression import Quadratics, half_squared_error
        >>> model = torch.nn.Linear(3, 1, bias=False)
        >>> loop = InnerLoop(WholeModel(model, half_squared_error), SGD(lr=0.1), num_steps=5)
        >>> tasks = Quadratics(dimension=3).sample(4, torch.Generator().manual_seed(0))
        >>> result = meta_gradient(loop, Exact(), {"model": {**functional.trainable(model)}}, tasks)
        >>> result.gradient["model"]["weight"].shape
        torch.Size([1, 3])
    """
    if not isinstance(estimator, Estimator):
        raise TypeError(f"estimator must be one such as Exact() or Binomial(order=2), got {estimator!r}")

    def job(loop: InnerLoop, derivatives: Derivatives) -> TaskMetaGradient:
        return TaskMetaGradient(loop, estimator, derivatives)

    execution = execution or Eager(task_chunk)
    # Without gradient mode the outermost products build no graph of themselves; `torch.func` is indifferent to it.
    with torch.inference_mode(False), torch.no_grad():
        asked_once = estimator.single_products(loop.num_steps)
        result = execution.run(job, loop, tree.detach(meta), prepare(tasks, meta), asked_once)
        measured = branch(result, "each")
        loss = cast(Tensor, branch(measured, "loss"))
        # In the order of the meta-parameters, whatever the order in which estimators met them.
        wanted = learned(meta)
        mean = tree.map(lambda parameter, leaf: _laid_out(leaf / len(loss), parameter), wanted, branch(result, "sum"))
    return MetaGradient(
        mean,
        loss,
        cast(Metrics, branch(measured, "metrics")),
        estimator.cost(loop.num_steps),
        cast(dict[str, Tensor], branch(measured, "diagnostics")),
    )


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient in the memory format of its parameter, as optimizers expect it."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, requires_grad=False).copy_(gradient)
