"""Writes what can be typed into files that are read without torch: `python -m metagrad.make_surface`."""

import json
import re
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metagrad.estimators import families
from metagrad.experiments.calls import plain
from metagrad.experiments.expression import KINDS, parse, short
from metagrad.experiments.presets import PRESETS
from metagrad.experiments.settings import lines
from metagrad.surface import FILE, STUDIES


def described() -> dict[str, Any]:
    """Presets and parts of this package with their options, and other names of estimators."""
    return {
        "presets": {
            name: {
                "about": _first_line(preset),
                "estimator": short(preset().estimator),
                "options": _options(preset()),
            }
            for name, preset in PRESETS.items()
        },
        "parts": {
            cls.__name__: {
                "kind": kind.noun,
                "about": _first_line(cls),
                "usual": short(parse(cls.__name__, kind)),
                "options": _options(parse(cls.__name__, kind)),
            }
            for kind in KINDS
            for cls in kind.classes()
            if _shipped(cls)
        },
        "aliases": {
            plain(name): type(member).__name__ for name, member in families.names().items() if _shipped(type(member))
        },
        "examples": {kind.noun: kind.example for kind in KINDS},
    }


def studies(catalogue: Any) -> dict[str, Any]:
    """What a catalogue of studies has."""
    return {
        name: {"title": study.title, "source": study.source, "scales": list(study.scales)}
        for name, study in catalogue.items()
    }


def texts() -> dict[Path, str]:
    """Every file with what it should hold; of packages of studies those that have the file."""
    written = {FILE: _json(described())}
    for entry in entry_points(group="metagrad.studies"):
        spec = find_spec(entry.module.partition(".")[0])
        path = Path(spec.origin).parent / STUDIES if spec and spec.origin else None
        if path is not None and path.is_file():
            written[path] = _json(studies(entry.load()))
    return written


def _options(config: object) -> list[str]:
    """Names, with a colon after those of parts."""
    return [f"{line.path}{':' if line.part else ''}" for line in lines(config)]


def _json(value: Any) -> str:
    """Indented, with lists on one line."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([^\]]*?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text) + "\n"


def _shipped(cls: type) -> bool:
    return cls.__module__.startswith("metagrad.")


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
