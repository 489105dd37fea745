"""A run on disk: one directory that can be killed at any moment, opened again and continued to the bit.

    config.json        what was asked for, and with which versions, under a checksum
    metrics.jsonl      one JSON object a meta-step ("kind": "train"), a validation ("validation"), a look at the true
                       error of the estimator ("probe"), a choice of estimator="auto" ("choice"), a warning ("warning")
    checkpoint.pt      a checksum, then all that training needs to go on, config.json as it was at that moment, and the
                       length of metrics.jsonl
    best.safetensors   weights with the best validation value so far, their checksum in the header
    last.safetensors   weights at the latest checkpoint, likewise
    lock               taken by the process that trains

Nothing in it is ever executed: JSON, safetensors, and a checkpoint read with `weights_only=True`.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metagrad import opening
from metagrad.training import manifest
from metagrad.training.json_files import parsed
from metagrad.training.weights import read_weights

METRICS, CHECKPOINT = "metrics.jsonl", "checkpoint.pt"
DIGEST_BYTES = 32
"""Length of the SHA-256 before what torch saved."""

LARGEST = 2**36
"""Bytes of weights or of a checkpoint, where nothing is known of the model."""

_LARGEST_COMPARED = 2**28  # bytes of a checkpoint that is read only to say what was changed
_LARGEST_PICKLE = 2**23  # bytes of what is not tensors: each may become sixty
_HUGE = 1e100  # numbers beyond it are as good as infinite, and read as those are


@dataclass(frozen=True)
class Run:
    """A run directory to read from: nothing here writes, takes the lock, or needs it.

    Raises:
        ValueError: the path is no run directory, or a file in it is damaged; the sentence names the file.
    """

    path: Path

    def __post_init__(self) -> None:
        if not opening.is_regular(self.path / manifest.NAME):
            raise ValueError(
                f"{self.path} is not a run directory: it has no {manifest.NAME}; `metagrad train` makes one"
            )

    def config(self) -> dict[str, Any]:
        """The experiment's configuration as config.json has it; `changes` says whether it was given to `create`."""
        return self.manifest()["config"]

    def manifest(self) -> dict[str, Any]:
        """All of config.json."""
        return manifest.read_manifest(self.path)

    def changes(self) -> str:
        """What somebody else changed in config.json since it was written, in words; empty where it is as written."""
        now = self.manifest()
        if manifest.is_as_written(now):
            return ""
        try:
            before = self.checkpoint(_LARGEST_COMPARED)["manifest"].get("config")
        except ValueError as error:
            return f"something, and what cannot be told, because {error}"
        changed = manifest.differences(before, now["config"]) if isinstance(before, dict) else ""
        return changed or "something beside the configuration"

    def checkpoint(self, largest: int = LARGEST) -> dict[str, Any]:
        """The latest checkpoint, as saved: CPU tensors, numbers and strings; refused where it has more bytes."""
        path = self.path / CHECKPOINT
        try:
            data = opening.read_bytes(path, largest)
            # torch does not verify what it reads: a flipped bit would come back as another weight.
            if hashlib.sha256(memoryview(data)[DIGEST_BYTES:]).digest() != data[:DIGEST_BYTES]:
                raise ValueError("its checksum differs")
            saved = _unpickled(data[DIGEST_BYTES:])
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ValueError(
                f"{path} is missing or damaged ({why}), so the run cannot be continued; "
                "its weights may still be in last.safetensors"
            ) from error
        form, counted = (saved.get("format"), saved.get("metrics_bytes")) if isinstance(saved, dict) else (None, None)
        if type(form) is not int or form not in manifest.FORMATS or type(counted) is not int or counted < 0:
            raise ValueError(f"{path} is not a checkpoint that this version reads, so the run cannot be continued")
        made = saved.get("manifest", "{}")  # as text: what is read from it is JSON, whatever a pickle may hold
        saved["manifest"] = parsed(made if isinstance(made, str) else "", f"the configuration in {path}")
        return saved

    def weights(self, which: str = "best", largest: int = LARGEST) -> dict[str, Tensor]:
        """The weights saved as `best` or `last`; refused where the file has more than `largest` bytes."""
        summed = self.manifest()["format"] != 1
        return read_weights(self.path / f"{which}.safetensors", largest, summed)

    def metrics(self) -> list[dict[str, Any]]:
        """Every record of metrics.jsonl, in order: its "kind", its "step", and plain values by name.

        Raises:
            ValueError: a line is damaged, or holds something else.
        """
        path = self.path / METRICS
        return [_record(line, number, path) for number, line in enumerate(opening.lines(path), start=1)]


def _record(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if (
        not isinstance(record, dict)
        or not isinstance(record.get("kind"), str)
        or type(record.get("step")) is not int
        or not 0 <= record["step"] < _HUGE
        or not all(_is_plain(value) for value in record.values())
    ):
        raise ValueError(f"line {number} of {path} is damaged; `train --resume` repairs it, if it is the last")
    return {name: None if _is_number(value) and abs(value) >= _HUGE else value for name, value in record.items()}


def _is_plain(value: Any) -> bool:
    """Whether the value is one that `record` writes: numbers, texts, and numbers by name."""
    if isinstance(value, dict):
        return all(part is None or _is_number(part) for part in value.values())
    return value is None or isinstance(value, str) or _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _unpickled(data: bytes) -> Any:
    """What `torch.save` wrote, as tensors and plain values; ValueError for anything else."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > len(data):
            raise ValueError("it would grow when it is read")
        if not data.startswith(b"PK\x03\x04") or any(
            e.filename.endswith(".pkl") and e.file_size > _LARGEST_PICKLE for e in entries
        ):
            raise ValueError("it is no checkpoint of ours")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # There is no class for what torch and zipfile raise about a file's bytes: any error here is the file's.
    except Exception as error:
        raise ValueError(f"torch cannot read it: {type(error).__name__}") from error
