"""The studies of a package, by the names that users type: what an entry point of the group `metagrad.studies` names."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from metagrad.terminal import SECONDS_BETWEEN_LINES
from metagrad_studies.core.progress import CellBars, CellLines
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Finding, Request, Study


class Catalogue(Mapping[str, Study[Any]]):
    """Studies that are imported when they are looked up.

    Args:
        package: whose modules they are; a study is the module's `STUDY`.
        names: as typed; the module has underscores in place of hyphens.
    """

    def __init__(self, package: str, names: Sequence[str]) -> None:
        self._package, self._names = package, tuple(names)

    def __getitem__(self, name: str) -> Study[Any]:
        if name not in self._names:
            raise KeyError(name)
        return import_module(f"{self._package}.{name.replace('-', '_')}").STUDY

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def carry_out(
        self, name: str, path: Path, command: str, console: Console, jobs: int, **request: Any
    ) -> Sequence[Finding]:
        """Measure a study in `path`, or go on there, and tell the console how it goes; see `runner.carry_out`.

        Args:
            name: of the study.
            path: its directory.
            command: what reproduces this.
            console: a bar in a terminal, lines elsewhere.
            jobs: processes that measure at the same time.
            request: the fields of `Request`.
        """
        watcher = CellBars(console) if console.is_terminal else CellLines(console, SECONDS_BETWEEN_LINES)
        with watcher as watching:
            return carry_out(self[name], Request(**request), path, command, watching, jobs)
