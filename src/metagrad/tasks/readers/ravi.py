"""miniImageNet as lists of files: the CSV of Ravi and Larochelle beside a folder of images, or one for each class."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from metagrad.tasks.cache import ClassImages
from metagrad.tasks.readers.found import Found, state
from metagrad.tasks.readers.image_files import read_image

_VERSION = "csv LANCZOS 1"  # change it whenever the same files give other arrays


def find_csv(path: Path, name: str, side: int) -> Found | None:
    """Images listed in a CSV file, class after class in the order of their first row; None where there is no such file.

    With the header `filename,label` (Ravi and Larochelle) the images are in a folder `images` beside it, where the file
    names are their own running numbers; with `class_name,image_name` (easyfsl) they are in a folder for each class, in
    `images` or beside it. Other columns are left out. Images are brought to side × side pixels (`decode_image`).

    Args:
        path: the CSV file.
        name: of the cache file.
        side: height and width of the decoded images, in pixels.

    Raises:
        ValueError: the header is another, there is no row, an image is missing, or one is listed twice.
    """
    if not path.is_file():
        return None
    files = _listed(path)
    every = [file for of_class in files.values() for file in of_class]
    missing = next((file for file in every if not file.is_file()), None)
    if missing is not None:
        raise ValueError(f"{path} lists {len(every)} images, but there is no {missing}; put the images there")
    if len(set(every)) < len(every):
        raise ValueError(f"{path} lists an image twice; get it again")
    made_from = f"{_VERSION} {side}\n{state(path, *every)}\n{' '.join(f'{one} {len(f)}' for one, f in files.items())}"
    return Found(name, path, made_from, lambda: _classes(files, side))


def _listed(path: Path) -> Mapping[str, list[Path]]:
    """Image files of each class."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a list of images ({error}); get it again") from error
    header = list(rows[0]) if rows else []
    if any(value is None or name is None for row in rows for name, value in row.items()):
        raise ValueError(f"{path} has a row with more or fewer columns than its header; get it again")
    within = path.parent / "images"
    files: dict[str, list[Path]] = {}
    if {"filename", "label"} <= set(header):
        for row in rows:
            files.setdefault(row["label"], []).append(within / row["filename"])
    elif {"class_name", "image_name"} <= set(header):
        folder = within if within.is_dir() else path.parent
        for row in rows:
            files.setdefault(row["class_name"], []).append(folder / row["class_name"] / row["image_name"])
    else:
        raise ValueError(
            f"{path} has columns {', '.join(header) or 'of no row'}, not filename,label or "
            "class_name,image_name; get it again"
        )
    return files


def _classes(files: Mapping[str, list[Path]], side: int) -> Iterator[ClassImages]:
    for one, of_class in files.items():
        yield ClassImages(one, np.stack([read_image(file, side) for file in of_class]))
