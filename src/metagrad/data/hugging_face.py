"""Image datasets of the Hugging Face library `datasets`, which need not be installed here."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from metagrad import checks
from metagrad.data.cache import ClassImages
from metagrad.data.pools import ClassPool
from metagrad.data.readers.image_files import decode_image, decoding, read_image, resized
from metagrad.data.readers.undecoded import Pixels, Undecoded, grouped, pool_of

_VERSION = "hugging face LANCZOS 2"  # change it whenever the same dataset gives other arrays


def load_hugging_face(
    dataset: Any,
    size: int,
    *,
    image: str = "image",
    label: str = "label",
    cache: str | os.PathLike[str] | None = None,
) -> ClassPool:
    """A pool of RGB images, uint8 [3, size, size], from one split of a `datasets.Dataset`; `pools.split` divides it.

    The first call decodes the images, class after class, into a cache file named after the dataset's fingerprint, which
    changes with its contents; later calls map that into memory.

    Args:
        dataset: has `column_names`, a length, `dataset[row]` and `dataset[column]`, and the fingerprint `_fingerprint`.
        size: height and width to which images are brought, in pixels, with Pillow's LANCZOS filter.
        image: column of images, decoded (Pillow) or not (a dict with `bytes` or `path`).
        label: column of integers or text. Classes have the names that the column's feature knows, or its values.
        cache: directory of the cache files; None for `default_cache()`.

    Raises:
        TypeError: `size` is not an integer, this is not one split that can be indexed, or a column is of another kind.
        ValueError: the dataset is empty or lacks a column, or an image is damaged or none that `as_rgb` takes.

    Warns:
        UserWarning: a cache file is damaged, and made anew; or it cannot be written, and the next call decodes again.
    """
    checks.integer("size", size, least=1)
    columns = getattr(dataset, "column_names", None)
    if not isinstance(columns, list) or not all(hasattr(dataset, part) for part in ("__len__", "_fingerprint")):
        raise TypeError(
            f"a pool needs one split of a datasets.Dataset that can be indexed, got {type(dataset).__name__}; choose a "
            "split such as dataset['train'], loaded without streaming"
        )
    for column in (image, label):
        if column not in columns:
            raise ValueError(f"the dataset has no column {column!r}; its columns are {', '.join(columns)}")
    if len(dataset) == 0:
        raise ValueError("the dataset is empty; a pool needs images")
    made_from = f"{_VERSION} {dataset._fingerprint} {size} {image} {label}"
    name = f"hugging-face-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}"
    names, rows = _names_and_rows(dataset, label)
    return pool_of(Undecoded(name, Path(name), made_from, lambda: _classes(dataset, image, size, names, rows)), cache)


def _names_and_rows(dataset: Any, label: str) -> tuple[Sequence[str], Sequence[npt.NDArray[np.intp]]]:
    values = np.asarray(list(dataset[label]))
    if values.dtype.kind not in "iuU":
        raise TypeError(f"column {label!r} must hold integers or text, got {values.dtype}; choose another as label")
    classes, dense = np.unique(values, return_inverse=True)
    known: list[str] | None = getattr(dataset.features[label], "names", None)
    if known is None:
        return [str(value) for value in classes.tolist()], grouped(dense, len(classes))
    outside = [value for value in classes.tolist() if not 0 <= value < len(known)]
    if outside:
        raise ValueError(f"column {label!r} has the label {outside[0]}, but names for 0 to {len(known) - 1} only")
    return [known[value] for value in classes.tolist()], grouped(dense, len(classes))


def _classes(
    dataset: Any, image: str, size: int, names: Sequence[str], rows: Sequence[npt.NDArray[np.intp]]
) -> Iterator[ClassImages]:
    for name, of_class in zip(names, rows, strict=True):
        yield ClassImages(name, np.stack([_decoded(dataset[int(row)][image], size, int(row)) for row in of_class]))


def _decoded(held: Any, size: int, row: int) -> Pixels:
    if isinstance(held, Image.Image):
        with decoding(f"the image of row {row}", "put another in its place"):
            return resized(held, size)
    if isinstance(held, dict) and isinstance(held.get("bytes"), bytes):
        return decode_image(held["bytes"], size, f"of row {row}")
    if isinstance(held, dict) and isinstance(held.get("path"), str):
        return read_image(Path(held["path"]), size)
    raise TypeError(f"row {row} holds a {type(held).__name__} in place of an image; choose another column as image")
