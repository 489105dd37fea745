"""Learning curves as shapes of an SVG: thinned to what a page can show, in coordinates of the picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 28, 44  # margins for the texts
_BUCKETS = 200  # points of a line; more than one sees at this width
_DECADES_FOR_LOG = 2.0
_MOST_MARKS = 24  # validations with a mark and an interval each; more are drawn as a line
_HUGE = 1e100  # beyond this sums overflow, and a curve tells nothing

Point = tuple[float, float]


@dataclass(frozen=True)
class Validation:
    """A value on validation tasks: meta-step, mean, half the width of its 95 % interval (NaN where unknown)."""

    step: float
    mean: float
    half_width: float


@dataclass(frozen=True)
class Panel:
    """One curve over meta-steps.

    Args:
        id: unique in the page.
        title: what is on the vertical axis, with its unit.
        alternative: the course in words.
        horizontal: place and text of each tick.
        vertical: place and text of each tick.
        line: path of the training values, means over buckets of steps.
        band: path around them, from the 10th to the 90th percentile of each bucket; empty where a bucket is a step.
        marks: x, y, top and bottom of each validation, where they are few.
        course: path of the validations, where they are many.
        command: id of the command that makes it.
    """

    id: str
    title: str
    alternative: str
    horizontal: Sequence[tuple[float, str]]
    vertical: Sequence[tuple[float, str]]
    line: str
    band: str
    marks: Sequence[tuple[float, float, float, float]]
    course: str
    command: str | None

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM


def panel(
    id: str, title: str, training: Sequence[Point], validations: Sequence[Validation], command: str | None
) -> Panel | None:
    """The shapes of one curve; None where there is no finite value to draw."""
    thin = _thinned([(x, y) for x, y in training if abs(y) < _HUGE])
    seen = [v for v in validations if abs(v.mean) < _HUGE]
    few = len(seen) <= _MOST_MARKS
    course = [] if few else _thinned([(v.step, v.mean) for v in seen])
    heights = [y for _, *ys in thin for y in ys] + ([v.mean for v in seen] if few else [y for _, y, *_ in course])
    edges = [v.mean + sign * v.half_width for v in seen if few and v.half_width < _HUGE for sign in (-1, 1)]
    steps = [x for x, *_ in thin] + [v.step for v in seen]
    if not steps:
        return None
    low, high = min(heights), max(heights)
    logarithmic = low > 0 and math.log10(high) - math.log10(low) >= _DECADES_FOR_LOG
    if not logarithmic:
        low, high = min([low, *edges]), max([high, *edges])
    x = _Scale(min(steps), max(steps), _LEFT, WIDTH - _RIGHT, False)
    y = _Scale(low, high, HEIGHT - _BOTTOM, _TOP, logarithmic)
    line = _path([(x(step), y(mean)) for step, mean, _, _ in thin])
    upper, lower = ([(x(step), y(part[i])) for step, *part in thin] for i in (2, 1))
    spread = any(most > least for _, _, least, most in thin)
    return Panel(
        id=id,
        title=title,
        alternative=_words(title, thin, seen),
        horizontal=[(x(tick), f"{tick:,.0f}") for tick in x.ticks(whole=True)],
        vertical=[(y(tick), f"{tick:g}") for tick in y.ticks(whole=False)],
        line=line,
        band=_path([*upper, *reversed(lower)]) + "Z" if spread else "",
        marks=[_mark(x, y, v) for v in seen if few],
        course=_path([(x(step), y(mean)) for step, mean, *_ in course]),
        command=command,
    )


class _Scale:
    """Values to coordinates, linear or logarithmic, with a little room at both ends."""

    def __init__(self, low: float, high: float, start: float, end: float, logarithmic: bool) -> None:
        self._logarithmic = logarithmic
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
        room = 0.03 * (high - low) or 0.5 * abs(high) or 0.5
        self._low, self._high, self._start, self._end = low - room, high + room, start, end

    def __call__(self, value: float) -> float:
        if self._logarithmic:
            value = math.log10(value) if value > 0 else self._low
        inside = min(max(value, self._low), self._high)
        share = (inside - self._low) / (self._high - self._low)
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self, whole: bool) -> list[float]:
        locator = MaxNLocator(nbins=6 if self._logarithmic else 5, integer=whole or self._logarithmic)
        places = [float(place) for place in locator.tick_values(self._low, self._high)]
        inside = [place for place in places if self._low <= place <= self._high]
        return [10.0**place for place in inside] if self._logarithmic else inside


def _thinned(points: Sequence[Point]) -> list[tuple[float, float, float, float]]:
    """Middle step, mean, 10th and 90th percentile of each of at most `_BUCKETS` parts of the points."""
    if len(points) <= _BUCKETS:
        return [(x, y, y, y) for x, y in points]
    thin: list[tuple[float, float, float, float]] = []
    for part in np.array_split(np.array(points), _BUCKETS):
        low, high = np.quantile(part[:, 1], [0.1, 0.9])
        thin.append((float(part[:, 0].mean()), float(part[:, 1].mean()), float(low), float(high)))
    return thin


def _mark(x: _Scale, y: _Scale, v: Validation) -> tuple[float, float, float, float]:
    half = v.half_width if v.half_width < _HUGE else 0.0
    return x(v.step), y(v.mean), y(v.mean + half), y(v.mean - half)


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def _words(title: str, thin: Sequence[tuple[float, float, float, float]], validations: Sequence[Validation]) -> str:
    parts: list[str] = []
    if thin:
        (first, begin, *_), (last, end, *_) = thin[0], thin[-1]
        parts.append(f"in training from {begin:.3g} at meta-step {first:.0f} to {end:.3g} at {last:.0f}")
    if validations:
        begin, end = validations[0], validations[-1]
        parts.append(f"in validation from {begin.mean:.3g} at {begin.step:.0f} to {end.mean:.3g} at {end.step:.0f}")
    return f"{title} over meta-steps: {'; '.join(parts)}."
