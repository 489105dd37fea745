"""Studies of installed packages: found by the entry points of the group `metagrad.studies`.

A package that brings studies names a catalogue there, in its pyproject.toml:

    [project.entry-points."metagrad.studies"]
    my_package = "my_package.catalogue:STUDIES"

`metagrad reproduce`, `list` and `report` know no more of a study than what stands here; `metagrad_studies.core` has
what one is made of.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

GROUP = "metagrad.studies"

FORMAT = 1
"""Version of the layout of a study's directory; a reader refuses any other."""

MANIFEST, RECORDS = "study.json", "records.jsonl"
"""Files of a study's directory: what is measured, and one JSON object a record."""


VERDICTS = {True: "yes", False: "no", None: "undecided"}
"""Whether a claim held, in words."""


class Study(Protocol):
    """What a study says of itself."""

    title: str
    """One line."""
    source: str
    """Paper and figure or table, or "ours"."""
    scales: tuple[str, ...]
    """The sizes that it has."""
    side_by_side: bool
    """Whether its cells are best measured by a process for each core."""
    tiny: bool
    """Whether its tensors are too small for threads to share, at every size."""
    choices: tuple[str, ...]
    """What its source leaves open, and what was chosen."""


class Finding(Protocol):
    """A claim, and what was measured."""

    claim: str
    measured: str
    held: bool | None
    """Whether the claim held; None where the records cannot tell."""


class Catalogue(Protocol):
    """The studies of one package, a mapping from names."""

    def __contains__(self, name: object, /) -> bool: ...
    def __getitem__(self, name: str, /) -> Study: ...
    def carry_out(
        self, name: str, path: Path, command: str, console: Console, jobs: int, **request: Any
    ) -> Sequence[Finding]:
        """Measure a study in `path`, or go on there; `request` holds its scale, data and as_published."""
        ...


def catalogues() -> Mapping[str, Catalogue]:
    """The catalogue that each study is in, by the study's name.

    Raises:
        ValueError: two packages have a study of the same name, or metagrad was installed before it had entry points.
    """
    by_name: dict[str, Any] = {}
    for entry in entry_points(group=GROUP):
        catalogue = entry.load()
        if twice := [name for name in catalogue if name in by_name]:
            raise ValueError(f"two installed packages have a study named {twice[0]!r}; uninstall one of them")
        by_name |= dict.fromkeys(catalogue, catalogue)
    if not by_name:
        raise ValueError("no studies are installed; install metagrad again: pip install -e . from its sources")
    return by_name


def packages() -> set[str]:
    """The packages that the studies come from."""
    return {entry.module.partition(".")[0] for entry in entry_points(group=GROUP)}
