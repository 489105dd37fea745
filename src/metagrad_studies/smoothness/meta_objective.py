"""The meta-objective of each task as a plain function of the meta-parameters, differentiated twice."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vjp, vmap

from metagrad import structure, tree
from metagrad.batching import Chunk, branch
from metagrad.inner.loop import InnerLoop
from metagrad.task import Task
from metagrad.tree import Tree
from metagrad_studies.instruments.spectra import Extremes, lanczos


@dataclass(frozen=True)
class Sharpness:
    """Gradient and Hessian of meta-objectives at one point, T of them or their mean."""

    loss: Tensor  # [T]
    gradient_norm: Tensor  # ‖∇F‖, [T]
    extremes: Extremes  # of ∇²F, [T] each

    @property
    def smoothness(self) -> Tensor:
        """‖∇²F‖ in the spectral norm, [T]."""
        return torch.maximum(self.extremes.low.abs(), self.extremes.high.abs())


def objective(loop: InnerLoop, like: Tree, theta: Tensor, task: Task) -> Tensor:
    """F_t(θ): query loss of one task [N, ...] after K unrolled steps of gradient descent, with the whole graph kept.

    The loop's steps are repeated here, where nothing is detached; `like` gives names and shapes of θ, one vector.
    """
    meta = tree.shaped(theta, like)
    state = loop.initial_state(meta)
    for k in range(loop.num_steps):
        slope = grad(lambda adapted: loop.learner.support_loss(adapted, meta, task.support))(state["adapted"])
        state = loop.rule.step(state, cast(Tree, slope), {}, k)
    return loop.learner.query_loss(state["adapted"], meta, task.query)[0]


def of_mean(loop: InnerLoop, meta: Tree, tasks: Task, *, first: Tensor, iterations: int) -> Sharpness:
    """Of the mean over all tasks [T, N, ...]: one number each. Cost: `iterations` products with its Hessian."""

    def mean(theta: Tensor) -> Tensor:
        each = Chunk(lambda meta, task: {"each": objective(loop, meta, theta, task)})(meta, tasks)
        return cast(Tensor, branch(each, "each")).mean()

    return _measured(lambda thetas: mean(thetas[0])[None], tree.flat(meta)[None], first, iterations)


def of_each(loop: InnerLoop, meta: Tree, tasks: Task, *, first: Tensor, iterations: int) -> Sharpness:
    """Of every task by itself, at the same point: T numbers each, for the price of `of_mean`."""
    count = len(tasks.support.inputs)

    def each(thetas: Tensor) -> Tensor:
        leaves, shape = structure.flatten(tasks)
        return vmap(lambda theta, *of_one: objective(loop, meta, theta, shape.unflatten(of_one)))(thetas, *leaves)

    return _measured(each, tree.flat(meta).expand(count, -1), first, iterations)


def _measured(values: Callable[[Tensor], Tensor], at: Tensor, first: Tensor, iterations: int) -> Sharpness:
    """Of functions that are evaluated side by side, each at its own row."""

    def total(thetas: Tensor) -> tuple[Tensor, Tensor]:
        each = values(thetas)
        return each.sum(), each

    def gradient(thetas: Tensor) -> tuple[Tensor, Tensor]:
        slope, (_, losses) = grad_and_value(total, has_aux=True)(thetas)
        return slope, losses

    slope, hessian, losses = cast(
        tuple[Tensor, Callable[[Tensor], tuple[Tensor]], Tensor], vjp(gradient, at, has_aux=True)
    )
    extremes = lanczos(lambda vectors: hessian(vectors)[0], first, len(at), iterations)
    return Sharpness(losses.detach(), slope.detach().norm(dim=1), Extremes(*(value.detach() for value in extremes)))
