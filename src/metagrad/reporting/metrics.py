"""metrics.jsonl of a run, read line by line: what a curve and a table of validations need."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metagrad.reporting.curves import Validation
from metagrad.reporting.reading import Note, Notes, damaged_lines, number, read_lines

QUANTITIES = ("loss", "accuracy")
"""What is shown, of all that is recorded."""


@dataclass
class Metrics:
    """The records by quantity.

    Args:
        steps: the last meta-step.
        seconds: of each meta-step.
        training: meta-step and value on the training batch, for each quantity.
        validations: for each, the meta-step, means, half widths, and whether its weights were the best so far.
    """

    steps: int = 0
    seconds: list[float] = field(default_factory=list[float])
    training: dict[str, list[tuple[float, float]]] = field(default_factory=dict[str, list[tuple[float, float]]])
    validations: list[Mapping[str, float]] = field(default_factory=list[Mapping[str, float]])

    def validated(self, name: str) -> list[Validation]:
        """The validations of one quantity."""
        return [
            Validation(v["step"], v.get(name, math.nan), v.get(f"{name}_half_width_95", math.nan))
            for v in self.validations
        ]


def read_metrics(path: Path, where: str, notes: Notes) -> Metrics:
    """The file's records; a note about lines that are damaged, under the name `where`.

    Raises:
        OSError: the file cannot be read.
    """
    found, damaged = Metrics(), list[int]()
    last = 0
    for last, record in read_lines(path):
        try:
            _add(found, record)
        except (ValueError, OverflowError):
            damaged.append(last)
    if damaged:
        notes.append(Note(where, damaged_lines(damaged, last)))
    return found


def _add(found: Metrics, record: Mapping[str, Any] | None) -> None:
    if record is None or not isinstance(record.get("kind"), str) or record.get("step") is None:
        raise ValueError("no record")
    if record["kind"] not in ("train", "validation"):  # probes, decisions, warnings: not on the page
        return
    step = number(record["step"])
    if not math.isfinite(step):
        raise ValueError("no step")
    if record["kind"] == "validation":
        kept = [quantity for name in QUANTITIES for quantity in (name, f"{name}_half_width_95") if quantity in record]
        values = {quantity: number(record[quantity]) for quantity in kept}
        found.validations.append({"step": step, "best": record.get("best") is True, **values})
        return
    values = {name: number(record[name]) for name in QUANTITIES if name in record}
    seconds = number(record.get("seconds"))
    found.steps = max(found.steps, int(step))
    found.seconds.append(seconds)
    for name, value in values.items():
        found.training.setdefault(name, []).append((step, value))
