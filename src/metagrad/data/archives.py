"""Omniglot's two archives, or folders in their place: found complete, and decoded without unpacking."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from metagrad.data.cache import ClassImages
from metagrad.data.readers.colours import UnsuitableError, as_rgb
from metagrad.data.readers.files import contents, present, state
from metagrad.data.readers.image_files import decoding, open_image
from metagrad.data.readers.zips import DAMAGE, member, open_zip
from metagrad.foreign import reason

Progress = Callable[[int, int], None]
Pixels = npt.NDArray[np.uint8]

ORIGIN = "https://github.com/brendenlake/omniglot"
"""Where `images_background.zip` and `images_evaluation.zip` come from (folder python)."""

DRAWINGS = 20
"""Drawings of every Omniglot character, each by another person."""

SCANNED = 105
"""Height and width of an Omniglot image on disk, in pixels."""

SIDE = 28
"""Height and width of an image in the pools, in pixels."""

_LARGEST = 2**25  # bytes of an archive; the authors' have 10 million
_LARGEST_DRAWING = 2**20

_VERSION = "omniglot 28x28 LANCZOS 1"  # change it whenever the same files give other arrays


@dataclass(frozen=True)
class Archive:
    """One archive, or one folder in its place: which drawings it holds, and how to read them."""

    path: Path
    digest: str  # differs where the files differ
    drawings: Mapping[str, Mapping[int, str]]  # character → drawer → member
    read: Callable[[str], bytes]


@dataclass(frozen=True)
class Inventory:
    """Characters that are on the disk with all their drawings, not decoded yet; `take_inventory` makes it.

    Args:
        names: "archive/alphabet/character", as in `metagrad.data.omniglot.Characters`.
        archives: by the first part of the names.
    """

    names: tuple[str, ...]
    archives: Mapping[str, Archive]

    def fingerprint(self) -> str:
        """What the decoded images depend on: other files, other names or another way of decoding give another text."""
        digests = [f"{name} {archive.digest}" for name, archive in self.archives.items()]
        return "\n".join([_VERSION, *digests, *self.names])

    def decode(self, progress: Progress | None = None) -> Iterator[ClassImages]:
        """Each character with its drawings, uint8 [20, 1, 28, 28], otherwise as `read_omniglot` gives them.

        Cost: 0.15 ms a drawing on one core, so 5 s for all of Omniglot.

        Raises:
            ValueError: an image is damaged or has a wrong size; the message names the first.
        """
        for row, name in enumerate(self.names):
            archive = self.archives[_archive_of(name)]
            drawings = [_decode(archive, archive.drawings[name][drawer]) for drawer in range(1, DRAWINGS + 1)]
            if progress is not None:
                progress((row + 1) * DRAWINGS, len(self.names) * DRAWINGS)
            yield ClassImages(name, np.stack(drawings)[:, None])


def take_inventory(directory: Path, names: Sequence[str]) -> Inventory:
    """Find characters, and all their drawings, in the archives or folders of a directory.

    Args:
        directory: holds `images_background.zip` and `images_evaluation.zip`, or folders of those names, unpacked;
            directly or in a folder `omniglot`.
        names: "archive/alphabet/character", as in `metagrad.data.omniglot.Characters`.

    Raises:
        ValueError: the directory, an archive, a character or a drawing is missing, or a file cannot be read.
    """
    if not directory.is_dir():
        raise ValueError(
            f"there is no directory {directory}; name the one that holds images_background.zip and "
            f"images_evaluation.zip, from {ORIGIN}"
        )
    wanted = {name: [one for one in names if _archive_of(one) == name] for name in sorted({*map(_archive_of, names)})}
    inner = directory / "omniglot"
    here = any(present(directory / form) for name in wanted for form in (f"{name}.zip", name))
    place = directory if here or not inner.is_dir() else inner
    archives: dict[str, Archive] = {}
    for name, characters in wanted.items():
        zipped, folder = place / f"{name}.zip", place / name
        if present(zipped):
            archives[name] = _open_zip(zipped, name)
        elif folder.is_dir():
            archives[name] = _open_folder(folder)
        else:
            raise ValueError(
                f"{place} holds neither {zipped.name} nor a folder {name} of {len(characters)} characters; "
                f"get the archive from {ORIGIN}"
            )
        _check_complete(archives[name], characters)
    return Inventory(tuple(names), archives)


def read_omniglot(directory: str | os.PathLike[str], names: Sequence[str], progress: Progress | None = None) -> Pixels:
    """Decode characters from the archives or folders, without any cache.

    One-bit images become 8-bit ones, are reduced from 105×105 to 28×28 with Pillow's LANCZOS filter, and inverted.

    Args:
        directory: as for `take_inventory`.
        names: as for `take_inventory`.
        progress: called with the images decoded so far and their total.

    Returns:
        uint8 [len(names), 20, 28, 28], 255 = ink, the drawings in the order of their drawers.

    Raises:
        ValueError: as `take_inventory` and `Inventory.decode`.
    """
    return np.stack([images[:, 0] for _, images in take_inventory(Path(directory), names).decode(progress)])


def _archive_of(name: str) -> str:
    return name.split("/")[0]


def _open_zip(path: Path, name: str) -> Archive:
    data = contents(path, _LARGEST)  # what is decoded is then what the digest is of
    try:
        file = open_zip(data)
    except DAMAGE as error:
        raise ValueError(f"the archive {path} cannot be read ({reason(error)}); get it again from {ORIGIN}") from error

    def read(drawing: str) -> bytes:
        try:
            return member(file, drawing, _LARGEST_DRAWING)
        except DAMAGE as error:
            raise ValueError(
                f"{drawing} in {path} cannot be read ({reason(error)}); get it again from {ORIGIN}"
            ) from error

    return Archive(path, hashlib.sha256(data).hexdigest(), _grouped(file.namelist(), name), read)


def _open_folder(folder: Path) -> Archive:
    members: list[str] = []
    digest = hashlib.sha256()  # of sizes and times alone, so that a cached load opens none of the files
    for path in sorted(folder.glob("*/*/*.png")):
        drawing = path.relative_to(folder.parent).as_posix()
        members.append(drawing)
        digest.update(f"{drawing} {state(path)}\n".encode())

    def read(drawing: str) -> bytes:
        return contents(folder.parent / drawing, _LARGEST_DRAWING)

    return Archive(folder, digest.hexdigest(), _grouped(members, folder.name), read)


def _grouped(members: Sequence[str], archive: str) -> dict[str, dict[int, str]]:
    pattern = re.compile(rf"({re.escape(archive)}/[^/]+/[^/]+)/\d+_(\d\d)\.png")
    grouped: dict[str, dict[int, str]] = {}
    for drawing in members:
        if parts := pattern.fullmatch(drawing):
            grouped.setdefault(parts[1], {})[int(parts[2])] = drawing
    return grouped


def _check_complete(archive: Archive, wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in archive.drawings]
    if missing:
        raise ValueError(
            f"{archive.path} is incomplete: {len(wanted) - len(missing)} of {len(wanted)} characters found, the first "
            f"missing is {missing[0]}; get it again from {ORIGIN}"
        )
    for name in wanted:
        drawers = set(range(1, DRAWINGS + 1)) - set(archive.drawings[name])
        if drawers:
            raise ValueError(
                f"{archive.path} is incomplete: {name} lacks {len(drawers)} of {DRAWINGS} drawings, the first missing "
                f"is number {min(drawers):02d}; get it again from {ORIGIN}"
            )


def _decode(archive: Archive, drawing: str) -> Pixels:
    data, way_out = archive.read(drawing), f"get it again from {ORIGIN}"
    with decoding(f"{drawing} in {archive.path}", way_out), open_image(data, ("PNG",)) as image:
        if image.size != (SCANNED, SCANNED):
            raise UnsuitableError(
                f"is {image.width}×{image.height} pixels, but Omniglot's images are {SCANNED}×{SCANNED}; {way_out}"
            )
        grey = as_rgb(image).convert("L")  # LANCZOS gives grey levels, which one bit could not hold
        return 255 - np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
