"""metrics.jsonl of a run, read line by line: what a curve and a table of validations need."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metagrad.reporting.curves import Validation
from metagrad.reporting.reading import Note, Notes, damaged_lines, number, read_lines

QUANTITIES = ("loss", "accuracy")
"""What has a column among all runs."""

_WIDTH = "_half_width_95"
_ABOUT_THE_STEP = ("kind", "step", "best", "error_estimate", "gradient_norm", "lr", "seconds")
_MOST = 8  # quantities of a run


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

    def quantities(self) -> list[str]:
        """What was validated, those that all runs have first."""
        names = dict.fromkeys(name for v in self.validations for name in _quantities(v))
        return sorted(names, key=lambda name: name not in QUANTITIES)

    def validated(self, name: str) -> list[Validation]:
        """The validations of one quantity."""
        return [
            Validation(v["step"], v.get(name, math.nan), v.get(f"{name}{_WIDTH}", math.nan)) for v in self.validations
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
        kept = [entry for name in _quantities(record) for entry in (name, f"{name}{_WIDTH}") if entry in record]
        values = {entry: number(record[entry]) for entry in kept}
        found.validations.append({"step": step, "best": record.get("best") is True, **values})
        return
    values = {name: number(record[name]) for name in _quantities(record)}
    seconds = number(record.get("seconds"))
    found.steps = max(found.steps, int(step))
    found.seconds.append(seconds)
    for name, value in values.items():
        found.training.setdefault(name, []).append((step, value))


def _quantities(record: Mapping[str, Any]) -> list[str]:
    """Loss and accuracy, and metrics of the user's own: every other number of the record with a plain name."""
    own = [
        name
        for name, value in record.items()
        if name.isidentifier() and name not in (*QUANTITIES, *_ABOUT_THE_STEP) and not name.endswith(_WIDTH)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    ]
    return [*(name for name in QUANTITIES if name in record), *own][:_MOST]
