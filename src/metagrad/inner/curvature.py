"""One curvature product, three ways.

Each takes the inner loss as a function of (adapted, context), where `context` is the part of the meta-parameters that
it reads, and a direction d shaped like `adapted`; it returns (H·d, (∂²ℓ/∂context∂adapted)ᵀ·d), both for the price of
one. The loss and all trees belong to one task and one step.
"""

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp

from metagrad import tree
from metagrad.tree import Tree

InnerLoss = Callable[[Tree, Tree], Tensor]
CurvatureProduct = Callable[[InnerLoss, Tree, Tree, Tree], tuple[Tree, Tree]]


def reverse_over_reverse(loss: InnerLoss, adapted: Tree, context: Tree, direction: Tree) -> tuple[Tree, Tree]:
    """Back-propagate through the inner gradient: d ↦ vjp of ∇_φ ℓ.

    Cost: about one more gradient's time than the gradient itself, and the memory of its graph. The widest support
    among operations, hence the default.

    Example:
        >>> phi, direction = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([1.0, 0.0])}
        >>> reverse_over_reverse(lambda adapted, _: (adapted["w"] ** 4).sum(), phi, {}, direction)[0]
        {'w': tensor([12.,  0.])}
    """
    pull = cast(Callable[[Tree], tuple[Tree, Tree]], vjp(grad(loss), adapted, context)[1])
    return pull(direction)


def forward_over_reverse(loss: InnerLoss, adapted: Tree, context: Tree, direction: Tree) -> tuple[Tree, Tree]:
    """Push a tangent through the inner gradient: the derivative of (∇_φ ℓ, ∇_m ℓ) along d.

    Equal to `reverse_over_reverse` because second derivatives commute. Cost: like one gradient on pairs of numbers;
    less memory. Needs forward-mode formulas for every operation of the model; `F.mse_loss` has one that fails here
    (torch 2.13): write the square out.

    Example:
        >>> phi, direction = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([0.0, 1.0])}
        >>> forward_over_reverse(lambda adapted, _: (adapted["w"] ** 4).sum(), phi, {}, direction)[0]
        {'w': tensor([ 0., 48.])}
    """
    _load_forward_formulas()
    wanted = (0, 1) if tree.leaves(context) else (0,)

    def gradients(moved: Tree) -> tuple[Tree, ...]:
        return cast(tuple[Tree, ...], grad(loss, argnums=wanted)(moved, context))

    pushed = cast(tuple[Tree, ...], jvp(gradients, (adapted,), (direction,))[1])
    curved, mixed = (*pushed, {})[:2]
    return curved, mixed


@functools.cache
def _load_forward_formulas() -> None:
    """Have torch load those of its forward-mode formulas that it registers through `torch.jit`, which it deprecates.

    It would at the first tangent, and warn the user of a call that is not theirs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("torch._decomp.decompositions_for_jvp")


def central_difference(loss: InnerLoss, adapted: Tree, context: Tree, direction: Tree) -> tuple[Tree, Tree]:
    """Difference two gradients: [∇ℓ(φ + εd) − ∇ℓ(φ − εd)] / (2ε), no second derivative.

    ε = (machine precision)^{1/3} · max(1, ‖φ‖) / ‖d‖, which balances rounding against curvature's own change.
    When it is wrong: at kinks. ReLU and max-pooling within ±εd give errors of 100 % and more; use it on smooth
    networks. Cost: two gradients and the memory of one.

    Example:
        >>> phi = direction = {"w": torch.tensor([1.0], dtype=torch.float64)}
        >>> curved, _ = central_difference(lambda adapted, _: (adapted["w"] ** 4).sum(), phi, {}, direction)
        >>> f"{curved['w'].item():.6f}"
        '12.000000'
    """
    wanted = (0, 1) if tree.leaves(context) else (0,)

    def gradients(moved: Tree, context: Tree) -> tuple[Tree, Tree]:
        on_adapted, on_context = (*cast(tuple[Tree, ...], grad(loss, argnums=wanted)(moved, context)), {})[:2]
        return on_adapted, on_context

    return differenced(gradients, adapted, context, direction)


def differenced(
    gradients: Callable[[Tree, Tree], tuple[Tree, Tree]], adapted: Tree, context: Tree, direction: Tree
) -> tuple[Tree, Tree]:
    """The central difference of a function that gives both gradients of the loss, on adapted and on context."""
    length = tree.norm(direction)
    precision = torch.finfo(length.dtype).eps ** (1 / 3)
    # Along a zero direction any ε gives zero; 1 keeps the quotient finite.
    reach = precision * tree.norm(adapted).clamp(min=1.0) / torch.where(length > 0, length, 1.0)
    above = gradients(tree.add(adapted, tree.scale(direction, reach)), context)
    below = gradients(tree.subtract(adapted, tree.scale(direction, reach)), context)
    curved, mixed = (tree.scale(tree.subtract(up, down), 0.5 / reach) for up, down in zip(above, below, strict=True))
    return curved, mixed
