"""What an update rule is: pure, differentiable, and never calling the model.

    s⁺ = rule(s, g, m, k)      state s, inner gradient g, the rule's meta-parameters m, step k = 0, 1, …

A state is a dict whose branch "adapted" holds the adapted parameters φ; a rule may keep more beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.func import vjp

from metagrad import tree
from metagrad.tree import Tree

State = dict[str, Tree]
At = Callable[[], tuple[State, Tree]]
Pulled = tuple[Tree, Tree, Tree]


class UpdateRule(ABC):
    """How one inner step moves the state.

    A rule of one's own gives `step`, and `initial_state` where it keeps more than the adapted parameters. What it
    meta-learns is any tree of tensors, from `initial_meta`.

    >>> import torch
    >>> class SignDescent(UpdateRule):
    ...     def step(self, state, gradient, meta, k):
    ...         return {"adapted": tree.map(lambda p, g: p - 0.1 * g.sign(), state["adapted"], gradient)}
    >>> SignDescent().step({"adapted": {"w": torch.ones(2)}}, {"w": torch.tensor([3.0, -2.0])}, {}, 0)
    {'adapted': {'w': tensor([0.9000, 1.1000])}}
    """

    def initial_meta(self, adapted: Tree, num_steps: int) -> Tree:
        """What the rule itself meta-learns, at its initial values; {} for nothing.

        Args:
            adapted: the adapted parameters at the start, for their names and shapes.
            num_steps: K, for what differs from step to step.
        """
        return {}

    def initial_state(self, adapted: Tree) -> State:
        """The state before the first step: the adapted parameters alone."""
        return {"adapted": adapted}

    @abstractmethod
    def step(self, state: State, gradient: Tree, meta: Tree, k: int) -> State:
        """The state after step k; `meta` is the rule's own part of the meta-parameters."""

    def pull(self, cotangent: State, meta: Tree, k: int, at: At) -> Pulled:
        """The transpose of `step` at step k: a cotangent on the state after it ↦ (on state, on gradient, on meta).

        Args:
            cotangent: shaped like the state.
            meta: as for `step`.
            k: the step.
            at: gives state and gradient of that step. Both may have to be recomputed: a rule whose transpose does not
                depend on them leaves it alone.

        Cost: about ten steps of the rule; no model call. Integer tensors in the state get no cotangent.
        """
        state, gradient = at()

        def moved(part: Tree, slope: Tree, own: Tree) -> Tree:
            after = self.step(cast(State, tree.overlay(cast(Tree, state), part)), slope, own, k)
            return smooth(cast(Tree, after))

        moving = smooth(cast(Tree, state))
        after, back = cast("tuple[Tree, Callable[[Tree], Pulled]]", vjp(moved, moving, gradient, meta))
        return back(tree.restrict(cast(Tree, cotangent), after))


def smooth(state: Tree) -> Tree:
    """The leaves of a state that have derivatives: all but counts and flags."""
    return tree.select(_is_smooth, state)


def _is_smooth(leaf: Tensor) -> bool:
    return leaf.is_floating_point() or leaf.is_complex()


def safe_root(square: Tensor) -> Tensor:
    """√x with the derivative 0 at x = 0, where that of the root is infinite.

    There it is the right one-sided derivative of what rules make of it: a second moment is zero only where every
    gradient so far was, and then the first moment that it divides is zero too.
    """
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)
