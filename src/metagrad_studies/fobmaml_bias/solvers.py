"""Logistic regression tasks solved to rounding, and finite differences from solves that end before."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from metagrad import SGD, Batch, FiniteDifference, InnerLoop, MetaLearner, Task
from metagrad.batching import branch, over_tasks
from metagrad.estimators import Episode
from metagrad.inner.of_one_task import LastState, TaskMetaGradient
from metagrad.tree import Tree

_NEWTON_STEPS = 50
_SOLVED = 1e-12  # norm of a gradient whose curvature is at least λ, of the order of 1


@dataclass(frozen=True)
class Logistic:
    """Inner problems of T tasks, min over φ of ℓ(φ) + ν·q(φ) + (λ/2)‖φ − θ‖², ℓ and q mean logistic losses.

    Unlike least squares they have derivatives of every order in the nudge ν.
    """

    tasks: Task  # inputs [T, N, d], targets [T, N, 1] of 0 and 1
    start: Tensor  # θ [d], common to all tasks
    strength: float  # λ > 0

    @classmethod
    def draw(cls, count: int, dimension: int, examples: int, strength: float, generator: torch.Generator) -> "Logistic":
        """Tasks with weights and inputs N(0, I) and targets drawn from them; θ is N(0, I) too."""
        start = torch.randn(dimension, generator=generator, dtype=torch.float64)
        weights = torch.randn(count, dimension, 1, generator=generator, dtype=torch.float64)
        inputs = torch.randn(count, 2 * examples, dimension, generator=generator, dtype=torch.float64)
        targets = torch.bernoulli(torch.sigmoid(inputs @ weights), generator=generator)
        batches = [Batch(inputs[:, part], targets[:, part]) for part in (slice(examples), slice(examples, None))]
        return cls(Task(*batches), start, strength)

    def solution(self, nudge: float) -> Tensor:
        """φ_ν [T, d] by Newton's method.

        Raises:
            ValueError: it did not arrive; nudges below −λ/(largest curvature of q) leave no minimum.
        """
        at = self.start.expand(len(self.tasks.support.inputs), -1)
        for _ in range(_NEWTON_STEPS):
            slope = self._slope(at, nudge)
            if slope.norm(dim=-1).max() <= _SOLVED:
                return at
            at = at - torch.linalg.solve(self._curvature(at, nudge), slope)
        raise ValueError(f"the problem nudged by {nudge:g} was not solved; take nudges nearer to 0, or a larger λ")

    def meta_gradient(self) -> Tensor:
        """Gradient of each task's query loss at its solution, [T, d]: λ·(∇²ℓ + λI)⁻¹·∇q at φ₀."""
        at = self.solution(0.0)
        return self.strength * torch.linalg.solve(self._curvature(at, 0.0), _slope(self.tasks.query, at))

    def _slope(self, at: Tensor, nudge: float) -> Tensor:
        anchor = self.strength * (at - self.start)
        return _slope(self.tasks.support, at) + nudge * _slope(self.tasks.query, at) + anchor

    def _curvature(self, at: Tensor, nudge: float) -> Tensor:
        identity = torch.eye(at.shape[-1], dtype=at.dtype)
        losses = _curvature(self.tasks.support, at) + nudge * _curvature(self.tasks.query, at)
        return losses + self.strength * identity


def _slope(batch: Batch, at: Tensor) -> Tensor:
    """Gradient [T, d] of the mean logistic loss."""
    inputs, targets = batch
    residual = torch.sigmoid(inputs @ at.unsqueeze(-1)) - targets
    return (inputs.mT @ residual).squeeze(-1) / inputs.shape[-2]


def _curvature(batch: Batch, at: Tensor) -> Tensor:
    """Hessian [T, d, d] of the mean logistic loss."""
    inputs = batch.inputs
    chance = torch.sigmoid(inputs @ at.unsqueeze(-1))
    return inputs.mT @ (chance * (1 - chance) * inputs) / inputs.shape[-2]


@dataclass(frozen=True, kw_only=True)
class BiasSettings:
    """Logistic regression tasks, and how their adaptation is left unsolved."""

    tasks: int  # T; each has its own slope
    dimension: int  # weights of a task
    examples: int  # of the support set, and as many of the query set
    strength: float = 1.0  # λ of the proximal term
    seed: int = 0  # of tasks, start and solver errors
    precisions: tuple[float, ...] = tuple(10 ** (-0.5 * power) for power in range(8, 21))
    # δ, distances from the solution at which solves end that err apart
    draws: int  # independent errors for each task, precision and nudge
    lr: float = 0.4  # step size of gradient descent, where solves err alike
    steps: tuple[int, ...] = (10, 14, 18, 22, 26)  # numbers of its steps
    nudges: tuple[float, ...] = tuple(10 ** (power / 10) for power in range(-60, -3))
    # ν, over which the best is taken where solves err apart
    nudges_alike: tuple[float, ...] = tuple(10 ** (power / 2) for power in range(-16, -1))
    # the same where they err alike
    tolerance: float = 0.02  # of a measured slope beside its rate


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
