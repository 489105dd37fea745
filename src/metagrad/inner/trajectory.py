"""How much of the path of an inner loop is kept, and what is recomputed on the way back.

Whoever goes back through the links of a loop needs the state and the gradient of one link at a time, the last link
first. So the others need not be there: they can be computed again, by the same operations on the same values, from an
earlier state that was kept. The result is the same to the bit wherever an operation repeated gives the same bits.

Below, K is the number of inner steps and a *walk* visits every link once, from the last to the first. One state is
one copy of the adapted parameters for `SGD`, two with momentum and three for `AdamW`; a gradient is one copy.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from metagrad import checks
from metagrad.inner.links import Link, Links, Revolved, Segments, repeats_needed
from metagrad.inner.motion import Motion, Slope
from metagrad.rules import State


class Recording(NamedTuple):
    """Inner steps that were taken: their links, the loss (0-d) at the start of each, and the state after the last."""

    links: Links
    losses: list[Tensor]
    last: State


class TrajectoryCost(NamedTuple):
    """What a trajectory holds at most, beside what one inner step itself needs, and what one walk recomputes.

    Attributes:
        states: states of the rule.
        gradients: inner gradients.
        recomputed: inner steps taken again, one inner gradient each.
    """

    states: int
    gradients: int
    recomputed: int


class Trajectory(ABC):
    """A choice of what is kept of the path of an inner loop."""

    @abstractmethod
    def record(self, motion: Motion, start: State, num_steps: int) -> Recording:
        """Take `num_steps` inner steps from `start` and keep of them what the choice says."""

    @abstractmethod
    def cost(self, num_steps: int) -> TrajectoryCost:
        """What is held of `num_steps` steps, and recomputed in one walk right after them."""


@dataclass(frozen=True)
class Stored(Trajectory):
    """Every state and every gradient.

    Memory: K + 1 states and K gradients, 2K + 1 parameter copies for SGD. Recomputed: nothing.
    When not to use it: where K is so large that these copies, times the tasks that run side by side, do not fit.

    Example:
        >>> Stored().cost(num_steps=100)
        TrajectoryCost(states=101, gradients=100, recomputed=0)
    """

    def record(self, motion: Motion, start: State, num_steps: int) -> Recording:
        """Keep all."""
        links, losses, last = taken(motion, start, range(num_steps))
        return Recording(links, losses, last)

    def cost(self, num_steps: int) -> TrajectoryCost:
        """All states and gradients, no work."""
        return TrajectoryCost(states=num_steps + 1, gradients=num_steps, recomputed=0)


@dataclass(frozen=True)
class SquareRoot(Trajectory):
    """A state every c = ⌈√K⌉ steps, and the links of one segment between two of them.

    Memory: ⌈K/c⌉ + c states and c gradients, at most 3⌈√K⌉ parameter copies for SGD: 96 in place of 2001 for K = 1000.
    Recomputed: c·(⌈K/c⌉ − 1) < K inner steps in a walk, since the last segment is still there: at most one more pass.
    A further walk recomputes all K.
    When not to use it: with an estimator that holds something for each link anyway, such as `Binomial` over the whole
    loop, which also walks 1 + 2·order times; or where √K copies are still too many: `Slots`.
    Source: Chen et al. 2016.

    Example:
        >>> SquareRoot().cost(num_steps=100)
        TrajectoryCost(states=20, gradients=10, recomputed=90)
    """

    def record(self, motion: Motion, start: State, num_steps: int) -> Recording:
        """Keep the first state of each segment, and the links of the last segment."""
        stride = _root(num_steps)
        starts: list[State] = []
        segment: list[Link] = []
        losses: list[Tensor] = []
        last = start
        for k in range(0, num_steps, stride):
            starts.append(last)
            segment = []  # forgotten first: there is never more than one
            segment, of_segment, last = taken(motion, last, range(k, min(k + stride, num_steps)))
            losses += of_segment
        return Recording(Segments(motion, num_steps, stride, starts, segment), losses, last)

    def cost(self, num_steps: int) -> TrajectoryCost:
        """The starts of all segments but one, that one whole, and the last state."""
        stride = _root(num_steps)
        segments = math.ceil(num_steps / stride)
        return TrajectoryCost(segments + stride, stride, stride * max(segments - 1, 0))


@dataclass(frozen=True)
class Slots(Trajectory):
    """At most s = `count` states, the start among them, moved by the schedule with the fewest recomputed steps.

    Memory: s + 2 states (slots, the link that was asked for, the last state) and one gradient, s + 3 copies for SGD.
    Recomputed in a walk: r·K − C(s + r, s + 1) inner steps, with r the least number such that C(s + r, s) ≥ K; no step
    is taken more than r further times. For K = 1000: 3636 steps with 10 slots, 1954 with 44, K(K − 1)/2 with one.
    When not to use it: where the memory of `SquareRoot` is at hand, which recomputes fewer than K steps because it
    also holds the gradients of a segment; even s ≥ K slots recompute K − 1 steps here. With estimators that walk more
    than once (`Binomial`), each walk pays this and up to K steps more.
    Source: Griewank & Walther 2000 (revolve).

    Args:
        count: s, at least 1.

    Raises:
        ValueError: `count` below 1.

    Example:
        >>> Slots(count=4).cost(num_steps=100)
        TrajectoryCost(states=6, gradients=1, recomputed=374)
    """

    count: int

    def __post_init__(self) -> None:
        checks.integer("count of Slots (states held at once; Logarithmic() chooses it)", self.count, least=1)

    def record(self, motion: Motion, start: State, num_steps: int) -> Recording:
        """Keep the states that the schedule wants at its first descent, and the last link."""
        losses: list[Tensor] = []

        def noted(state: State, k: int) -> Slope:
            slope = motion.slope(state, k)
            losses.append(slope.loss)
            return slope

        links = Revolved(motion, num_steps, self.count, start)
        if num_steps == 0:
            return Recording(links, losses, start)
        end = links.fetch(num_steps - 1, replace(motion, slope=noted))
        return Recording(links, losses, motion.after(end.state, end.gradient, num_steps - 1))

    def cost(self, num_steps: int) -> TrajectoryCost:
        """The formula of Griewank and Walther."""
        held = min(self.count, num_steps)
        repeats = repeats_needed(num_steps, self.count)
        recomputed = repeats * num_steps - math.comb(self.count + repeats, self.count + 1)
        return TrajectoryCost(states=held + 2, gradients=1, recomputed=recomputed)


@dataclass(frozen=True)
class Logarithmic(Trajectory):
    """`Slots` with as many slots as K has binary digits, s = ⌊log₂ K⌋ + 1.

    Memory: s + 2 states and one gradient, ⌊log₂ K⌋ + 4 parameter copies for SGD: 13 for K = 1000.
    Recomputed in a walk: that of `Slots`, fewer than K·s steps: 3.6·K for K = 1000, 6.8·K for K = 10⁶.
    When not to use it: as for `Slots`. Source: Griewank & Walther 2000.

    Example:
        >>> Logarithmic().cost(num_steps=100)
        TrajectoryCost(states=9, gradients=1, recomputed=255)
    """

    def record(self, motion: Motion, start: State, num_steps: int) -> Recording:
        """As its slots."""
        return self._slots(num_steps).record(motion, start, num_steps)

    def cost(self, num_steps: int) -> TrajectoryCost:
        """That of its slots."""
        return self._slots(num_steps).cost(num_steps)

    def _slots(self, num_steps: int) -> Slots:
        return Slots(max(num_steps.bit_length(), 1))


def taken(motion: Motion, state: State, span: range) -> tuple[list[Link], list[Tensor], State]:
    """Take the steps of a span: their links and losses, and the state after them."""
    links: list[Link] = []
    losses: list[Tensor] = []
    for step in motion.steps(state, span.start, span.stop):
        links.append(Link.of(step))
        losses.append(step.loss)
        state = step.after
    return links, losses, state


def _root(num_steps: int) -> int:
    """⌈√K⌉, and 1 for no step."""
    return math.isqrt(max(num_steps, 1) - 1) + 1
