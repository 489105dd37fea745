"""Studies run without a directory: records of all cells, for tests."""

from metagrad.training.progress import Silent
from metagrad_studies.study import Asked, Bench

SMALL, FULL = Asked(scale="small"), Asked(scale="full")


def measured(study, settings, directory, data=None):
    """The records of every cell, as a study directory would give them but for the times."""
    return [
        {**cell.values, **row}
        for cell in study.cells(settings)
        for row in study.measure(settings, cell, Bench(directory / cell.key, data, Silent()))
    ]


class With:
    """A study at other settings than those of its sizes; everything else is its own."""

    def __init__(self, study, settings):
        self._study, self._settings = study, settings

    def settings(self, asked):
        return self._settings

    def __getattr__(self, name):
        return getattr(self._study, name)
