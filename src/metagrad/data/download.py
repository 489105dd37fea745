"""Archives fetched from where their authors publish them: checked, resumed where it broke off, never over a file."""

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metagrad import opening
from metagrad.foreign import reason

_TIMEOUT = 30.0  # seconds without a byte
_MOST = 1.5  # times the size that a file has
_PIECE = 2**16  # bytes written at a time; of a transfer that breaks off, fewer are lost


class Download(NamedTuple):
    """A file to fetch: its address, its name on the disk, its digest ("md5:…" or "sha256:…"), and its size in MB."""

    address: str
    name: str
    digest: str
    megabytes: float


OMNIGLOT = tuple(
    Download(f"https://raw.githubusercontent.com/brendenlake/omniglot/master/python/{name}", name, digest, megabytes)
    for name, digest, megabytes in (
        ("images_background.zip", "md5:68d2efa1b9178cc56df9314c21c6e718", 9.5),
        ("images_evaluation.zip", "md5:6b91aef0f799c5bb55b94e3f2daec811", 6.5),
    )
)
"""Omniglot's two archives (Lake et al. 2015, MIT licence), with the digests that torchvision has for them."""

CIFAR100 = (
    Download(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "cifar-100-python.tar.gz",
        "md5:eb9058c3a382ffc7106e4002c42a8d85",
        169.0,
    ),
)
"""CIFAR-100 for Python (Krizhevsky 2009), with the digest on its page; CIFAR-FS and FC100 are made from it."""


def fetch(files: Sequence[Download], directory: Path, announce: Callable[[str], None] | None = None) -> None:
    """Put those of the files that are not there into a directory, which is made where needed.

    What arrives is compared with its digest and only then gets its name; a file of that name, whatever it holds, is
    left as it is. A transfer that broke off goes on where it stopped, if the server can do that.

    Args:
        files: what to fetch.
        directory: where to.
        announce: told the address of each file before it is fetched.

    Raises:
        ValueError: the package pooch is missing, the address cannot be reached, the transfer breaks off, or what
            arrived is not the file.
    """
    missing = [file for file in files if not (directory / file.name).is_file()]
    if not missing:
        return
    try:
        pooch = importlib.import_module("pooch")
    except ImportError as error:
        raise ValueError("downloading needs the package pooch: pip install 'metagrad[download]'") from error
    pooch.get_logger().setLevel("ERROR")
    for file in missing:
        if announce is not None:
            announce(f"downloading {file.address} ({file.megabytes:g} MB) to {directory}")
        _fetch_one(pooch, file, directory)


def _fetch_one(pooch: Any, file: Download, directory: Path) -> None:
    part = directory / f"{file.name}.part"

    def transfer(address: str, output: str, _pooch: object) -> None:
        _continue(address, part, round(_MOST * file.megabytes * 1e6))
        os.replace(part, output)

    try:
        directory.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(file.address, file.digest, file.name, directory, downloader=transfer)
    except OSError as error:  # those of requests are such, too
        held = part.stat().st_size if part.is_file() else 0
        way_out = f"the next try goes on after {held} bytes" if held else "try again, or get it by hand"
        raise ValueError(f"{file.address} could not be fetched to {directory} ({reason(error)}); {way_out}") from error
    except ValueError as error:
        raise ValueError(
            f"{file.address} did not give {file.name}: the digest is not {file.digest}; try again, or get it by hand"
        ) from error


def _continue(address: str, part: Path, most: int) -> None:
    """Append to `part` what it lacks; begin again where the server does not give parts.

    Raises:
        OSError: the transfer breaks off, or `part` is a link.
        ValueError: there are more bytes than `most`.
    """
    requests = importlib.import_module("requests")  # pooch brings it
    with opening.appending(part) as file:
        held = file.seek(0, os.SEEK_END)
        asked = {"Range": f"bytes={held}-", "Accept-Encoding": "identity"} if held else {"Accept-Encoding": "identity"}
        try:
            with requests.get(address, headers=asked, stream=True, timeout=_TIMEOUT) as answer:
                if answer.status_code == requests.codes.requested_range_not_satisfiable:
                    return  # nothing is lacking, or too much is held: the digest will tell
                answer.raise_for_status()
                if answer.status_code != requests.codes.partial_content:
                    file.seek(file.truncate(0))
                for piece in answer.iter_content(_PIECE):
                    file.write(piece)
                    if file.tell() > most:
                        file.truncate(0)
                        raise ValueError(f"{address} sends more than {most} bytes")
        finally:
            if not file.seek(0, os.SEEK_END):
                part.unlink()
