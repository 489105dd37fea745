"""One array in one file: tied to what it was made from, checksummed, and written whole or not at all."""

import hashlib
import io
import os
import secrets
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# A cache file is the SHA-256 of all that follows, the SHA-256 of what the array was made from, and the array in numpy's
# .npy format.
_DIGEST = 32


def cached(path: Path, made_from: str, make: Callable[[], Array]) -> Array:
    """The array in a cache file; or what `make` gives, which is then written there for the next call.

    Processes may do this at the same time: each sees a whole file or none.

    Args:
        path: the cache file; its directory is made where needed.
        made_from: describes everything that the array depends on; a file made from anything else is replaced.
        make: gives the array, of any dtype but object. What it raises comes through, and leaves the file as it was.

    Warns:
        UserWarning: the file is damaged, and made anew; or it cannot be written, and the next call makes the array
            again. The warning points at the caller of the function that calls this one.

    Cost: the file is read and its checksum taken on every call, 25 MB in about 50 ms.
    """
    key = hashlib.sha256(made_from.encode()).digest()
    data = _read(path)
    if data is not None:
        if hashlib.sha256(memoryview(data)[_DIGEST:]).digest() != data[:_DIGEST]:
            warnings.warn(f"the cache {path} is damaged and is made anew", stacklevel=3)
        elif data[_DIGEST : 2 * _DIGEST] == key:
            return np.load(io.BytesIO(memoryview(data)[2 * _DIGEST :]), allow_pickle=False)
    array = make()
    try:
        _write(path, key, array)
    except OSError as error:
        warnings.warn(
            f"the cache {path} cannot be written ({error}), so the next call starts over; name another directory, for "
            "instance with $METAGRAD_CACHE",
            stacklevel=3,
        )
    return array


def default_cache() -> Path:
    """`$METAGRAD_CACHE`, else `$XDG_CACHE_HOME/metagrad`, else `~/.cache/metagrad`.

    Raises:
        ValueError: neither variable is set and there is no home directory.
    """
    if os.environ.get("METAGRAD_CACHE"):
        return Path(os.environ["METAGRAD_CACHE"])
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "metagrad"
    try:
        return Path.home() / ".cache" / "metagrad"
    except RuntimeError as error:
        raise ValueError(f"there is no home directory for a cache ({error}); set $METAGRAD_CACHE") from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # absent; or unreadable, and then writing it anew works or warns
        return None


def _write(path: Path, key: bytes, array: Array) -> None:
    """Write beside `path`, then rename."""
    body = io.BytesIO()
    body.write(key)
    np.save(body, array, allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(hashlib.sha256(body.getbuffer()).digest())
            file.write(body.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
