"""The presets' own networks late in training.   python -m benchmarks.late

The questions of `metagrad reproduce error-grid`, asked of its networks after more meta-steps than its medium size has:
trained with Exact at the step size that is measured and a constant meta learning rate, errors of single tasks of the
validation classes, in float64. METAGRAD_DATA names the data. --out is the directory of a study: whatever stops it, the
same command goes on from the last complete cell, and from the checkpoint of one that trains.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from metagrad import checks, terminal
from metagrad.experiments.problem import DATA_VARIABLE
from metagrad_studies.error_grid import ErrorGrid
from metagrad_studies.grid_records import ErrorGridSettings
from metagrad_studies.progress import CellLines
from metagrad_studies.runner import carry_out
from metagrad_studies.study import Asked, Cell
from metagrad_studies.summary import verdict

SIZE = "medium"  # of the grid: its number of probes, and no compiling


@dataclass(frozen=True)
class Late(ErrorGrid):
    """`error-grid` with numbers of its user's.

    Args:
        networks: presets, of those that the grid has.
        alphas: inner step sizes; what stops early has all networks at the first of them.
        num_steps: K.
        meta_steps: after which is measured.
        tasks: held-out tasks for each seed.
        seeds: of weights and tasks.
    """

    name: ClassVar[str] = "late"
    title: ClassVar[str] = "Errors late in training"

    networks: tuple[str, ...]
    alphas: tuple[float, ...]
    num_steps: int
    meta_steps: int
    tasks: int
    seeds: tuple[int, ...]

    def settings(self, asked: Asked) -> ErrorGridSettings:
        """The grid's, but for these numbers.

        Raises:
            ValueError: a network that the grid lacks, or data that are not there.
        """
        grid = super().settings(asked)
        here = {network.name: network for network in grid.networks}
        if missing := [name for name in self.networks if name not in here]:
            raise ValueError(f"no {', '.join(missing)} here, only {', '.join(here)}; {DATA_VARIABLE} names the data")
        numbers = {"num_steps": (self.num_steps,), "stages": (self.meta_steps,), "tasks": self.tasks}
        networks = tuple(replace(here[name], alphas=self.alphas, **numbers) for name in self.networks)
        return replace(grid, networks=networks, seeds=self.seeds)

    def cells(self, settings: ErrorGridSettings) -> Sequence[Cell]:
        """Those of the grid, by step size."""
        return sorted(super().cells(settings), key=lambda cell: self.alphas.index(cell.values["alpha"]))


def main() -> int:
    """Measure what is missing in --out, then tell all; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["omniglot-5way-1shot", "cifar-fs-5way-1shot"])
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.1, 0.4, 0.01], help="inner step sizes")
    parser.add_argument("--steps", type=int, default=5, help="inner steps K (5)")
    parser.add_argument("--meta-steps", type=int, default=1000, help="meta-steps of training (1000)")
    parser.add_argument("--tasks", type=int, default=20, help="held-out tasks for each seed (20)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[32])
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side (2)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/late"))
    given = parser.parse_args()
    console = terminal.console()
    command = shlex.join(("python", "-m", "benchmarks.late", *sys.argv[1:]))
    try:
        checks.integer("--steps", given.steps, least=3)  # the grid's questions are about the orders between 1 and K
        for name, value in {"meta-steps": given.meta_steps, "tasks": given.tasks, "jobs": given.jobs}.items():
            checks.integer(f"--{name}", value, least=1)
        # What is named twice is measured once.
        networks, alphas, seeds = (tuple(dict.fromkeys(each)) for each in (given.networks, given.alpha, given.seeds))
        study = Late(networks, alphas, given.steps, given.meta_steps, given.tasks, seeds)
        asked = Asked(scale=SIZE, data=os.environ.get(DATA_VARIABLE))
        watcher = CellLines(console, terminal.SECONDS_BETWEEN_LINES)
        findings = carry_out(study, asked, given.out, command, watcher, given.jobs)
    except ValueError as error:
        raise SystemExit(f"{parser.prog}: error: {error}") from error
    except KeyboardInterrupt:
        terminal.say(console, "interrupted; the same command goes on where it stopped")
        return terminal.INTERRUPTED
    for finding in findings:
        terminal.say(
            console, f"claim: {finding.claim}\n  measured: {finding.measured}\n  held here: {verdict(finding)}"
        )
    terminal.wrote(console, given.out / "summary.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
