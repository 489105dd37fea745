"""Optimizers written as a pair of pure functions."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from metagrad import structure, tree
from metagrad.rules.base import State, UpdateRule
from metagrad.tree import Tree

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Transform(UpdateRule):
    """An Optax-style pair as a rule: TorchOpt's gradient transformations are such pairs.

        (u, o⁺) = update(g, o, params=φ),   φ⁺ = φ + u,   from o = init(φ)

    `Transform(*torchopt.adam(1e-3, eps_root=1e-8))`. The pair must be pure: an `update` that takes `inplace`, as
    TorchOpt's do, is called with `inplace=False`.
    When it is wrong: where the pair's own derivative is, as that of a root at zero.
    Cost: that of the pair, and about ten times it on the way back.

    Args:
        init: {name: parameter} ↦ optimizer state, any nesting of tensors.
        update: (gradients, state, params=parameters) ↦ (what is added to the parameters, state after).

    Raises:
        TypeError: one of the two is not a function.

    Example:
        >>> import torch
        >>> def update(gradients, state, params):
        ...     return {name: -0.1 * gradient.sign() for name, gradient in gradients.items()}, state
        >>> signs = Transform(lambda params: (), update)
        >>> signs.step(signs.initial_state({"w": torch.ones(1)}), {"w": torch.tensor([5.0])}, meta={}, k=0)["adapted"]
        {'w': tensor([0.9000])}
    """

    init: Callable[[Parameters], Any]
    update: Callable[..., tuple[Parameters, Any]]

    def __post_init__(self) -> None:
        for name in ("init", "update"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} of Transform must be a function, got {getattr(self, name)!r}")

    @cached_property
    def _update(self) -> Callable[..., tuple[Parameters, Any]]:
        """`update`, kept from writing on its arguments where it offers to."""
        offers = "inplace" in inspect.signature(self.update).parameters
        return partial(self.update, inplace=False) if offers else self.update

    def initial_state(self, adapted: Tree) -> State:
        """The parameters, and the leaves of the pair's own state by number."""
        leaves, _ = structure.flatten(self.init(_flat(adapted)))
        return {"adapted": adapted, "transform": {str(i): leaf for i, leaf in enumerate(leaves)}}

    def step(self, state: State, gradient: Tree, meta: Tree, k: int) -> State:
        """Ask the pair what to add, and add it."""
        adapted = _flat(state["adapted"])
        _, shape = structure.flatten(self.init(adapted))
        own = shape.unflatten(tree.leaves(state.get("transform", {})))
        moves, after = self._update(dict(_flat(gradient)), own, params=adapted)
        leaves, _ = structure.flatten(after)
        return {
            "adapted": {name: p + moves[name] for name, p in adapted.items()},
            "transform": {str(i): leaf for i, leaf in enumerate(leaves)},
        }


def _flat(parameters: Tree) -> Parameters:
    return dict(tree.items(parameters))
