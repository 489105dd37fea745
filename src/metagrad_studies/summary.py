"""What a study says, in words: claims beside measurements, tables, settings and the command."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from metagrad_studies.study import Asked, Finding, Listing, Study


def text(
    study: Study[Any],
    asked: Asked,
    settings: Any,
    command: str,
    findings: Sequence[Finding],
    listings: Sequence[Listing],
    seconds: float,
) -> str:
    """The study as a page of Markdown."""
    size = f"{asked.scale} size" + (", protocol as published" if asked.as_published else "")
    parts = [f"# {study.title}", f"Source: {study.source}. {size.capitalize()}, {duration(seconds)} of measuring."]
    parts.append(f"```\n{command}\n```")
    for finding in findings:
        parts.append(
            f"**Claim.** {finding.claim}\n\n**Measured.** {finding.measured}\n\n**Held here:** {verdict(finding)}."
        )
    parts.append(f"![{study.title}](figure.png)")
    parts += [markdown(listing) for listing in listings]
    if study.choices:
        parts.append("## What the source leaves open\n\n" + "\n".join(f"- {choice}" for choice in study.choices))
    parts.append("## Settings\n\n" + "\n".join(f"- {name}: {value}" for name, value in asdict(settings).items()))
    return "\n\n".join(parts) + "\n"


def result(findings: Sequence[Finding], listings: Sequence[Listing], seconds: float) -> dict[str, Any]:
    """The same for programs."""
    return {
        "findings": [asdict(finding) for finding in findings],
        "tables": [asdict(listing) for listing in listings],
        "seconds": seconds,
    }


def markdown(listing: Listing) -> str:
    """A table in Markdown, its title above."""
    rows = [listing.columns, ("---",) * len(listing.columns), *listing.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return f"**{listing.title}**\n\n" + "\n".join(lines)


def verdict(finding: Finding) -> str:
    """Yes, no or undecided."""
    return "undecided" if finding.held is None else "yes" if finding.held else "no"


def duration(seconds: float) -> str:
    """Seconds below two minutes, then minutes, then hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
