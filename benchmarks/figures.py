"""Figures: one way to look for each contender, axes with units, PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# label → colour (Okabe and Ito, told apart by most eyes), marker
STYLES: dict[str, tuple[str, str]] = {
    "metagrad": ("#0072B2", "o"),
    "metagrad-auto": ("#56B4E9", "D"),
    "metagrad-pieces": ("#56B4E9", "s"),
    "metagrad-whole": ("#009E73", "h"),
    "higher": ("#D55E00", "v"),
    "torchopt": ("#CC79A7", "^"),
    "loop": ("#000000", "s"),
    "jax": ("#E69F00", "P"),
}


def new(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one panel."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Axes = figure.subplots()
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", color="0.92")
    return figure, axes


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG."""
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=150)
    return path


def samples(title: str, seconds: Mapping[str, Sequence[float]]) -> Figure:
    """Every timed run of every contender as a dot, medians as bars."""
    figure, axes = new(7.5, 1.4 + 0.5 * len(seconds))
    for row, (label, each) in enumerate(seconds.items()):
        colour, _ = STYLES[label]
        times = sorted(1e3 * second for second in each)
        middle = (times[(len(times) - 1) // 2] + times[len(times) // 2]) / 2
        axes.barh(row, middle, height=0.62, color=colour, alpha=0.3, label="median" if row == 0 else None)
        axes.plot(times, [row] * len(times), "|", color=colour, markersize=13, alpha=0.8)
        shown = f"{middle:.0f} ms" if middle >= 100 else f"{middle:.3g} ms"
        axes.annotate(shown, (max(times), row), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(seconds)), list(seconds))
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlim(left=0)
    axes.set_xlabel("time of one mean meta-gradient (ms); bar: median, strokes: single runs")
    axes.set_title(title, fontsize=10, loc="left")
    return figure


def against(
    title: str,
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]],
    x_label: str,
    y_label: str,
) -> Figure:
    """Label → (x, middle, low, high); both axes logarithmic, x ticks where there are points."""
    figure, axes = new(7.5, 4.8)
    for label, points in curves.items():
        colour, marker = STYLES[label]
        xs = [point[0] for point in points]
        axes.plot(xs, [p[1] for p in points], color=colour, marker=marker, markersize=6, linewidth=1.4, label=label)
        axes.fill_between(xs, [p[2] for p in points], [p[3] for p in points], color=colour, alpha=0.15, linewidth=0)
    _logarithmic(axes, [point[0] for points in curves.values() for point in points])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title, fontsize=10, loc="left")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def panels(
    title: str,
    curves: Sequence[Mapping[str, Sequence[tuple[float, float]]]],
    names: Sequence[str],
    x_label: str,
    y_label: str,
    styles: Mapping[str, tuple[str, str, str, float]],
) -> Figure:
    """Panels side by side with one legend; `styles` is label → (colour, marker, line, width); curves may coincide, and
    the widest should come first.
    """
    figure = Figure(figsize=(4.2 * len(curves) + 0.4, 5.0), layout="constrained")
    for axes, panel, name in zip(figure.subplots(1, len(curves)), curves, names, strict=True):
        for label, points in panel.items():
            colour, marker, line, width = styles[label]
            look = {"color": colour, "marker": marker, "linestyle": line, "linewidth": width, "alpha": 0.9}
            xs, ys = [point[0] for point in points], [point[1] for point in points]
            axes.plot(xs, ys, markersize=2.5 + 2.2 * width, label=label, **look)
        _logarithmic(axes, [point[0] for points in panel.values() for point in points])
        axes.set_axisbelow(True)
        axes.grid(visible=True, which="major", color="0.92")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_title(name, fontsize=10, loc="left")
    widest = max(range(len(curves)), key=lambda i: len(curves[i]))
    handles, labels = figure.axes[widest].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title, fontsize=11)
    return figure


def _logarithmic(axes: Axes, xs: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(xs))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
