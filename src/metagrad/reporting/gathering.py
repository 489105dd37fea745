"""Everything in a directory that a report can show: found by the files that runs, comparisons and studies have."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metagrad.reporting.comparisons import MANIFEST as COMPARISON
from metagrad.reporting.comparisons import comparison
from metagrad.reporting.entry import Entry
from metagrad.reporting.reading import Note, Notes
from metagrad.reporting.runs import MANIFEST as RUN
from metagrad.reporting.runs import run
from metagrad.reporting.studies import study
from metagrad.studies import MANIFEST as STUDY
from metagrad.training.leftovers import PARTIAL

REPORT = "report.html"
"""The page's name where none is given."""

_OURS = re.compile(
    r"lock|\.gitignore|(metrics|records)\.jsonl|records\.csv|summary\.md|checkpoint\.pt|\w+\.safetensors|.*\.(json|png)"
)
_NAMED = 5  # foreign files that the note names


@dataclass(frozen=True)
class Gathered:
    """What was found.

    Args:
        name: of the directory, as commands in the page begin.
        entries: studies, comparisons, runs, each kind in the order of names, 2 before 10.
        notes: what could not be read.
    """

    name: str
    entries: Sequence[Entry]
    notes: Sequence[Note]


def gather(root: Path, page: Path) -> Gathered:
    """Look through `root` and all below it; `page` is where the report goes, and no foreign file.

    A study's cells belong to the study. Links to directories are not followed. Nothing is written.

    Raises:
        OSError: `root` itself cannot be listed.
    """
    os.listdir(root)
    name = root.resolve().name or "."
    notes, entries, taken, foreign = Notes(), list[Entry](), set[str](), list[str]()

    def unreadable(error: OSError) -> None:
        notes.append(Note(_below(root, Path(error.filename), name), f"cannot be read: {error.strerror}"))

    for at, folders, files in os.walk(root, onerror=unreadable):
        path = Path(at)
        shown = _below(root, path, name)
        for partial in sorted(entry for entry in (*folders, *files) if entry.endswith(PARTIAL)):
            notes.append(
                Note(f"{shown}/{partial}", "is half written: by a process that works here now, or one that was killed")
            )
        folders[:] = sorted(folder for folder in folders if not folder.startswith(".") and not folder.endswith(PARTIAL))
        ours = [manifest for manifest in (STUDY, COMPARISON, RUN) if manifest in files]
        for manifest in ours:
            place = name if path == root else f"{name}/{path.relative_to(root).as_posix()}"
            with notes.guarded(f"{shown}/{manifest}"):
                id = _id(manifest.partition(".")[0].replace("config", "run"), shown, taken)
                if manifest == STUDY:
                    entries.append(study(path, shown, id, notes))
                elif manifest == COMPARISON:
                    entries.append(comparison(path, shown, id, notes))
                else:
                    entries.append(run(path, shown, place, id, notes))
        if STUDY in ours:
            folders[:] = [folder for folder in folders if folder != "cells"]
        known = (lambda file: _OURS.fullmatch(file)) if ours else (lambda file: None)
        for file in sorted(files):
            if not known(file) and not file.endswith(PARTIAL) and path / file not in (page, root / REPORT):
                foreign.append(f"{shown}/{file}")
    if foreign:
        listed = ", ".join(foreign[:_NAMED]) + (", …" if len(foreign) > _NAMED else "")
        files = "1 file that is" if len(foreign) == 1 else f"{len(foreign)} files that are"
        notes.append(Note(name, f"has {files} of no run, comparison or study: {listed}"))
    order = ("study", "comparison", "run")
    entries.sort(key=lambda entry: (order.index(entry.kind), _natural(entry.name)))
    return Gathered(name, entries, notes)


def _below(root: Path, path: Path, name: str) -> str:
    return name if path == root else path.relative_to(root).as_posix()


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts run-2 before run-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _id(kind: str, name: str, taken: set[str]) -> str:
    """Readable, safe in an address, and unique."""
    wanted = re.sub(r"[^a-z0-9]+", "-", f"{kind}-{name}".lower()).strip("-")[:80]
    id, number = wanted, 1
    while id in taken:
        number += 1
        id = f"{wanted}--{number}"
    taken.add(id)
    return id
