"""The one way in which inner steps are taken.

    s_{k+1} = rule(s_k, g_k, m, k),   g_k = ∇_φ ℓ(φ(s_k), m, data of step k)

Everything here is a pure function of a state and the index k, so that a step taken again gives the same numbers.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metagrad.inner.derivatives import Pull
from metagrad.inner.randomness import seeded
from metagrad.rules import State, UpdateRule
from metagrad.structure import Data
from metagrad.task import Steps, require_values
from metagrad.tree import Tree


class Slope(NamedTuple):
    """The inner gradient at one state, the loss (0-d) there, and its curvature product where the graph is kept."""

    gradient: Tree
    loss: Tensor
    pull: Pull | None = None


class Step(NamedTuple):
    """One inner step: state and gradient before it, its curvature product where that is kept, loss and state after."""

    state: State
    gradient: Tree
    pull: Pull | None
    loss: Tensor
    after: State


@dataclass(frozen=True)
class Motion:
    """The inner training of one task.

    Args:
        rule: how a step moves the state.
        own: the rule's part of the meta-parameters.
        slope: (state, k) ↦ gradient and loss of step k.
        offset: how many steps the rule took before step 0, where an inner loop is carried on.
    """

    rule: UpdateRule
    own: Tree
    slope: Callable[[State, int], Slope]
    offset: int = 0

    def after(self, state: State, gradient: Tree, k: int) -> State:
        """The state after step k.

        Raises:
            TypeError: the rule gave something else.
        """
        after = self.rule.step(state, gradient, self.own, self.offset + k)
        if not isinstance(after, dict) or "adapted" not in after:
            given = f"a dict of {', '.join(map(str, after))}" if isinstance(after, dict) else type(after).__name__
            raise TypeError(f"{type(self.rule).__name__}.step must return a dict with 'adapted' in it, got {given}")
        return after

    def steps(self, state: State, first: int, stop: int) -> Iterator[Step]:
        """Take the steps `first` to `stop - 1` from a state. Cost: one gradient each; memory for one."""
        for k in range(first, stop):
            gradient, loss, pull = self.slope(state, k)
            after = self.after(state, gradient, k)
            yield Step(state, gradient, pull, loss, after)
            state = after

    def last(self, state: State, first: int, stop: int) -> State:
        """The state after those steps; `state` itself if there are none."""
        for step in self.steps(state, first, stop):
            state = step.after
        return state


@dataclass(frozen=True)
class Evidence:
    """What a task gives to each inner step: its data, and the seed of what is drawn at random.

    Args:
        support: the support set; `Steps` where it differs from step to step, or a function k ↦ data.
        seed: of the task; None where nothing is random.
        offset: how many steps were taken before step 0, where an inner loop is carried on.
    """

    support: Data
    seed: int | None = None
    offset: int = 0

    def at(self, k: int) -> Data:
        """The data of step k."""
        if isinstance(self.support, Steps):
            return self.support.at(k)
        if not callable(self.support):
            return self.support
        with torch.enable_grad():  # so that data made of something that is to be learned is noticed
            data = self.support(k)
        if data is None:
            raise TypeError(f"the function that gives the data of step {k} (support) returned None")
        require_values("support", data, f" of step {k}")
        return data

    def seeded(self, k: int) -> AbstractContextManager[None]:
        """Around every evaluation at step k: random layers draw the same masks each time."""
        return nullcontext() if self.seed is None else seeded(self.seed, self.offset + k)
