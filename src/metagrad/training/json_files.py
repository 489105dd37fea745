"""JSON files: replaced whole, and read with a sentence for what is damaged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metagrad.opening import JSON_BYTES, read_bytes
from metagrad.training.files import replacing

_DEEPEST = 50  # lists and objects in one another


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as indented JSON, atomically; NaN and infinities become null."""
    text = json.dumps(finite(value), indent=2, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ValueError: it is damaged or something else.
        OSError: it is missing, no regular file, or too large.
    """
    try:
        text = read_bytes(path, JSON_BYTES).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged: it is not valid JSON ({error})") from error
    return parsed(text, str(path))


def parsed(text: str, where: str) -> dict[str, Any]:
    """A JSON object from a text; ValueError where it is damaged, something else, or nested as nothing of ours is."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{where} is damaged or foreign: its lists are nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{where} is damaged: it is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where} is damaged: it holds a {type(value).__name__} in place of a JSON object")
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        nests = [nest.values() if isinstance(nest, dict) else nest for nest in level]
        level = [part for nest in nests for part in nest if isinstance(part, dict | list)]
    if level:
        raise ValueError(f"{where} is damaged or foreign: its lists are nested too deeply")
    return value


def finite(value: Any) -> Any:
    """The same nest of dicts and lists with None for every float that JSON cannot write."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not (-float("inf") < value < float("inf")):
        return None
    return value
