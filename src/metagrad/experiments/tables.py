"""Results as tables for the terminal."""

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from metagrad.experiments.compare import Row
from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import short
from metagrad.experiments.recommendation import policy, recommended
from metagrad.training.evaluation import HeldOut, Interval


def adaptation(result: HeldOut, train_steps: int) -> Table:
    """Loss and metrics on test tasks after each number of inner steps, with 95 % intervals."""
    table = Table(title=f"{result.tasks} test tasks, mean ± 95 % interval", title_justify="left")
    table.add_column("inner steps", justify="right")
    for name in result.values:
        table.add_column(_heading(name), justify="right")
    columns = [result.intervals(name) for name in result.values]
    for step, entries in enumerate(zip(*columns, strict=True)):
        note = " (before)" if step == 0 else " (as trained)" if step == train_steps else ""
        cells = [_measured(name, entry) for name, entry in zip(result.values, entries, strict=True)]
        table.add_row(f"{step}{note}", *cells)
    return table


def differences(intervals: Mapping[str, Sequence[Interval]], first: str, second: str) -> Table:
    """Paired differences by inner steps, first minus second."""
    table = Table(title=escape(f"{first} minus {second}, same tasks, mean ± 95 % interval"), title_justify="left")
    table.add_column("inner steps", justify="right")
    for name in intervals:
        table.add_column(_heading(name), justify="right")
    for step, entries in enumerate(zip(*intervals.values(), strict=True)):
        table.add_row(str(step), *(_measured(n, e, signed=True) for n, e in zip(intervals, entries, strict=True)))
    return table


def comparison(rows: Sequence[Row], config: Experiment) -> Table:
    """Estimators by error, cost, time and memory."""
    table = Table(
        title=f"K = {config.num_steps} inner steps, {config.meta_batch} tasks a meta-gradient, "
        f"after {config.meta_steps} meta-steps",
        title_justify="left",
    )
    table.add_column("estimator", overflow="fold")
    for name in ("error", "cosine", "products", "rounds", "solves", "ms", "MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        anchored = row.proximal is not None and config.proximal is None
        table.add_row(
            row.estimator + ("*" if anchored else ""),
            f"{row.error[1]:.2g}",
            f"{row.cosine:.4f}",
            str(row.products),
            str(row.rounds),
            str(row.solves),
            f"{1e3 * row.seconds:.1f}",
            f"{row.peak_bytes / 2**20:.1f}",
        )
    return table


def comparison_notes(rows: Sequence[Row], config: Experiment) -> list[str]:
    """What one has to know to read the comparison."""
    notes = [
        "error: ‖estimate − exact‖ / ‖exact‖ of one task's meta-gradient in float64, median over tasks; "
        "ms and MiB: one meta-gradient over the meta-batch; products, rounds and solves: per task.",
        "Reptile's direction is no gradient: compare its cosine, not its error.",
    ]
    decision = recommended(config, rows)
    if decision is not None:
        notes.append(f"{short(policy(config))} would take {short(decision.estimator)}: {decision.why}")
    anchored = {row.proximal for row in rows if row.proximal is not None and config.proximal is None}
    for strength in sorted(anchored):
        notes.append(
            f"* with a proximal term of strength {strength:g}, against Exact of that same inner problem; these "
            f"estimate the gradient at the inner solution, from which {config.num_steps} steps may be far."
        )
    return notes


def _heading(name: str) -> str:
    return "accuracy (%)" if name == "accuracy" else name


def _measured(name: str, entry: Interval, *, signed: bool = False) -> str:
    factor, digits = (100.0, 2) if name == "accuracy" else (1.0, 4)
    sign = "+" if signed else ""
    return f"{factor * entry.mean:{sign}.{digits}f} ± {factor * entry.half_width:.{digits}f}"
