"""The figure of a training run: what was learned, and how far its meta-gradients were from exact."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad.experiments.axes import grid, unit
from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import short, titled
from metagrad.training.watch import UNSAFE

TRAIN, VALIDATION, ESTIMATE, PROBE = "#9db8d2", "#2b6ca3", "#e0b48a", "#882255"
WIDTH = "_half_width_95"
WINDOWS = 40
"""About how many points the line through noisy values of single meta-steps has."""

Record = dict[str, Any]


def training(config: Experiment, records: Sequence[Record]) -> Figure:
    """Loss (and accuracy) over meta-steps, and the relative error of the meta-gradient where there is any to show.

    Single meta-steps are dots, the line is the median of about a fortieth of them; validations are large points. Errors
    have a logarithmic axis; those that are 0, or not finite, cannot be shown on it and are left out.
    """
    widths = [key for record in _kind(records, "validation") for key in record if key.endswith(WIDTH)]
    measured = dict.fromkeys([*config.problem.metrics(), *(key.removesuffix(WIDTH) for key in widths), "loss"])
    names = [name for name in measured if any(name in r for r in _kind(records, "train"))]
    shown = _kind(records, "probe") or any("error_estimate" in r for r in _kind(records, "train"))
    panels = len(names) + bool(shown)
    figure = Figure(figsize=(5.0 * max(panels, 1), 3.9), layout="constrained")
    row: Sequence[Axes] = list(np.atleast_1d(figure.subplots(1, max(panels, 1))))
    for axes, name in zip(row, names, strict=False):
        _learned(axes, config, records, name)
    if shown:
        _errors(row[-1], records)
    for axes in row:
        axes.set_xlabel("meta-steps")
        grid(axes)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8)
    figure.suptitle(f"Training with {short(config.estimator)},  K = {config.num_steps}, {titled(config.rule)}")
    return figure


def _learned(axes: Axes, config: Experiment, records: Sequence[Record], name: str) -> None:
    factor, label = unit(config, name)
    _dots(axes, _points(records, "train", name, factor), TRAIN, VALIDATION, "meta-batch")
    points = _points(records, "validation", name, factor)
    widths = [factor * half for _, half in _points(records, "validation", f"{name}{WIDTH}", 1.0)]
    if points:
        axes.errorbar(
            *zip(*points, strict=True),
            yerr=widths if len(widths) == len(points) else None,
            color="black",
            marker="o",
            markersize=4,
            linestyle="none",
            capsize=3,
            label="validation, 95 % interval",
        )
    if name == "loss" and points and all(value > 0 for _, value in points):
        axes.set_yscale("log")
    axes.set_ylabel(label)


def _errors(axes: Axes, records: Sequence[Record]) -> None:
    estimates = [point for point in _points(records, "train", "error_estimate", 1.0) if point[1] > 0]
    _dots(axes, estimates, ESTIMATE, "#b5651d", "estimator's own estimate")
    probes = [point for point in _points(records, "probe", "error", 1.0) if point[1] > 0]
    if probes:
        axes.plot(
            *zip(*probes, strict=True),
            color=PROBE,
            marker="D",
            markersize=4,
            linestyle="none",
            label="measured on one task",
        )
    axes.axhline(UNSAFE, color="0.4", linestyle="--", linewidth=1, label="100 % error")
    axes.set_yscale("log")
    axes.set_ylabel("relative error of the meta-gradient")


def _dots(axes: Axes, points: list[tuple[float, float]], light: str, dark: str, label: str) -> None:
    if not points:
        return
    steps, values = (np.array(column) for column in zip(*points, strict=True))
    axes.plot(steps, values, ".", color=light, markersize=2, zorder=1)
    groups = np.array_split(np.arange(len(steps)), min(WINDOWS, len(steps)))
    axes.plot(
        [steps[group].mean() for group in groups],
        [np.median(values[group]) for group in groups],
        color=dark,
        linewidth=1.5,
        label=label,
    )


def _kind(records: Sequence[Record], kind: str) -> list[Record]:
    return [record for record in records if record["kind"] == kind]


def _points(records: Sequence[Record], kind: str, name: str, factor: float) -> list[tuple[float, float]]:
    """(Step, value) of records that have the value, which JSON keeps as null where it is not finite."""
    pairs = [(record["step"], record.get(name)) for record in _kind(records, kind)]
    return [(step, factor * value) for step, value in pairs if value is not None and math.isfinite(value)]
