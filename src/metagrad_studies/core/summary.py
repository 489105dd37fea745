"""What a study says, in words: claims beside measurements, tables, settings and the command."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from metagrad.studies import VERDICTS
from metagrad.training.progress import duration
from metagrad_studies.core.study import Finding, Listing, Request, Study


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
