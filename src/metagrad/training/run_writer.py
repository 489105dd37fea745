"""Writing a run directory: made at once, appended to and replaced file by file; a kill at any moment loses nothing."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from metagrad import opening
from metagrad.training.files import flush, flush_directory, replacing, require_writable
from metagrad.training.json_files import finite
from metagrad.training.leftovers import RESULT_FILES, RUN_FILES, new_partial_directory, remove_files
from metagrad.training.locking import Lock, lock
from metagrad.training.manifest import FORMATS, write_manifest
from metagrad.training.run import CHECKPOINT, LARGEST, METRICS, Run
from metagrad.training.surroundings import surroundings
from metagrad.training.weights import write_weights


def require_new(path: Path) -> None:
    """Refuse, with a ValueError, a run directory that is there or cannot be made, before anything is done for it."""
    if os.path.lexists(path):
        raise ValueError(f"{path} exists already; continue it with --resume {path}, or choose another --out")
    try:
        require_writable(path)
    except ValueError as error:
        raise ValueError(f"cannot make a run directory in {path.parent}: {error}") from error


class RunWriter:
    """The one process that trains in a run directory: appends metrics and replaces checkpoints.

    Use `create` or `resume`, as a context manager. Metrics reach the disk before the checkpoint that counts them,
    so after a kill at any moment `resume` cuts metrics.jsonl back to what the checkpoint knows, and the steps after
    it are done again: each is there once.
    """

    def __init__(self, path: Path, held: Lock, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self._held = held
        self._manifest = manifest
        self._metrics = opening.appending(path / METRICS)

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
        require_new(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial, held = new_partial_directory(path)
        except OSError as error:
            raise ValueError(f"cannot make a run directory in {path.parent}: {error.strerror or error}") from error
        typed = {} if command is None else {"command": command}
        writer = cls(partial, held, {"format": FORMATS[-1], **typed, **surroundings(), "config": dict(config)})
        try:
            write_manifest(partial, writer._manifest)
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
    def resume(cls, path: Path, largest: int = LARGEST) -> tuple[Self, dict[str, Any]]:
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
        try:
            writer = cls(path, held, run.manifest())
        except BaseException:
            held.close()
            raise
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
        kept = {name: value for name, value in self._manifest.items() if name != "command"}
        self._manifest = {**kept, "config": dict(config)}
        write_manifest(self.path, self._manifest)

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
        known = {"config": self._manifest["config"], **surroundings()}
        counted = {
            "format": self._manifest["format"],
            "manifest": json.dumps(finite(known)),
            "metrics_bytes": self._metrics.tell(),
        }
        payload = io.BytesIO()
        torch.save({**counted, **state}, payload)
        with replacing(self.path / CHECKPOINT) as file:
            file.write(hashlib.sha256(payload.getbuffer()).digest())
            file.write(payload.getbuffer())

    def save_weights(self, which: str, weights: Mapping[str, Tensor]) -> None:
        """Replace `<which>.safetensors`."""
        write_weights(self.path / f"{which}.safetensors", weights)

    def _cut(self, known: int) -> None:
        length = self._metrics.seek(0, os.SEEK_END)
        if length < known:
            raise ValueError(
                f"{self.path / METRICS} has {length} bytes where the checkpoint counts {known}: it was cut or "
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
