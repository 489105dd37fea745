"""The results of testing a run (test.json, or what `metagrad evaluate --out` wrote) as a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metagrad.reporting.entry import Table
from metagrad.reporting.reading import many, nested, number, text


@dataclass(frozen=True)
class Tested:
    """Held-out results: tasks, which weights, and for each quantity mean and half width after 0..S inner steps."""

    tasks: int
    seed: int
    steps: int
    weights: str
    values: Mapping[str, Sequence[tuple[float, float]]]

    def after(self, name: str, step: int) -> str:
        """Mean ± half width after `step` inner steps, or the last that was measured."""
        entries = self.values[name]
        return measured(name, *entries[min(step, len(entries) - 1)])


def tested(values: Mapping[str, Any]) -> Tested:
    """From JSON.

    Raises:
        ValueError: something is missing or of another kind.
    """
    asked, results = nested(values, "test"), nested(values, "results")
    columns: dict[str, Sequence[tuple[float, float]]] = {}
    for name in results:
        result = nested(results, name)
        means, halves = many(result, "mean"), many(result, "half_width_95")
        if not means or len(means) != len(halves):
            raise ValueError(f"is damaged: {name!r} has {len(means)} means and {len(halves)} intervals")
        columns[name] = [(number(mean), number(half)) for mean, half in zip(means, halves, strict=True)]
    if not columns or len({len(column) for column in columns.values()}) > 1:
        raise ValueError("is damaged: its results are empty, or of unequal length")
    tasks, seed, steps = (int(number(asked.get(name))) for name in ("tasks", "seed", "steps"))
    return Tested(tasks, seed, steps, text(values, "weights"), columns)


def table(result: Tested, name: str, trained_steps: int | None, command: str) -> Table:
    """A row an inner step."""
    titles = [heading(quantity) for quantity in result.values]
    rows = [
        (
            f"{step}" + (" (before)" if step == 0 else " (as trained)" if step == trained_steps else ""),
            *(measured(quantity, *entries[step]) for quantity, entries in result.values.items()),
        )
        for step in range(len(next(iter(result.values.values()))))
    ]
    title = f"{name}: {result.tasks} test tasks, {result.weights} weights, mean ± 95 % interval"
    return Table(title, ("inner steps", *titles), rows, command)


def heading(name: str) -> str:
    """The head of a column."""
    return "accuracy (%)" if name == "accuracy" else name


def measured(name: str, mean: float, half_width: float) -> str:
    """Mean ± half width; an accuracy in per cent."""
    factor, digits = (100.0, 2) if name == "accuracy" else (1.0, 4)
    if math.isnan(half_width):
        return f"{factor * mean:.{digits}f}"
    return f"{factor * mean:.{digits}f} ± {factor * half_width:.{digits}f}"
