"""Studies run without a directory: records of all cells, for tests."""

from metagrad.training.progress import Silent
from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Bench, Request

SMALL, FULL = Request(scale="small"), Request(scale="full")


def measured(study, settings, directory, data=None):
    """The records of every cell, as a study directory would give them but for the times."""
    return Records(
        {**cell.values, **row}
        for cell in study.cells(settings)
        for row in study.measure(settings, cell, Bench(directory / cell.key, data, Silent()))
    )


class With:
    """A study at other settings than those of its sizes; everything else is its own."""

    def __init__(self, study, settings):
        self._study, self._settings = study, settings

    def settings(self, request):
        return self._settings

    def __getattr__(self, name):
        return getattr(self._study, name)
