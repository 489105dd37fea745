"""What can be typed, read from files that are written when it changes: `list` and typos need no torch.

`python -m metagrad.make_surface` writes surface.json, and studies.json beside each package of studies that has one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metagrad.experiments.calls import Call, plain, read, unknown_field
from metagrad.experiments.options import Line, unknown

FILE = Path(__file__).parent / "surface.json"
STUDIES = "studies.json"


@cache
def surface() -> Mapping[str, Any]:
    """Presets, parts and their options, as `make_surface.described` gives them."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def studies() -> dict[str, Mapping[str, Any]] | None:
    """Title, source and sizes of each study; None where a package of studies does not list them in a file."""
    listed: dict[str, Mapping[str, Any]] = {}
    for entry in entry_points(group="metagrad.studies"):
        spec = find_spec(entry.module.partition(".")[0])
        path = Path(spec.origin).parent / STUDIES if spec and spec.origin else None
        if path is None or not path.is_file():
            return None
        listed |= json.loads(path.read_text(encoding="utf-8"))
    return listed


def preset_named(name: str) -> str:
    """The preset's name as listed, from one with other hyphens (omniglot-5way1shot).

    Raises:
        ValueError: there is none; the sentence has those that are near.
    """
    known = surface()["presets"]
    found = next((preset for preset in known if plain(preset) == plain(name)), None)
    if found is None:
        raise unknown("preset", name, known)
    return found


def options(preset: str, values: Mapping[str, str]) -> list[Line]:
    """The options of a preset whose parts are those asked for, by name alone.

    Args:
        preset: its name.
        values: what was typed, by field.

    Raises:
        ValueError: an unknown preset or part, or a part without such a field.
    """
    listed = list(_lines(surface()["presets"][preset_named(preset)]["options"]))
    done: set[str] = set()
    while asked := next((line for line in listed if line.part and line.path in values and line.path not in done), None):
        done.add(asked.path)
        try:
            kind = _kind(asked.path, "estimator")
            parts = list(_part(read(values[asked.path], surface()["examples"][kind]), kind, f"{asked.path}."))
        except ValueError as error:
            raise ValueError(f"--{asked.path.replace('_', '-')}: {error}") from error
        place = listed.index(asked)
        listed = [line for line in listed if not line.path.startswith(f"{asked.path}.")]
        listed[place + 1 : place + 1] = parts
    return listed


def _part(call: Call, kind: str, prefix: str) -> Iterator[Line]:
    """The options of a part as it was typed."""
    if call.module is not None:
        return
    parts = surface()["parts"]
    names = {plain(name): name for name, part in parts.items() if part["kind"] == kind}
    aliases = surface()["aliases"] if call.bare and kind == "estimator" else {}
    name = names.get(plain(call.name)) or aliases.get(plain(call.name))
    if name is None:
        raise unknown("name", call.name, names.values())
    lines = list(_lines(parts[name]["options"]))
    known = [line.path for line in lines if "." not in line.path]
    for field in (field for field, _ in call.keywords if field not in known):
        raise unknown_field(name, field, known)
    given = {**dict(zip(known, call.positional, strict=False)), **dict(call.keywords)}
    for line in lines:
        head, dot, _ = line.path.partition(".")
        value = given.get(head)
        if not (dot and isinstance(value, Call)):
            yield replace(line, path=f"{prefix}{line.path}")
        if not dot and line.part and isinstance(value, Call):
            yield from _part(value, _kind(head, kind), f"{prefix}{head}.")


def _lines(options: Iterable[str]) -> Iterator[Line]:
    """From names, in which a colon follows those of parts."""
    return (Line(name.rstrip(":"), "", "", "", name.endswith(":")) for name in options)


def _kind(path: str, otherwise: str) -> str:
    name = path.rpartition(".")[2]
    return name if name in ("solver", "rule") else otherwise
