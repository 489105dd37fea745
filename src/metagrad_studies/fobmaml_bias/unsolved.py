"""Finite-difference meta-gradients from inner problems that were not quite solved, and how far off they are."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from metagrad.batching import TaskMetaGradient, branch, over_tasks
from metagrad.estimators import FiniteDifference
from metagrad.estimators.base import Episode
from metagrad.inner.loop import InnerLoop, LastState
from metagrad.learner import MetaLearner
from metagrad.rules import SGD
from metagrad.task import Task
from metagrad.tree import Tree
from metagrad_studies.fobmaml_bias.logistic import Logistic


@dataclass(frozen=True, kw_only=True)
class BiasSettings:
    """Logistic regression tasks, and how their adaptation is left unsolved.

    Args:
        tasks: T; each has its own slope.
        dimension: weights of a task.
        examples: of the support set, and as many of the query set.
        strength: λ of the proximal term.
        seed: of tasks, start and solver errors.
        precisions: δ, distances from the solution at which solves end that err apart.
        draws: independent errors for each task, precision and nudge.
        lr: step size of gradient descent, where solves err alike.
        steps: numbers of its steps.
        nudges: ν, over which the best is taken where solves err apart.
        nudges_alike: the same where they err alike.
        tolerance: of a measured slope beside its rate.
    """

    tasks: int
    dimension: int
    examples: int
    strength: float
    seed: int
    precisions: tuple[float, ...]
    draws: int
    lr: float
    steps: tuple[int, ...]
    nudges: tuple[float, ...]
    nudges_alike: tuple[float, ...]
    tolerance: float


Sides = Literal["forward", "symmetric", "fourth"]
Measured = list[tuple[dict[str, Any], Tensor, Tensor]]
"""What tells a record apart, the precision of each task [T], and relative errors [ν, T]."""


class _Ended:
    """The end of a nudged solve, off by `precision` in a direction drawn anew: all that `FiniteDifference` asks for."""

    def __init__(
        self, problem: Logistic, solutions: dict[float, Tensor], precision: float, draws: int, seed: int
    ) -> None:
        self._problem, self._solutions, self._precision, self._draws = problem, solutions, precision, draws
        self._generator = torch.Generator().manual_seed(seed)

    def nudged(self, nudge: float) -> Tree:
        """λ·(θ − φ̃_ν) [draws, T, d]: the sensitivity of the nudged objective to the start θ."""
        if nudge not in self._solutions:
            self._solutions[nudge] = self._problem.solution(nudge)
        solution = self._solutions[nudge]
        direction = torch.randn(self._draws, *solution.shape, generator=self._generator, dtype=solution.dtype)
        ended = solution + self._precision * F.normalize(direction, dim=-1)
        return {"start": self._problem.strength * (self._problem.start - ended)}


def apart(settings: BiasSettings, problem: Logistic, sides: Sides) -> Measured:
    """A record a precision: solves that end off the solution by that much, each in another direction."""
    exact = problem.meta_gradient()
    solutions: dict[float, Tensor] = {}
    measured: Measured = []
    for number, precision in enumerate(settings.precisions):
        errors: list[Tensor] = []
        for nudge in settings.nudges:
            ended = _Ended(problem, solutions, precision, settings.draws, settings.seed + 1 + number)
            estimate = FiniteDifference(nudge, sides).estimate(cast(Episode, ended)).gradient
            apart = (cast(dict[str, Tensor], estimate)["start"] - exact).square().sum(-1).mean(0).sqrt()
            errors.append(apart / exact.norm(dim=-1))
        measured.append(({}, torch.full((settings.tasks,), precision, dtype=torch.float64), torch.stack(errors)))
    return measured


def alike(settings: BiasSettings, problem: Logistic, sides: Sides) -> Measured:
    """A record a number of steps of gradient descent, the same for all solves of a task, as the package does them."""
    exact, solution = problem.meta_gradient(), problem.solution(0.0)
    model = torch.nn.Linear(settings.dimension, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(problem.start)
    measured: Measured = []
    for steps in settings.steps:
        learner = MetaLearner(
            model,
            F.binary_cross_entropy_with_logits,
            SGD(settings.lr),
            steps,
            FiniteDifference(),
            proximal=settings.strength,
        )
        loop, meta = learner.loop, learner.meta()
        each = over_tasks(partial(_end, loop), meta, problem.tasks, None)
        precisions = (_weight(each) - solution).norm(dim=-1)
        errors: list[Tensor] = []
        for nudge in settings.nudges_alike:
            of_task = TaskMetaGradient(loop, FiniteDifference(nudge, sides), loop.derivatives())
            gradient = branch(branch(over_tasks(of_task, meta, problem.tasks, None), "sum"), "model")
            errors.append((_weight(gradient) - exact).norm(dim=-1) / exact.norm(dim=-1))
        measured.append(({"steps": steps}, precisions, torch.stack(errors)))
    return measured


def _end(loop: InnerLoop, meta: Tree, task: Task) -> Tree:
    return branch(LastState(loop, loop.derivatives(), loop.num_steps)(meta, task), "each")


def _weight(each: Tree) -> Tensor:
    """[T, 1, d] of a linear model as [T, d]."""
    return cast(Tensor, branch(each, "weight")).squeeze(1)
