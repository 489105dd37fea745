"""Figures of finished runs: what adaptation does, step by step and, for sine waves, curve by curve."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from metagrad.experiments.axes import unit
from metagrad.experiments.config import Experiment
from metagrad.experiments.problems import SinusoidRegression, Sources
from metagrad.learner import MetaLearner, NonFiniteError
from metagrad.task import Batch, Task
from metagrad.training.evaluation import HeldOut, fixed_tasks
from metagrad.training.files import replacing

TRUE, BEFORE, AFTER, POINTS = "0.55", "#d1822f", "#2b6ca3", "black"


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    FigureCanvasAgg(figure)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)


def adaptation(config: Experiment, learner: MetaLearner, sources: Sources, result: HeldOut) -> Figure:
    """What adaptation does on test tasks: the error or accuracy by inner steps, and example curves of sine waves."""
    if isinstance(config.problem, SinusoidRegression):
        return _sinusoid(config, config.problem, learner, sources, result)
    names = sorted(result.values, key=lambda name: name == "loss")  # metrics first
    figure = Figure(figsize=(4.6 * len(names), 3.8), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        _by_steps(axes, config, result, name)
    return figure


def _sinusoid(
    config: Experiment, problem: SinusoidRegression, learner: MetaLearner, sources: Sources, result: HeldOut
) -> Figure:
    figure = Figure(figsize=(9.2, 6.8), layout="constrained")
    grid = figure.subplots(2, 2)
    tasks = fixed_tasks(sources.test, 3, config.test.seed)
    curves: Sequence[Axes] = [grid[0, 0], grid[0, 1], grid[1, 0]]
    for number, (axes, task) in enumerate(zip(curves, tasks, strict=True), start=1):
        _curve(axes, config, learner, task, problem.inputs)
        axes.set_title(f"test task {number}")
    handles, labels = curves[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    _by_steps(grid[1, 1], config, result, "loss")
    return figure


def _curve(axes: Axes, config: Experiment, learner: MetaLearner, task: Task, limits: tuple[float, float]) -> None:
    on_device = task.to(config.machine.torch_device(), config.machine.torch_dtype())
    support = Batch(on_device.support.inputs[0], on_device.support.targets[0])
    x = torch.linspace(*limits, 201, dtype=support.inputs.dtype, device=support.inputs.device).unsqueeze(1)
    with torch.no_grad():
        before = learner.adapt(support, 0)(x)
        try:
            after = learner.adapt(support, config.test.steps)(x)
        except NonFiniteError:  # the table says so too; the rest of the figure is worth having
            after = torch.full_like(before, math.nan)
    axes.plot(_numbers(x), _true(task, _numbers(x)), color=TRUE, linewidth=3, alpha=0.6, label="true function")
    axes.plot(_numbers(x), _numbers(before), color=BEFORE, linestyle="--", label="before adaptation")
    axes.plot(_numbers(x), _numbers(after), color=AFTER, label=f"after {config.test.steps} steps")
    axes.plot(
        _numbers(support.inputs), _numbers(support.targets), "o", color=POINTS, markersize=4, label="support points"
    )
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.set_xlim(limits)


def _true(task: Task, x: np.ndarray) -> np.ndarray:
    """The task's sine wave: y = a·sin x + b·cos x through its points, which have no noise."""
    inputs = torch.cat([task.support.inputs, task.query.inputs], dim=1).double().flatten().numpy()
    targets = torch.cat([task.support.targets, task.query.targets], dim=1).double().flatten().numpy()
    (a, b), *_ = np.linalg.lstsq(np.stack([np.sin(inputs), np.cos(inputs)], axis=1), targets, rcond=None)
    return a * np.sin(x) + b * np.cos(x)


def _by_steps(axes: Axes, config: Experiment, result: HeldOut, name: str) -> None:
    factor, label = unit(config, name)
    intervals = result.intervals(name)
    means = [factor * entry.mean for entry in intervals]
    half_widths = [factor * entry.half_width for entry in intervals]
    axes.errorbar(range(len(means)), means, yerr=half_widths, color=AFTER, marker="o", markersize=4, capsize=3)
    rises = name == "accuracy"  # so the corner beside the line is free below, or above
    axes.axvline(config.num_steps, color="0.7", linestyle=":", zorder=0)
    axes.annotate(
        "steps in training",
        (config.num_steps, 0.03 if rises else 0.97),
        xycoords=axes.get_xaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        va="bottom" if rises else "top",
        color="0.4",
        fontsize=8,
    )
    axes.set_title(f"{result.tasks} test tasks, mean and 95 % interval")
    axes.set_xlabel("inner steps")
    axes.set_ylabel(label)
    axes.set_xticks(range(0, len(means), max(1, len(means) // 10)))


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().flatten().numpy()
