"""What is wanted of one task, as functions of meta-parameters and task: `batching` maps them over many."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metagrad import tree
from metagrad.estimators.base import Estimator
from metagrad.inner.derivatives import Derivatives
from metagrad.inner.episode import TaskEpisode
from metagrad.inner.learner import learned
from metagrad.inner.loop import QUERY, InnerLoop
from metagrad.inner.trajectory import Slots
from metagrad.objectives import Metrics
from metagrad.rules import State
from metagrad.task import Task
from metagrad.tree import Tree


@dataclass(frozen=True)
class TaskMetaGradient:
    """The meta-gradient of one task, and what is measured with it."""

    loop: InnerLoop
    estimator: Estimator
    derivatives: Derivatives

    def __call__(self, meta: Tree, task: Task) -> Tree:
        """Run the inner loop, then the estimator."""
        loop = self.loop if self.estimator.walks else replace(self.loop, trajectory=Slots(1), reuse=0)
        episode = TaskEpisode(loop, meta, task, self.derivatives)
        estimate = self.estimator.estimate(episode)
        _require_every_leaf(estimate.gradient, learned(meta), self.estimator)
        numbers = [episode.loss, *episode.support_losses, *tree.leaves(estimate.gradient)]
        diagnostics: Tree = {
            "support_loss": torch.stack(episode.support_losses),
            "finite": torch.stack([leaf.isfinite().all() for leaf in numbers]).all(),
            **estimate.diagnostics,
        }
        measured: Tree = {"loss": episode.loss, "metrics": {**episode.metrics}, "diagnostics": diagnostics}
        return {"sum": estimate.gradient, "each": measured}


def _require_every_leaf(gradient: Tree, meta: Tree, estimator: Estimator) -> None:
    unreached = tree.absent(gradient, meta)
    if unreached:
        shown = ", ".join(unreached[:3]) + (f" and {len(unreached) - 3} more" if len(unreached) > 3 else "")
        raise ValueError(
            f"{estimator!r} gives no gradient to {shown}: nothing leads from there to what it differentiates; take an "
            "estimator that reaches all, such as Binomial(order=2), or add proximal=... (for what adapts), use SGD "
            "(for learned rates), freeze those parameters (for a body that does not adapt)"
        )


@dataclass(frozen=True)
class LastState:
    """The adapted parameters of one task after some inner steps. Cost: one gradient a step."""

    loop: InnerLoop
    derivatives: Derivatives
    num_steps: int

    def __call__(self, meta: Tree, task: Task) -> Tree:
        """Take the steps."""
        motion = self.loop.motion(meta, self.loop.evidence(task, self.num_steps), self.derivatives)
        return {"each": motion.last(self.loop.initial_state(meta), 0, self.num_steps)["adapted"]}


@dataclass(frozen=True)
class AdaptationCurve:
    """Query "loss" and "metrics" of one task after 0, 1, … S inner steps: [S + 1] each. Cost: S gradients."""

    loop: InnerLoop
    derivatives: Derivatives
    num_steps: int

    def __call__(self, meta: Tree, task: Task) -> Tree:
        """Take the steps and measure after each."""
        evidence = self.loop.evidence(task, self.num_steps)

        def measure(state: State) -> tuple[Tensor, Metrics]:
            with evidence.seeded(QUERY):
                return self.loop.learner.query_loss(state["adapted"], meta, task.query)

        start = self.loop.initial_state(meta)
        steps = self.loop.motion(meta, evidence, self.derivatives).steps(start, 0, self.num_steps)
        measured = [measure(start), *(measure(step.after) for step in steps)]
        metrics: Tree = {name: torch.stack([m[name] for _, m in measured]) for name in measured[0][1]}
        return {"each": {"loss": torch.stack([loss for loss, _ in measured]), "metrics": metrics}}
