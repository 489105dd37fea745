"""tieredImageNet as it is distributed: pickled lists of PNG files, and pickled labels beside them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metagrad.data.cache import ClassImages
from metagrad.data.readers.files import contents, present, state
from metagrad.data.readers.held import integers, mapping, texts
from metagrad.data.readers.image_files import decode_image
from metagrad.data.readers.pickles import open_pickle
from metagrad.data.readers.undecoded import Pixels, Undecoded, grouped
from metagrad.data.splits import numbered_name
from metagrad.foreign import reason

_VERSION = "png pickles 2"  # change it whenever the same files give other arrays

_LONGEST_LIST = 2**20  # bytes of class_names.txt and synsets.txt


def find_png_pickle(directory: Path, part: str, name: str, side: int, synsets: Sequence[str]) -> Undecoded | None:
    """`PART_images_png.pkl` with `PART_labels.pkl`, of Ren et al. or MetaOptNet; None where one of them is missing.

    The PNG files hold red, green and blue in their proper places: they were written by OpenCV, which takes and gives
    blue first, so whoever decodes them with OpenCV (or reads the `_images.npz` that its scripts make) gets colours
    reversed. Pillow, which decodes them here, does not.

    Labels are `label_specific`, 0 … classes − 1, with `label_specific_str`, a name for each (Ren et al., from Python 2
    or 3); or `labels`, any integers, without names (MetaOptNet). Names are descriptions; where `class_names.txt` and
    `synsets.txt` lie beside, each becomes the synset in the same line, that of `synsets` where two are described alike.

    Args:
        directory: holds the files.
        part: "train", "val" or "test".
        name: of the cache file.
        side: height and width of the decoded images, in pixels.
        synsets: those that the meta-set should have.
    """
    images, labels = directory / f"{part}_images_png.pkl", directory / f"{part}_labels.pkl"
    if not (present(images) and present(labels)):
        return None
    described = [path for path in (directory / "class_names.txt", directory / "synsets.txt") if present(path)]
    made_from = f"{_VERSION} {side}\n{state(images, labels, *described)}"
    return Undecoded(name, images, made_from, lambda: _classes(images, labels, side, synsets))


def _classes(images: Path, labels: Path, side: int, synsets: Sequence[str]) -> Iterator[ClassImages]:
    names, rows = _names_and_rows(open_pickle(labels), labels)
    names = _as_synsets(names, labels.parent, synsets)
    encoded = open_pickle(images)
    count = sum(len(of_class) for of_class in rows)
    if not isinstance(encoded, list | tuple) or len(encoded) != count:
        held = f"{len(encoded)} images" if isinstance(encoded, list | tuple) else f"a {type(encoded).__name__}"
        raise ValueError(f"{images} holds {held}, but {labels.name} has {count} labels; get both again")
    for name, of_class in zip(names, rows, strict=True):
        decoded = [_decoded(encoded[row], side, f"{row} in {images}") for row in of_class]
        yield ClassImages(name, np.stack(decoded))


def _decoded(encoded: Any, side: int, name: str) -> Pixels:
    """One PNG file, from bytes or an array of them [n] or [n, 1]."""
    data = encoded.tobytes() if isinstance(encoded, np.ndarray) and encoded.dtype == np.uint8 else encoded
    if not isinstance(data, bytes):
        raise ValueError(f"the image {name} is a {type(encoded).__name__} in place of a file; get it again")
    return decode_image(data, side, name)


def _names_and_rows(held: Any, path: Path) -> tuple[Sequence[str], Sequence[npt.NDArray[np.intp]]]:
    try:
        held = mapping(held, "it")
        if not {"label_specific", "labels"} & held.keys():
            raise ValueError(f"its keys are {', '.join(sorted(map(str, held)))}, neither label_specific nor labels")
        labels = integers(held.get("label_specific", held.get("labels")), "its labels")
        values, dense = np.unique(labels, return_inverse=True)
        if held.get("label_specific_str") is None:
            names: Sequence[str] = [numbered_name(int(value)) for value in values]
        else:
            names = texts(held["label_specific_str"], "its label_specific_str")
            if values.tolist() != list(range(len(names))):
                raise ValueError(f"it has {len(values)} classes and {len(names)} names")
        if not names:
            raise ValueError("it has no label")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold labels of images ({reason(error)}); get it again") from error
    return names, grouped(dense, len(values))


def _as_synsets(names: Sequence[str], directory: Path, synsets: Sequence[str]) -> Sequence[str]:
    listed = [directory / "class_names.txt", directory / "synsets.txt"]
    if not all(present(path) for path in listed):
        return names
    descriptions, codes = (_lines(path) for path in listed)
    if len(descriptions) != len(codes):
        raise ValueError(f"{listed[0]} has {len(descriptions)} lines and synsets.txt {len(codes)}; get both again")
    known: Mapping[str, str] = {
        # Those that are wanted come last, and win.
        description: code
        for wanted in (False, True)
        for description, code in zip(descriptions, codes, strict=True)
        if (code in synsets) is wanted
    }
    return [known.get(name, name) for name in names]


def _lines(path: Path) -> Sequence[str]:
    try:
        text = contents(path, _LONGEST_LIST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8; get it again") from error
    return [line.strip() for line in text.splitlines()]
