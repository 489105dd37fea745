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
    """Studies that are imported when they are looked up: each is the `STUDY` of a module of the package.

    The module is named as the study is typed, with underscores in place of hyphens.
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
        """Measure a study in `path`, or go on there, as `runner.carry_out`; `request` holds the fields of `Request`.

        The console is told how it goes: by bars in a terminal, lines elsewhere.
        """
        watcher = CellBars(console) if console.is_terminal else CellLines(console, SECONDS_BETWEEN_LINES)
        with watcher as watching:
            return carry_out(self[name], Request(**request), path, command, watching, jobs)
