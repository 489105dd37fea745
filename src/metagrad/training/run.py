"""A run on disk: one directory that can be killed at any moment, opened again and continued to the bit.

    config.json        what was asked for, and with which versions
    metrics.jsonl      one JSON object a meta-step ("kind": "train"), a validation ("validation"), a look at the true
                       error of the estimator ("probe"), a choice of estimator="auto" ("choice"), a warning ("warning")
    checkpoint.pt      all that training needs to go on, with the length of metrics.jsonl at that moment
    best.safetensors   weights with the best validation value so far
    last.safetensors   weights at the latest checkpoint
    lock               taken by the process that trains

Nothing in it is ever executed: JSON, safetensors, and a checkpoint read with `weights_only=True`.
"""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from metagrad import opening
from metagrad.training.files import flush, flush_directory, replacing
from metagrad.training.json_files import finite, read_json, write_json
from metagrad.training.leftovers import RESULT_FILES, RUN_FILES, new_partial_directory, remove_files
from metagrad.training.locking import Lock, lock
from metagrad.training.surroundings import surroundings

FORMAT = 1
"""Version of the directory's layout; a reader refuses any other."""

_CONFIG, _METRICS, _CHECKPOINT = "config.json", "metrics.jsonl", "checkpoint.pt"
_HUGE = 1e100  # numbers beyond it are no measurement
_LARGEST = 2**36  # bytes of weights or of a checkpoint, where nothing is known of the model
_DIGEST = 32  # bytes of SHA-256 before what torch saved


@dataclass(frozen=True)
class Run:
    """A run directory to read from: nothing here writes, takes the lock, or needs it.

    Raises:
        ValueError: the path is no run directory, or a file in it is damaged; the sentence names the file.
    """

    path: Path

    def __post_init__(self) -> None:
        if not opening.is_regular(self.path / _CONFIG):
            raise ValueError(f"{self.path} is not a run directory: it has no {_CONFIG}; `metagrad train` makes one")

    def config(self) -> dict[str, Any]:
        """The experiment's configuration as it was given to `create`."""
        manifest = read_json(self.path / _CONFIG)
        if manifest.get("format") != FORMAT or not isinstance(manifest.get("config"), dict):
            raise ValueError(
                f"{self.path / _CONFIG} has format {manifest.get('format')!r}, and this version of metagrad "
                f"reads format {FORMAT}; use the version named in that file"
            )
        return manifest["config"]

    def checkpoint(self, largest: int = _LARGEST) -> dict[str, Any]:
        """The latest checkpoint, as saved: CPU tensors, numbers and strings; refused where it has more bytes."""
        path = self.path / _CHECKPOINT
        try:
            data = opening.read_bytes(path, largest)
            # torch does not verify what it reads: a flipped bit would come back as another weight.
            if hashlib.sha256(memoryview(data)[_DIGEST:]).digest() != data[:_DIGEST]:
                raise ValueError("its checksum differs")
            saved = _unpickled(data[_DIGEST:])
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ValueError(
                f"{path} is missing or damaged ({why}), so the run cannot be continued; "
                "its weights may still be in last.safetensors"
            ) from error
        form, counted = (saved.get("format"), saved.get("metrics_bytes")) if isinstance(saved, dict) else (None, None)
        if type(form) is not int or form != FORMAT or type(counted) is not int or counted < 0:
            raise ValueError(f"{path} is not a checkpoint of format {FORMAT}, so the run cannot be continued")
        return saved

    def weights(self, which: str = "best", largest: int = _LARGEST) -> dict[str, Tensor]:
        """The weights saved as `best` or `last`; refused where the file has more than `largest` bytes."""
        path = self.path / f"{which}.safetensors"
        try:
            return safetensors.torch.load(opening.read_bytes(path, largest))
        except (OSError, safetensors.SafetensorError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ValueError(f"the weights in {path} are missing or damaged ({why})") from error

    def metrics(self) -> list[dict[str, Any]]:
        """Every record of metrics.jsonl, in order: its "kind", its "step", and plain values by name.

        Raises:
            ValueError: a line is damaged, or holds something else.
        """
        path = self.path / _METRICS
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
        or not all(_is_plain(value) for value in record.values())
    ):
        raise ValueError(f"line {number} of {path} is damaged; `train --resume` repairs it, if it is the last")
    return record


def _is_plain(value: Any) -> bool:
    """Whether the value is one that `record` writes: numbers that a figure can show, texts, and numbers by name."""
    if isinstance(value, dict):
        return all(part is None or isinstance(part, int | float) for part in value.values())
    return value is None or isinstance(value, str) or (isinstance(value, int | float) and abs(value) < _HUGE)


def _unpickled(data: bytes) -> Any:
    """What `torch.save` wrote, as tensors and plain values; ValueError for anything else."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > len(data):
            raise ValueError("it would grow when it is read")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # There is no class for what torch and zipfile raise about a file's bytes: any error here is the file's.
    except Exception as error:
        raise ValueError(f"torch cannot read it: {type(error).__name__}") from error


class RunWriter:
    """The one process that trains in a run directory: appends metrics and replaces checkpoints.

    Use `create` or `resume`, as a context manager. Metrics reach the disk before the checkpoint that counts them,
    so after a kill at any moment `resume` cuts metrics.jsonl back to what the checkpoint knows, and the steps after
    it are done again: each is there once.
    """

    def __init__(self, path: Path, held: Lock) -> None:
        self.path = path
        self._held = held
        self._metrics = opening.appending(path / _METRICS)

    @classmethod
    def create(
        cls,
        path: Path,
        config: Mapping[str, Any],
        state: Mapping[str, Any],
        weights: Mapping[str, Tensor],
        command: str | None = None,
    ) -> Self:
        """Make a complete run at step 0: filled under another name, then renamed, so never seen half made.

        Args:
            path: where; its parents are made.
            config: the experiment's configuration, as JSON values.
            state: all that training needs to go on.
            weights: as they are before the first step.
            command: what was typed to make this run, kept for readers; None where nothing was.

        Raises:
            ValueError: `path` exists, or its parent cannot be written.
        """
        if os.path.lexists(path):
            raise ValueError(f"{path} exists already; continue it with --resume {path}, or choose another --out")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial, held = new_partial_directory(path)
        except OSError as error:
            raise ValueError(f"cannot make a run directory in {path.parent}: {error.strerror or error}") from error
        writer = cls(partial, held)
        try:
            typed = {} if command is None else {"command": command}
            write_json(partial / _CONFIG, {"format": FORMAT, **typed, **surroundings(), "config": dict(config)})
            writer.checkpoint(state, weights)
            os.rename(partial, path)
        except BaseException:
            writer.close()
            shutil.rmtree(partial, ignore_errors=True)
            raise
        flush_directory(path.parent)
        writer.path = path
        return writer

    @classmethod
    def resume(cls, path: Path, largest: int = _LARGEST) -> tuple[Self, dict[str, Any]]:
        """Take the run over where its checkpoint stands; returns the writer and that checkpoint.

        Args:
            path: the run directory.
            largest: most bytes that a checkpoint of this run can have.

        Raises:
            ValueError: no run directory, a damaged one, or another process is training in it.
        """
        run = Run(path)
        try:
            held = lock(path)
        except OSError as error:
            raise ValueError(f"cannot write to the run {path}: {error.strerror or error}") from error
        if held is None:
            raise ValueError(f"another process is training in {path}; wait for it, or stop it first")
        writer = cls(path, held)
        try:
            saved = run.checkpoint(largest)
            remove_files(path, (*RUN_FILES, *RESULT_FILES))
            writer._cut(saved["metrics_bytes"])
        except BaseException:
            writer.close()
            raise
        return writer, saved

    def amend(self, config: Mapping[str, Any]) -> None:
        """Replace the configuration in config.json; the versions of the machine that began the run stay.

        The command goes: what was typed then does not make this configuration.
        """
        manifest = read_json(self.path / _CONFIG)
        manifest.pop("command", None)
        write_json(self.path / _CONFIG, {**manifest, "config": dict(config)})

    def record(self, values: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl; NaN and infinities, which JSON lacks, are written as null."""
        line = json.dumps(finite(values), allow_nan=False, separators=(",", ":"))
        self._metrics.write(line.encode() + b"\n")
        self._metrics.flush()  # for whoever follows the file; `checkpoint` takes it to the disk

    def checkpoint(self, state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        """Replace last.safetensors, then checkpoint.pt; the records so far reach the disk before both."""
        flush(self._metrics)
        # Weights first: a kill between the two leaves weights that the repeated steps will write again.
        self.save_weights("last", weights)
        counted = {"format": FORMAT, "metrics_bytes": self._metrics.tell(), **state}
        payload = io.BytesIO()
        torch.save(counted, payload)
        with replacing(self.path / _CHECKPOINT) as file:
            file.write(hashlib.sha256(payload.getbuffer()).digest())
            file.write(payload.getbuffer())

    def save_weights(self, which: str, weights: Mapping[str, Tensor]) -> None:
        """Replace `<which>.safetensors`."""
        # Copies, because safetensors refuses tensors that share memory, as tied weights do.
        owned = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
        with replacing(self.path / f"{which}.safetensors") as file:
            file.write(safetensors.torch.save(owned))

    def _cut(self, known: int) -> None:
        length = self._metrics.seek(0, os.SEEK_END)
        if length < known:
            raise ValueError(
                f"{self.path / _METRICS} has {length} bytes where the checkpoint counts {known}: it was cut or "
                "replaced, so the run cannot be continued"
            )
        self._metrics.truncate(known)

    def close(self) -> None:
        """Let go of the directory; what was recorded since the last checkpoint stays until a resume cuts it."""
        self._metrics.close()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
