"""miniImageNet as lists of files: the CSV of Ravi and Larochelle beside a folder of images, or one for each class."""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from metagrad.data.cache import ClassImages
from metagrad.data.readers.files import contents, present, state
from metagrad.data.readers.image_files import read_image
from metagrad.data.readers.undecoded import Undecoded
from metagrad.foreign import printable, reason

_VERSION = "csv LANCZOS 2"  # change it whenever the same files give other arrays

_LARGEST = 2**24  # bytes of a list; that of 38,400 images has 2 million
_MOST_ROWS = 2**18


def find_csv(path: Path, name: str, side: int) -> Undecoded | None:
    """Images listed in a CSV file, class after class in the order of their first row; None where there is no such file.

    With the header `filename,label` (Ravi and Larochelle) the images are in a folder `images` beside it, where the file
    names are their own running numbers; with `class_name,image_name` (easyfsl) they are in a folder for each class, in
    `images` or beside it. Other columns are left out. Semicolons or tabs in place of commas, a byte-order mark and
    empty rows, which spreadsheets write, make no difference. Images are brought to side × side pixels
    (`decode_image`).

    Args:
        path: the CSV file.
        name: of the cache file.
        side: height and width of the decoded images, in pixels.

    Raises:
        ValueError: the header is another, there is no row, an image is missing, or one is listed twice.
    """
    if not present(path):
        return None
    files = _listed(path)
    every = [file for of_class in files.values() for file in of_class]
    missing = next((file for file in every if not present(file)), None)
    if missing is not None:
        raise ValueError(
            f"{path} lists {len(every)} images, but there is no {printable(str(missing))}; put the images there"
        )
    if len(set(every)) < len(every):
        raise ValueError(f"{path} lists an image twice; get it again")
    made_from = f"{_VERSION} {side}\n{state(path, *every)}\n{' '.join(f'{one} {len(f)}' for one, f in files.items())}"
    return Undecoded(name, path, made_from, lambda: _classes(files, side))


def _listed(path: Path) -> Mapping[str, list[Path]]:
    """Image files of each class."""
    header, rows = _table(path)
    within = path.parent / "images"
    if {"filename", "label"} <= set(header):
        listed = [(row["label"], within / row["filename"]) for row in rows]
    elif {"class_name", "image_name"} <= set(header):
        folder = within if within.is_dir() else path.parent
        listed = [(row["class_name"], folder / row["class_name"] / row["image_name"]) for row in rows]
    else:
        raise ValueError(
            f"{path} has columns {printable(', '.join(header)) or 'of no row'}, not filename,label or "
            "class_name,image_name; name its columns so"
        )
    if not listed:
        raise ValueError(f"{path} lists no image; get it again")
    outside = next((file for _, file in listed if not file.is_relative_to(path.parent) or ".." in file.parts), None)
    if outside is not None:
        raise ValueError(f"{path} lists {printable(str(outside))}, which is outside of its folder; get it again")
    files: dict[str, list[Path]] = {}
    for one, file in listed:
        files.setdefault(one, []).append(file)
    return files


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The header of a CSV file, and its rows by their columns; without those that are empty."""
    data = contents(path, _LARGEST)
    try:
        text = data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 or UTF-16; save it as CSV in UTF-8") from error
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    lines: list[list[str]] = []
    try:
        for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if any(line):
                lines.append(line)
            if len(lines) > _MOST_ROWS:
                raise csv.Error(f"it has more than {_MOST_ROWS:,} rows")
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a list of images ({reason(error)}); get it again") from error
    header = [column.strip() for column in lines[0]] if lines else []
    if any(len(line) != len(header) for line in lines):
        raise ValueError(f"{path} has a row with more or fewer columns than its header; get it again")
    return header, [dict(zip(header, line, strict=True)) for line in lines[1:]]


def _classes(files: Mapping[str, list[Path]], side: int) -> Iterator[ClassImages]:
    for one, of_class in files.items():
        yield ClassImages(one, np.stack([read_image(file, side) for file in of_class]))
