"""JSON files: replaced whole, and read with a sentence for what is damaged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metagrad.opening import JSON_BYTES, read_bytes
from metagrad.training.files import replacing


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
        value = json.loads(read_bytes(path, JSON_BYTES).decode())
    except RecursionError as error:
        raise ValueError(f"{path} is damaged or foreign: its lists are nested too deeply") from error
    except ValueError as error:  # bad JSON and bad UTF-8 alike
        raise ValueError(f"{path} is damaged: it is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: it holds a {type(value).__name__} in place of a JSON object")
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
