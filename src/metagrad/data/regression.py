"""Synthetic regression: sinusoids, and least squares whose meta-gradients are known in closed form."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metagrad import checks
from metagrad.task import Batch, Task

Range = tuple[float, float]


@dataclass(frozen=True)
class Sinusoids:
    """Sinusoid regression: each task is y = A·sin(x + φ), its A and φ drawn uniformly.

    Leaves are [T, support, 1] and [T, query, 1]; the defaults are those of MAML and BinomMAML. The code that MAML
    was published with uses y = A·sin(x − φ): the same kind of task, but not the same distribution.

    Args:
        support: support points of a task.
        query: query points of a task.
        amplitude: range of A.
        phase: range of φ, in radians.
        inputs: range of x.
        dtype: floating dtype of inputs and targets.

    Raises:
        TypeError: a number of points is not an integer, a range is not two numbers, or `dtype` is not floating.
        ValueError: a number of points is below 1, or a range is reversed or not finite.

    Example:
        >>> tasks = Sinusoids(support=10, query=10).sample(25, torch.Generator().manual_seed(0))
        >>> tasks.support.inputs.shape, tasks.query.targets.shape
        (torch.Size([25, 10, 1]), torch.Size([25, 10, 1]))
    """

    support: int = 10
    query: int = 10
    amplitude: Range = (0.1, 5.0)
    phase: Range = (0.0, math.pi)
    inputs: Range = (-5.0, 5.0)
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        checks.integer("support", self.support, least=1)
        checks.integer("query", self.query, least=1)
        for name in ("amplitude", "phase", "inputs"):
            _check_range(name, getattr(self, name))
        _check_floating(self.dtype)

    def sample(self, count: int, generator: torch.Generator) -> Task:
        """Draw `count` sinusoids and the points on them; ValueError if `count` is below 1."""
        checks.integer("count", count, least=1)
        amplitude = self._uniform(self.amplitude, (count, 1, 1), generator)
        phase = self._uniform(self.phase, (count, 1, 1), generator)
        inputs = self._uniform(self.inputs, (count, self.support + self.query, 1), generator)
        return _divided(inputs, amplitude * torch.sin(inputs + phase), self.support)

    def _uniform(self, bounds: Range, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        low, high = bounds
        unit = torch.rand(shape, generator=generator, dtype=self.dtype, device=generator.device)
        return low + (high - low) * unit


@dataclass(frozen=True)
class Quadratics:
    """Noisy linear regression without bias, y = w·x + noise: its meta-gradients are known exactly.

    Task t has its own w ~ N(0, I) [dimension]; inputs are N(0, I) [T, N, dimension], targets [T, N, 1]. With the
    model `torch.nn.Linear(dimension, 1, bias=False)` and `half_squared_error`, the loss of either set is the quadratic
    ½·wᵀHw − bᵀw + const with H = XᵀX/N and b = Xᵀy/N, so gradient descent on it and the gradient through it are
    matrix powers. Use it to check an estimator; the curvature does not depend on w, so it cannot show what an estimator
    does where the curvature changes along the trajectory.

    Args:
        dimension: number of weights.
        support: support examples of a task; fewer than `dimension` make the support loss flat in some directions.
        query: query examples of a task.
        noise: standard deviation of the noise on the targets.
        dtype: floating dtype of inputs and targets.

    Raises:
        TypeError: a count is not an integer, `noise` is not a number, or `dtype` is not floating.
        ValueError: a count is below 1, or `noise` is negative or not finite.

    Example:
        >>> source = Quadratics(dimension=3, dtype=torch.float64)
        >>> task = source.sample(2, torch.Generator().manual_seed(0))
        >>> source.meta_gradient(task, torch.zeros(3, dtype=torch.float64), lr=0.1, num_steps=5).shape  # in closed form
        torch.Size([2, 3])
    """

    dimension: int
    support: int = 10
    query: int = 10
    noise: float = 0.1
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        for name in ("dimension", "support", "query"):
            checks.integer(name, getattr(self, name), least=1)
        checks.number("noise", self.noise, least=0)
        _check_floating(self.dtype)

    def sample(self, count: int, generator: torch.Generator) -> Task:
        """Draw `count` regression tasks; ValueError if `count` is below 1."""
        checks.integer("count", count, least=1)
        points = self.support + self.query
        weights = self._normal((count, self.dimension, 1), generator)
        inputs = self._normal((count, points, self.dimension), generator)
        targets = inputs @ weights + self.noise * self._normal((count, points, 1), generator)
        return _divided(inputs, targets, self.support)

    def _normal(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=self.dtype, device=generator.device)

    @staticmethod
    def meta_gradient(task: Task, start: Tensor, lr: float, num_steps: int) -> Tensor:
        """Exact meta-gradient of `num_steps` steps of gradient descent, without a loop.

        (I − αH)ᴷ·(H_q·w_K − b_q), with w_K = (I − αH)ᴷ·w₀ + α·Σ_{k<K} (I − αH)ᵏ·b.

        Args:
            task: one task, or T.
            start: w₀ [dimension], common to all tasks.
            lr: α, positive.
            num_steps: K, at least 0.

        Returns:
            [dimension] for one task, [T, dimension] for T: the gradient of each task's query loss.

        Raises:
            TypeError: `lr` is not a number or `num_steps` not an integer.
            ValueError: they are out of range, or `start` does not fit the tasks.
        """
        checks.number("lr", lr, above=0)
        checks.integer("num_steps", num_steps, least=0)
        hessian, linear = _quadratic(task.support, start)
        step = _identity_like(hessian) - lr * hessian
        # [[M, αb], [0, 1]]ᴷ = [[Mᴷ, α·Σ_{k<K} Mᵏ·b], [0, 1]]: right for singular H too, where no minimiser is unique.
        last_row = torch.zeros_like(linear).mT
        one = torch.ones_like(last_row[..., :1])
        affine = torch.cat([torch.cat([step, lr * linear], -1), torch.cat([last_row, one], -1)], -2)
        power = torch.linalg.matrix_power(affine, num_steps)
        contraction, offset = power[..., :-1, :-1], power[..., :-1, -1:]
        adapted = contraction @ start.unsqueeze(-1) + offset
        return (contraction.mT @ _query_gradient(task, start, adapted)).squeeze(-1)

    @staticmethod
    def proximal_gradient(task: Task, start: Tensor, strength: float) -> Tensor:
        """Exact implicit meta-gradient where adaptation minimises support loss + ½·λ·‖w − w₀‖² to the end.

        λ·(H + λI)⁻¹·(H_q·w* − b_q), with w* = (H + λI)⁻¹·(b + λ·w₀).

        Args:
            task: one task, or T.
            start: w₀ [dimension], common to all tasks.
            strength: λ, positive.

        Returns:
            [dimension] for one task, [T, dimension] for T: the gradient of each task's query loss.

        Raises:
            TypeError: `strength` is not a number.
            ValueError: `strength` is not positive, or `start` does not fit the tasks.
        """
        checks.number("strength", strength, above=0)
        hessian, linear = _quadratic(task.support, start)
        damped = hessian + strength * _identity_like(hessian)
        adapted = torch.linalg.solve(damped, linear + strength * start.unsqueeze(-1))
        return strength * torch.linalg.solve(damped, _query_gradient(task, start, adapted)).squeeze(-1)


def half_squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """Half the mean of squared differences, ½·mean (p − t)², as a 0-d tensor.

    Raises:
        ValueError: the shapes differ; broadcasting [N, 1] against [N] would compare every pair.
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"predictions {list(predictions.shape)} and targets {list(targets.shape)} must have the same shape; "
            "reshape one of them"
        )
    return (predictions - targets).square().mean() / 2


def _divided(inputs: Tensor, targets: Tensor, support: int) -> Task:
    return Task(
        support=Batch(inputs[:, :support], targets[:, :support]),
        query=Batch(inputs[:, support:], targets[:, support:]),
    )


def _quadratic(batch: Batch, start: Tensor) -> tuple[Tensor, Tensor]:
    """H = XᵀX/N [..., d, d] and b = Xᵀy/N [..., d, 1] of half the mean squared error."""
    inputs, targets = batch
    if inputs.ndim not in (2, 3) or targets.shape != (*inputs.shape[:-1], 1):
        raise ValueError(
            "a least-squares task needs inputs [N, dimension] and targets [N, 1], with or without a task axis before; "
            f"got {list(inputs.shape)} and {list(targets.shape)}"
        )
    if start.shape != inputs.shape[-1:]:
        raise ValueError(
            f"start must have the shape [{inputs.shape[-1]}] of one weight per input, got {list(start.shape)}"
        )
    examples = inputs.shape[-2]
    return inputs.mT @ inputs / examples, inputs.mT @ targets / examples


def _query_gradient(task: Task, start: Tensor, adapted: Tensor) -> Tensor:
    hessian, linear = _quadratic(task.query, start)
    return hessian @ adapted - linear


def _identity_like(matrix: Tensor) -> Tensor:
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def _check_range(name: str, bounds: Range) -> None:
    if len(bounds) != 2:
        raise TypeError(f"{name} must be two numbers (low, high), got {bounds!r}")
    low, high = bounds
    checks.number(f"{name}[0]", low)
    checks.number(f"{name}[1]", high)
    if low > high:
        raise ValueError(f"{name} must be (low, high) with low <= high, got ({low:g}, {high:g})")


def _check_floating(dtype: torch.dtype) -> None:
    if not dtype.is_floating_point:
        raise TypeError(f"dtype must be a floating dtype such as torch.float32, got {dtype}")
