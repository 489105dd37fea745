"""A study that costs nothing and counts what is measured: for tests of the machinery around studies."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from metagrad_studies.core.study import Cell, Finding, Listing, Request, Study

SMALL, FULL = Request(scale="small"), Request(scale="full")


@dataclass(frozen=True)
class CountingSettings:
    cells: int
    rows: int
    offsets: tuple[float, ...] = (0.5,)


def nothing(key):
    pass


def fail_at_the_second(key):
    if key == "cell=1":
        raise ValueError("at cell=1")


class Slow:
    """Takes a minute, and leaves files that say in which process it began and was interrupted."""

    def __init__(self, directory):
        self.directory = Path(directory)

    def __call__(self, key):
        (self.directory / f"began-{os.getpid()}").touch()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            (self.directory / f"interrupted-{os.getpid()}").touch()
            raise


class Counting(Study):
    """`cells` cells of `rows` records each; `before(key)` is called when one is measured."""

    name, title, source = "counting", "Numbers | counted", "ours"
    choices = ("The numbers are not stated; ours start at zero.",)

    def __init__(self, cells=3, rows=2, before=nothing):
        self._cells, self._rows, self._before = cells, rows, before
        self.measured = []

    def settings(self, request):
        return CountingSettings(self._cells * (2 if request.scale == "full" else 1), self._rows)

    def cells(self, settings):
        return [Cell(f"cell={i}", {"number": i}) for i in range(settings.cells)]

    def measure(self, settings, cell, bench):
        self._before(cell.key)
        self.measured.append(cell.key)
        number = cell.values["number"]
        rows = [{"row": j, "value": number + settings.offsets[0]} for j in range(settings.rows)]
        rows[-1] |= {"list": [1.0, 2.0], "missing": float("nan")}
        return rows

    def figure(self, settings, records):
        figure = Figure()
        figure.subplots().plot([r["value"] for r in records])
        return figure

    def listings(self, settings, records):
        return [Listing("Values", ("number", "a|b"), tuple((str(r["number"]), str(r["value"])) for r in records))]

    def findings(self, settings, records):
        return [
            Finding("They grow.", f"{len(records)} records.", True),
            Finding("They shrink.", "They grow.", False),
            Finding("They matter.", "Nobody can tell.", None),
        ]
