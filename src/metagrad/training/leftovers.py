"""What a killed writer leaves half written: found by name and by content, and only that is ever deleted.

A file is written as `NAME.TOKEN.partial` beside its place, a directory as `.NAME.TOKEN.partial`, then renamed.
"""

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from metagrad import opening
from metagrad.training.locking import LOCK, Lock, lock

PARTIAL = ".partial"
"""Ending of a file or directory that is still being written."""

_TOKEN = r"[0-9a-f]{8}"
_BEGINS: dict[str, tuple[int, bytes]] = {
    ".json": (0, b"{"),
    ".csv": (0, b"cell"),
    ".md": (0, b"# "),
    ".html": (0, b"<!DOCTYPE html>"),
    ".png": (0, b"\x89PNG\r\n\x1a\n"),
    ".safetensors": (8, b'{"'),
    ".pt": (32, b"PK\x03\x04"),
}
"""Where and how a file begins that this program writes under a name with this ending."""

RUN_FILES = ("config.json", "checkpoint.pt", "best.safetensors", "last.safetensors")
"""What is replaced in a run directory while it trains; results are written once it has ended."""

RESULT_FILES = ("test.json", "adaptation.png", "training.png")
"""What is replaced in a run directory when it is tested."""

STUDY_FILES = ("study.json", "records.csv", "figure.png", "result.json", "summary.md")
"""What is replaced in the directory of a study."""

_IN_NEW_DIRECTORIES = (*RUN_FILES, *STUDY_FILES)
_EMPTY_IN_NEW_DIRECTORIES = (LOCK, "metrics.jsonl", "records.jsonl")


def partial_name(name: str) -> str:
    """A new name for what will be `name`."""
    return f"{name}.{secrets.token_hex(4)}{PARTIAL}"


def remove_files(directory: Path, names: Iterable[str]) -> None:
    """Delete what was half written for one of `names` and begins as this program writes it; the caller has the lock."""
    for leftover in list(os.scandir(directory)):
        name = leftover.name
        target = re.fullmatch(rf"(.*?)(\.{_TOKEN})?{re.escape(PARTIAL)}", name, re.DOTALL)
        if target is not None and target[1] in names and _is_ours(directory / name, target[1]):
            os.unlink(leftover)


def new_partial_directory(target: Path) -> tuple[Path, Lock]:
    """A locked directory beside `target`, to be filled and renamed to it; leftovers of dead writers go."""
    ours = re.compile(re.escape(f".{target.name}.") + _TOKEN + re.escape(PARTIAL))
    for leftover in list(os.scandir(target.parent)):
        if ours.fullmatch(leftover.name) and leftover.is_dir(follow_symlinks=False):
            _remove_directory(target.parent / leftover.name)
    partial = target.parent / partial_name(f".{target.name}")
    partial.mkdir()
    held = lock(partial)
    if held is None:
        raise OSError(f"{partial} was taken by another process while it was being made; try again")
    return partial, held


def _remove_directory(path: Path) -> None:
    """Delete a directory of files that this program writes, if nobody fills it."""
    files = list(os.scandir(path))
    if LOCK not in (file.name for file in files) or not all(_belongs(path / file.name) for file in files):
        return
    held = lock(path)
    if held is None:
        return
    with held:
        for file in files:
            os.unlink(file)
        path.rmdir()


def _belongs(path: Path) -> bool:
    """Whether a file is one that a directory holds before it gets its name."""
    if path.name in _EMPTY_IN_NEW_DIRECTORIES:
        return opening.is_regular(path) and os.lstat(path).st_size == 0
    target = re.fullmatch(rf"(.*?)(\.{_TOKEN}{re.escape(PARTIAL)})?", path.name, re.DOTALL)
    return target is not None and target[1] in _IN_NEW_DIRECTORIES and _is_ours(path, target[1])


def _is_ours(path: Path, target: str) -> bool:
    """Whether a regular file is empty, or begins as this program begins a file of the target's name."""
    if not opening.is_regular(path):
        return False
    at, begin = _BEGINS[Path(target).suffix]
    with opening.reading(path, 2**63) as file:
        head = file.read(at + len(begin))
    return not head or head[at:] == begin
