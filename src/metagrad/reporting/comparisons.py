"""What `metagrad compare` left, as an entry of the page."""

import math
from collections.abc import Mapping, Sequence
from os.path import lexists
from pathlib import Path
from typing import Any

from metagrad.experiments.config import Experiment
from metagrad.experiments.typed import rebuilt
from metagrad.reporting.entry import Command, Entry, Headline, State, Table
from metagrad.reporting.pictures import Picture, picture
from metagrad.reporting.reading import Notes, many, nested, number, read_object, shown, text
from metagrad.reporting.runs import configuration, environment

MANIFEST = "comparison.json"
_COLUMNS = ("estimator", "error", "quartiles of the error", "cosine", "products", "rounds", "solves", "ms", "MiB")
_REMARK = (
    "Error: ‖estimate − exact‖ / ‖exact‖ of one task's meta-gradient in float64, median over tasks. Time (ms) and peak "
    "memory (MiB): one meta-gradient over the meta-batch. Products, rounds and further solves: of one task. Reptile's "
    "direction is no gradient: compare its cosine, not its error."
)


def comparison(path: Path, name: str, id: str, notes: Notes) -> Entry:
    """Read the directory `path` of a comparison.

    Args:
        path: the directory.
        name: as the page calls it.
        id: unique in the page.
        notes: receives what cannot be read.

    Raises:
        ValueError, OSError: comparison.json cannot be used.
    """
    manifest, before = read_object(path / MANIFEST), len(notes)
    config, effort, rows = nested(manifest, "config"), nested(manifest, "effort"), many(manifest, "rows")
    measured = [_row(row, config) for row in rows]
    if not measured:
        raise ValueError("is damaged: it has no rows")
    command = Command(f"{id}--compare", "measures every estimator", _command(manifest, config, effort))
    estimates = [shown for row, shown in zip(rows, measured, strict=True) if _is_estimate(row)]
    nearest = min(
        (shown for shown in estimates if math.isfinite(float(shown[1]))),
        key=lambda shown: float(shown[1]),
        default=measured[0],
    )
    pictures: list[Picture] = []
    if lexists(path / "comparison.png"):
        words = (
            f"Relative error of {len(measured)} estimators against curvature products, rounds and time. "
            f"The least, {nearest[1]}, is that of {nearest[0]}."
        )
        with notes.guarded(f"{name}/comparison.png"):
            title = "Error of each estimator against what it costs"
            pictures.append(picture(path / "comparison.png", title, words, command.id))
    setting = f"K = {shown(config.get('num_steps'))}, after {shown(config.get('meta_steps'))} meta-steps"
    anchored = any(row[0].endswith("*") for row in measured)
    star = f"* with a proximal term of strength {shown(effort.get('proximal'))}, against Exact of that same problem."
    return Entry(
        kind="comparison",
        id=id,
        name=name,
        title=name,
        state=State("complete", f"{len(measured)} estimators on one experiment, {setting}.", True),
        facts=[
            ("Tasks for the error", shown(effort.get("tasks"))),
            ("Timed repetitions", shown(effort.get("repeats"))),
            ("Tasks a meta-gradient", shown(config.get("meta_batch"))),
        ],
        headlines=[
            Headline(setting),
            Headline(str(len(measured))),
            Headline(nearest[0]),
            Headline(nearest[1], command.id),
        ],
        commands=[command],
        pictures=pictures,
        tables=[Table(f"{name}: estimators, {setting}", _COLUMNS, measured, command.id)],
        remarks=[_REMARK, star] if anchored else [_REMARK],
        folded=[Table(f"{name}: configuration", ("field", "value"), configuration(config))],
        environment=environment(manifest),
        notes=[f"{note.where}: {note.text}" for note in notes[before:]],
    )


def _is_estimate(row: Mapping[str, Any]) -> bool:
    """Whether it estimates what Exact gives; records of older versions do not say it, and Reptile never did."""
    return row["estimator"] != "Exact()" and row.get("estimates", row.get("family")) not in ("direction", "Reptile")


def _row(row: Any, config: Mapping[str, Any]) -> Sequence[str]:
    if not isinstance(row, dict):
        raise ValueError(f"is damaged or foreign: a row is {shown(row)}")
    quartiles = [number(value) for value in many(row, "error")]
    if len(quartiles) != 3:
        raise ValueError(f"is damaged: an error has {len(quartiles)} quartiles in place of 3")
    anchored = row.get("proximal") is not None and config.get("proximal") is None
    counts = [f"{number(row.get(field)):.0f}" for field in ("products", "rounds", "solves")]
    return (
        text(row, "estimator") + ("*" if anchored else ""),
        f"{quartiles[1]:.2g}",
        f"{quartiles[0]:.2g} to {quartiles[2]:.2g}",
        f"{number(row.get('cosine')):.4f}",
        *counts,
        f"{1e3 * number(row.get('seconds')):.1f}",
        f"{number(row.get('peak_bytes')) / 2**20:.1f}",
    )


def _command(manifest: Mapping[str, Any], config: Mapping[str, Any], effort: Mapping[str, Any]) -> str:
    """As typed, or rebuilt from configuration and effort."""
    typed = manifest.get("command")
    if isinstance(typed, str) and typed:
        return typed
    try:
        command = rebuilt("metagrad compare", Experiment.from_json(config))
    except (TypeError, ValueError, RecursionError):  # a configuration of another version
        command = None
    asked = (("tasks", "tasks"), ("repeats", "repeats"), ("anchor", "proximal"))
    options = " ".join(f"--{option} {shown(effort.get(field))}" for option, field in asked)
    return f"{command or 'metagrad compare PRESET'} {options}"
