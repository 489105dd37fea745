"""config.json of a run: what was asked for and with which versions, under a checksum, and what differs from it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metagrad.training.json_files import finite, read_json, write_json

FORMATS = (1, 2)
"""Layouts of a run directory that are read: from 2 on every file that is read back has a checksum."""

NAME = "config.json"
_SUM = "sha256"
_MAJOR = ("metagrad", "torch")  # whose first number says that another version may compute something else
_SHOWN = 5  # differences in a message


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Replace config.json in directory `path`; in format 2 with its checksum."""
    values = finite({name: value for name, value in manifest.items() if name != _SUM})
    write_json(path / NAME, values if values["format"] == 1 else {**values, _SUM: _digest(values)})


def read_manifest(path: Path) -> dict[str, Any]:
    """config.json of directory `path`, whether its checksum is right or not.

    Raises:
        ValueError: it is damaged, or of a format that this version does not read.
        OSError: it is missing or no regular file.
    """
    manifest = read_json(path / NAME)
    form = manifest.get("format")
    if type(form) is not int or form not in FORMATS or not isinstance(manifest.get("config"), dict):
        raise ValueError(
            f"{path / NAME} has format {form!r}, and this version of metagrad reads formats "
            f"{' and '.join(map(str, FORMATS))}; use the version named in that file"
        )
    return manifest


def is_as_written(manifest: Mapping[str, Any]) -> bool:
    """Whether the checksum is right; format 1 had none."""
    if _SUM not in manifest:
        return manifest.get("format") == 1
    return manifest[_SUM] == _digest({name: value for name, value in manifest.items() if name != _SUM})


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two nests of JSON values, in words; empty where nothing does."""
    found = list(_differences(before, now, ""))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def other_versions(before: Any, now: Mapping[str, str]) -> str:
    """Which of metagrad and torch have another major version now, in words; empty where none has, or none is known."""
    known = before if isinstance(before, Mapping) else {}
    return ", ".join(
        f"{name} was {_brief(known[name])} and is {now[name]}"
        for name in _MAJOR
        if name in known and str(known[name]).partition(".")[0] != now[name].partition(".")[0]
    )


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _differences(before: Any, now: Any, at: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in [*before, *(name for name in now if name not in before)]:
            yield from _differences(before.get(name), now.get(name), f"{at}.{name}" if at else str(name))
    elif json.dumps(before) != json.dumps(now):  # 1, 1.0 and true are three things
        yield f"{at} was {_brief(before)} and is {_brief(now)}"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "…"
