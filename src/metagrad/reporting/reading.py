"""Reading files that may be damaged, half written, or somebody else's: a value, or one sentence about what is wrong."""

import contextlib
import json
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metagrad.opening import JSON_BYTES, lines, read_bytes

_LONGEST = 300  # characters of a value in a table or a sentence


@dataclass(frozen=True)
class Note:
    """Something in the directory that the page cannot show: where, and a sentence."""

    where: str
    text: str


class Notes(list[Note]):
    """Everything that could not be read."""

    @contextlib.contextmanager
    def guarded(self, where: str) -> Generator[None]:
        """What cannot be read in here becomes a note, and the rest of the page goes on."""
        try:
            yield
        except OSError as error:
            self.append(Note(where, f"cannot be read: {error.strerror or error}"))
        except (ValueError, OverflowError) as error:
            self.append(Note(where, brief(str(error))))
        # Files of strangers meet code that was written for ours: whatever that raises costs what is read here, no more.
        except Exception as error:
            self.append(Note(where, brief(f"cannot be shown ({type(error).__name__}: {error})")))


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; ValueError where the file holds something else."""
    try:
        value = json.loads(read_bytes(path, JSON_BYTES))
    except RecursionError as error:
        raise ValueError("is damaged or foreign: its lists are nested too deeply") from error
    except ValueError as error:  # bad JSON and bad UTF-8 alike
        raise ValueError(f"is damaged or half written: it is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"is damaged or foreign: it holds a {type(value).__name__} in place of a JSON object")
    return value


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Number and JSON object of each line; None in place of an object where the line is damaged.

    Raises:
        OSError: the file is missing, no regular file, or too large.
    """
    for number, line in enumerate(lines(path), start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        yield number, value if isinstance(value, dict) else None


def damaged_lines(damaged: Sequence[int], last: int) -> str:
    """A sentence about lines that could not be read, by their numbers; the last is torn when a writer is killed."""
    if list(damaged) == [last]:
        return f"line {last}, the last, is half written; it is left out"
    return f"{len(damaged)} of {last} lines are damaged, the first is {damaged[0]}; they are left out"


def text(values: Mapping[str, Any], name: str) -> str:
    """A text; ValueError where there is none."""
    value = values.get(name)
    if not isinstance(value, str):
        raise ValueError(f"is damaged or foreign: its {name!r} should be a text, and is {shown(value)}")
    return value


def nested(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A JSON object inside another; ValueError where there is none."""
    value = values.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"is damaged or foreign: its {name!r} should be an object, and is {shown(value)}")
    return value


def many(values: Mapping[str, Any], name: str) -> list[Any]:
    """A list; ValueError where there is none."""
    value = values.get(name)
    if not isinstance(value, list):
        raise ValueError(f"is damaged or foreign: its {name!r} should be a list, and is {shown(value)}")
    return value


def number(value: Any) -> float:
    """A number; NaN for None, which is how a NaN is written; ValueError for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is damaged or foreign: it should have a number, and has {shown(value)}")
    return float(value)


def shown(value: Any) -> str:
    """Any JSON value as a short text."""
    if isinstance(value, str):
        return brief(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else brief(json.dumps(value, ensure_ascii=False))


def brief(value: str) -> str:
    """The text, cut where it is too long for a cell."""
    return value if len(value) <= _LONGEST else value[:_LONGEST] + "…"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and texts of a nest of JSON objects."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", shown(value)
