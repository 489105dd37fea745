"""The links of an inner loop as a sequence: all at hand, or recomputed when one is asked for.

What is recomputed comes from the same operations on the same values, so nobody can tell except by time and memory.
What a sequence remembers changes as it is read; what it returns does not.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from metagrad.inner.derivatives import Pull
from metagrad.inner.motion import Motion, Step
from metagrad.rules import State
from metagrad.tree import Tree


class Link(NamedTuple):
    """One inner step as the chain sees it: state and gradient, and its curvature product where that is kept."""

    state: State
    gradient: Tree
    pull: Pull | None = None

    @staticmethod
    def of(step: Step) -> "Link":
        """A step without its loss and what came after."""
        return Link(step.state, step.gradient, step.pull)


class Links(Protocol):
    """Inner steps as a sequence, link 0 first; asking for one may recompute it and forget another."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, k: int, /) -> Link:
        """Link k."""
        ...


@dataclass(frozen=True)
class Path:
    """Some consecutive links of a loop that was run, as a sequence; all paths of one loop share what is kept.

    Args:
        recorded: the links whose curvature product is built when asked for.
        reused: the links after them, whose product is kept.
        end: the state after the last of all links.
        span: which of them these are.
    """

    recorded: Links
    reused: list[Link]
    end: State
    span: range

    def __len__(self) -> int:
        return len(self.span)

    def __getitem__(self, k: int) -> Link:
        return self._of_loop(self.span[k])

    @property
    def rebuilt(self) -> int:
        """How many of these, the first ones, come without a product that is kept."""
        return len(range(self.span.start, min(self.span.stop, len(self.recorded))))

    def window(self, start: int, stop: int) -> "Path":
        """The links `start` to `stop - 1` of these."""
        return replace(self, span=self.span[start:stop])

    def last(self) -> State:
        """The state after the last of these; recomputed where it is not kept."""
        at = self.span.stop
        return self.end if at == len(self.recorded) + len(self.reused) else self._of_loop(at).state

    def _of_loop(self, at: int) -> Link:
        kept = at - len(self.recorded)
        return self.recorded[at] if kept < 0 else self.reused[kept]


class Segments:
    """The first state of every segment, and the links of the one that was asked for last."""

    def __init__(self, motion: Motion, num_steps: int, stride: int, starts: list[State], segment: list[Link]) -> None:
        self._motion, self._num_steps, self._stride, self._starts = motion, num_steps, stride, starts
        self._at, self._segment = len(starts) - 1, segment

    def __len__(self) -> int:
        return self._num_steps

    def __getitem__(self, k: int) -> Link:
        segment, inside = divmod(range(self._num_steps)[k], self._stride)
        if segment != self._at:
            self._at, self._segment = -1, []  # forgotten first: there is never more than one
            first = segment * self._stride
            stop = min(first + self._stride, self._num_steps)
            self._segment = [Link.of(step) for step in self._motion.steps(self._starts[segment], first, stop)]
            self._at = segment
        return self._segment[inside]


class Revolved:
    """States in slots, by position, and the link that was asked for last; slots beyond it are given back."""

    def __init__(self, motion: Motion, num_steps: int, count: int, start: State) -> None:
        self._motion, self._num_steps, self._count = motion, num_steps, count
        self._slots = [(0, start)]
        self._here: tuple[int, Link] | None = None

    def __len__(self) -> int:
        return self._num_steps

    def __getitem__(self, k: int) -> Link:
        return self.fetch(range(self._num_steps)[k], self._motion)

    def fetch(self, k: int, motion: Motion) -> Link:
        """Link k, by steps from the slot nearest before it; free slots are filled on the way."""
        if self._here is not None and self._here[0] == k:
            return self._here[1]
        self._here = None
        while self._slots[-1][0] > k:
            self._slots.pop()
        at, state = self._slots[-1]
        while at < k:
            free = self._count - len(self._slots)
            stop = at + _advance(k + 1 - at, free + 1) if free else k
            state = motion.last(state, at, stop)
            at = stop
            if free:
                self._slots.append((at, state))
        slope = motion.slope(state, k)
        link = Link(state, slope.gradient, slope.pull)
        self._here = k, link
        return link


def repeats_needed(length: int, slots: int) -> int:
    """The least r with C(s + r, s) ≥ length: how often a step is repeated at most."""
    repeats = 0
    while math.comb(slots + repeats, slots) < length:
        repeats += 1
    return repeats


def _advance(length: int, slots: int) -> int:
    """How far to go before the next state is put in a slot, to go back through `length` ≥ 2 steps with s ≥ 2 slots.

    One of the best: with C(s + r − 1, s) < length ≤ C(s + r, s), neither what lies before the new slot (s slots, r − 1
    repeats) nor what lies behind it (s − 1 slots, r repeats) must be longer than its slots can serve.
    """
    repeats = repeats_needed(length, slots)
    return min(math.comb(slots + repeats - 1, slots), length - math.comb(slots + repeats - 2, slots - 1))
