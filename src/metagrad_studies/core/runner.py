"""A study carried out: every cell that has no records yet is measured, then figure, tables and text are made."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metagrad.experiments.figures import save
from metagrad.studies import VERDICTS
from metagrad.training.files import replacing
from metagrad.training.json_files import write_json
from metagrad.training.progress import duration
from metagrad_studies.core.directory import StudyDirectory
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Cell, Finding, Listing, Request, Study
from metagrad_studies.core.workers import measured


def text(
    study: Study[Any],
    request: Request,
    settings: Any,
    command: str,
    findings: Sequence[Finding],
    listings: Sequence[Listing],
    seconds: float,
) -> str:
    """The study as a page of Markdown."""
    size = f"{request.scale} size" + (", protocol as published" if request.as_published else "")
    parts = [f"# {study.title}", f"Source: {study.source}. {size.capitalize()}, {duration(seconds)} of measuring."]
    parts.append(f"```\n{command}\n```")
    for finding in findings:
        parts += [f"**Claim.** {finding.claim}", f"**Measured.** {finding.measured}"]
        parts.append(f"**Held here:** {VERDICTS[finding.held]}.")
    parts.append(f"![{study.title}](figure.png)")
    parts += [markdown(listing) for listing in listings]
    if study.choices:
        parts.append("## What the source leaves open\n\n" + "\n".join(f"- {choice}" for choice in study.choices))
    parts.append("## Settings\n\n" + "\n".join(f"- {name}: {value}" for name, value in asdict(settings).items()))
    return "\n\n".join(parts) + "\n"


def markdown(listing: Listing) -> str:
    """A table in Markdown, its title above."""
    rows = [listing.columns, ("---",) * len(listing.columns), *listing.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return f"**{listing.title}**\n\n" + "\n".join(lines)


def carry_out(
    study: Study[Any], request: Request, path: Path, command: str, watcher: Watcher, jobs: int = 1
) -> Sequence[Finding]:
    """Measure what is missing in the study directory `path`, then write its figure, tables and text.

    Interrupted or killed at any moment, it goes on from the last complete cell when called again with the same
    arguments; a cell that trains goes on from its run's checkpoint. A complete study is only written out again. The
    watcher hears of cells once nothing is refused any more, and with one job of the training in them.

    Raises:
        ValueError: a size that the study does not have, missing data, a foreign or damaged directory, another process
            in it, or a cell that failed.
    """
    if request.scale not in study.scales:
        raise ValueError(f"{study.name} has the sizes {', '.join(study.scales)}, not {request.scale}")
    if request.as_published and not study.corrected:
        raise ValueError(f"{study.name} is measured as it was published anyway; leave out --as-published")
    settings = study.settings(request)
    cells = study.cells(settings)
    _check(cells)
    with StudyDirectory.open(path, study, request, settings, command) as directory:
        records = directory.records()
        todo = [cell for cell in cells if cell.key not in records]
        watcher.planned(path, len(cells) - len(todo), len(cells))
        for cell, fresh, seconds in measured(study, settings, todo, directory.cell, request.data, watcher, jobs):
            directory.add(cell.key, [{**cell.values, **record, "cell_seconds": seconds} for record in fresh])
            watcher.ended(cell.key, seconds)
        records = directory.records()  # as they are on the disk: what a later call would see
        ordered = {cell.key: records[cell.key] for cell in cells}
        flat = Records(record for group in ordered.values() for record in group)
        findings = study.findings(settings, flat)
        listings = study.listings(settings, flat)
        seconds = sum(group[0]["cell_seconds"] for group in ordered.values())
        directory.write_csv(ordered)
        save(study.figure(settings, flat), path / "figure.png")
        said = {"findings": [*map(asdict, findings)], "tables": [*map(asdict, listings)], "seconds": seconds}
        write_json(path / "result.json", said)
        with replacing(path / "summary.md") as file:
            file.write(text(study, request, settings, command, findings, listings, seconds).encode())
    return findings


def _check(cells: Sequence[Cell]) -> None:
    keys = [cell.key for cell in cells]
    if not cells or len(set(keys)) < len(keys):
        raise AssertionError(f"a study needs cells with unique keys, got {keys}")
    for key in keys:
        if not key or not all(letter.isalnum() or letter in ".=,_-" for letter in key) or key.startswith("."):
            raise AssertionError(f"the key {key!r} is no name of a directory")
