"""Regularised logistic regression tasks whose adaptation is solved to rounding, nudged or not, in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metagrad.task import Batch, Task

_NEWTON_STEPS = 50
_SOLVED = 1e-12  # norm of a gradient whose curvature is at least λ, of the order of 1


@dataclass(frozen=True)
class Logistic:
    """Inner problems of T tasks, min over φ of ℓ(φ) + ν·q(φ) + (λ/2)‖φ − θ‖², ℓ and q mean logistic losses.

    Unlike least squares they have derivatives of every order in the nudge ν.

    Attributes:
        tasks: inputs [T, N, d], targets [T, N, 1] of 0 and 1.
        start: θ [d], common to all tasks.
        strength: λ > 0.
    """

    tasks: Task
    start: Tensor
    strength: float

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
