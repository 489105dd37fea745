"""The page: entries into one HTML file that asks for nothing outside itself."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from metagrad import __version__
from metagrad.foreign import plain
from metagrad.reporting.entry import Entry, Kind
from metagrad.reporting.gathering import Gathered

GENERATOR = "metagrad report"
"""Stands in the head of every page, so that a page can be told from a file of the user's."""

_SECTIONS: Mapping[Kind, tuple[str, Sequence[str]]] = {
    "study": ("Studies", ("study", "what", "source", "size", "state", "claims")),
    "comparison": ("Comparisons", ("comparison", "setting", "estimators", "closest to exact", "its error")),
    "run": ("Runs", ("run", "state", "estimator", "meta-steps", "test loss", "test accuracy (%)")),
}


def html(gathered: Gathered, now: datetime) -> str:
    """The whole page as text; `now` is printed on it."""
    sections = [
        (kind, title, columns, [entry for entry in gathered.entries if entry.kind == kind])
        for kind, (title, columns) in _SECTIONS.items()
    ]
    environments = _environments(gathered.entries)
    return _template().render(
        generator=GENERATOR,
        version=__version__,
        made=now.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        name=gathered.name,
        notes=gathered.notes,
        sections=[section for section in sections if section[-1]],
        counts=_counts(gathered.entries),
        environments=environments,
        environment_of={entry.id: number for number, (_, users) in enumerate(environments, 1) for entry in users},
        number=_Numbers(),
    )


@functools.cache
def _template() -> Template:
    return Environment(
        loader=PackageLoader("metagrad.reporting"),
        autoescape=True,  # texts come from files of anyone
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html")


class _Numbers:
    """Running numbers of tables and figures."""

    def __init__(self) -> None:
        self._tables, self._figures = itertools.count(1), itertools.count(1)

    def table(self) -> int:
        return next(self._tables)

    def figure(self) -> int:
        return next(self._figures)


def _printable(value: Any) -> Any:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _counts(entries: Sequence[Entry]) -> Sequence[str]:
    """How many there are of each kind, and of each verdict."""
    counted: list[str] = []
    for kind, plural in (("study", "studies"), ("comparison", "comparisons"), ("run", "runs")):
        number = sum(entry.kind == kind for entry in entries)
        if number:
            counted.append(f"{number} {kind if number == 1 else plural}")
    words = [verdict.word for entry in entries for verdict in entry.verdicts]
    if words:
        parts = [f"{words.count(word)} {word}" for word in ("held", "did not hold", "undecided") if word in words]
        counted.append(f"{len(words)} {'claim' if len(words) == 1 else 'claims'}: {', '.join(parts)}")
    unfinished = sum(not entry.state.complete for entry in entries)
    return [*counted, f"{unfinished} not complete"] if unfinished else counted


def _environments(entries: Sequence[Entry]) -> list[tuple[Mapping[str, str], list[Entry]]]:
    """Distinct environments, each with the entries that were measured in it."""
    found: dict[tuple[tuple[str, str], ...], list[Entry]] = {}
    for entry in entries:
        if entry.environment:
            found.setdefault(tuple(entry.environment.items()), []).append(entry)
    return [(dict(pairs), users) for pairs, users in found.items()]
