"""The figure of `frontier`: error against rounds and against products, a row of panels for each stage of training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import figures

# family → colour (Okabe and Ito), marker, line style; dashed: needs the answer or the task before it is there
LOOKS: Mapping[str, tuple[str, str, str]] = {
    "Truncated": ("#D55E00", "v", "-"),
    "Binomial": ("0.55", "o", "-"),
    "Binomial, scale paper": ("#56B4E9", "^", "-"),
    "Binomial, center auto": ("#0072B2", "D", "-"),
    "Parallel": ("#8B4513", ">", "-"),
    "Split, exact late": ("#000000", "s", "-"),
    "Split, exact early": ("#000000", "s", ":"),
    "groups": ("#009E73", "d", "-"),
    "Chebyshev weights": ("#E69F00", "P", "-"),
    "kept from other tasks, auto": ("#0072B2", "h", ":"),
    "kept from other tasks, groups": ("#009E73", "h", ":"),
    "first link deflated, auto": ("#CC79A7", "X", "-"),
    "the first link in every round, auto": ("#8B4513", "<", "-"),
    "center of each link, in hindsight": ("#CC79A7", "*", "--"),
    "weights of the orders, in hindsight": ("#E69F00", "*", "--"),
}


ROUNDING = 1e-12
"""Errors below this are exact."""


def draw(path: Path, rows: Sequence[Mapping[str, Any]], steps: int, *, title: str) -> Path:
    """Write the figure; of each family what is better than everything cheaper, above rounding."""
    at = list(dict.fromkeys(row["meta_steps"] for row in rows))
    figure = Figure(figsize=(11.0, 0.9 + 3.3 * len(at)), layout="constrained")
    panels = figure.subplots(len(at), 2, squeeze=False, sharey="row")
    for stage, (left, right) in zip(at, panels, strict=True):
        here = [row for row in rows if row["meta_steps"] == stage]
        for axes, cost, words in ((left, "rounds", "rounds of products, one after another"), (right, "products", "")):
            _panel(axes, here, cost)
            axes.axvline(steps, color="0.4", linestyle="--", linewidth=1.0, label="Exact (error 0)")
            axes.set_xlabel(words or "products")
            axes.set_title(f"{title}: after {stage} meta-steps", fontsize=9, loc="left")
        left.set_ylabel("relative error of one task's\nmeta-gradient (median)")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figures.save(figure, path)


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], cost: str) -> None:
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", color="0.92")
    axes.set_yscale("log")
    for family, (colour, marker, style) in LOOKS.items():
        best: dict[int, float] = {}
        for row in sorted((row for row in rows if row["family"] == family), key=lambda row: (row[cost], row["error"])):
            if ROUNDING < row["error"] < min(best.values(), default=float("inf")):
                best.setdefault(row[cost], row["error"])
        if not best:  # more steps than a family is looked at for
            continue
        look = {"color": colour, "marker": marker, "linestyle": style, "markersize": 5, "linewidth": 1.1}
        axes.plot(list(best), list(best.values()), label=family, alpha=0.9, **look)
    axes.xaxis.get_major_locator().set_params(integer=True)
