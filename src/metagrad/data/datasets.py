"""Any map-style dataset of labelled images, read whole into two tensors."""

import operator
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset


class MapDataset(Protocol):
    """A `torch.utils.data.Dataset` with a length, or anything that can be indexed like it."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def read_dataset(dataset: MapDataset) -> tuple[Tensor, Tensor]:
    """All images of a dataset whose items are (image, integer label), and the labels.

    Where items are images alone, the dataset's `targets` or `labels` are taken; what an item holds after its label is
    left out. PIL images and arrays [H, W] or [H, W, C] become [C, H, W]; tensors, and arrays of features [D], keep
    their shape. One-bit and palette PIL images become 8-bit grey and RGB, with an alpha channel where a colour is
    transparent; other modes keep their channels and depth. Every item is read once, in order.

    Returns:
        The images [M, ...] in the dtype that they have in the dataset, and their labels, int64 [M]; both on the CPU.

    Raises:
        TypeError: the dataset has no length or index, or an image or label is of an unknown kind.
        ValueError: the dataset is empty, it has no labels or not one per item, or an item differs from the first in
            shape or dtype.
    """
    kind = type(dataset).__name__
    # torch's Dataset defines __getitem__, and thereby its iterable kind too.
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(f"a pool needs a dataset with a length and an index, got {kind}; make a list of its items")
    if len(dataset) == 0:
        raise ValueError(f"the dataset {kind} is empty; a pool needs images")
    images, labels = torch.empty(0), torch.empty(len(dataset), dtype=torch.int64)
    for row in range(len(dataset)):
        given, label = _image_and_label(dataset, row)
        image = _as_tensor(given, row)
        if row == 0:
            images = torch.empty(len(dataset), *image.shape, dtype=image.dtype)
        if image.shape != images.shape[1:] or image.dtype != images.dtype:
            raise ValueError(
                f"item {row} of the dataset is {image.dtype} {list(image.shape)}, item 0 is {images.dtype} "
                f"{list(images.shape[1:])}; bring the images to one size and dtype"
            )
        images[row] = image
        try:
            number = operator.index(label)
        except TypeError:
            raise TypeError(
                f"the label of item {row} must be an integer, got {label!r}; number the classes 0, 1, …"
            ) from None
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"the label of item {row} has more than 64 bits; number the classes 0, 1, …")
        labels[row] = number
    return images, labels


def _image_and_label(dataset: MapDataset, row: int) -> tuple[object, Any]:
    item = dataset[row]
    parts: tuple[Any, ...] = tuple(item) if isinstance(item, tuple | list) else (item,)
    if len(parts) >= 2:
        return parts[0], parts[1]
    labels: Any = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if labels is None or not parts:
        raise ValueError(
            f"item {row} of the dataset is a {type(item).__name__}, and the dataset has no targets or labels; "
            "let its items be (image, label)"
        )
    if len(labels) != len(dataset):
        raise ValueError(
            f"the dataset has {len(dataset)} items but {len(labels)} targets or labels; let its items be (image, label)"
        )
    return parts[0], labels[row]


def _as_tensor(image: object, row: int) -> Tensor:
    if isinstance(image, Tensor):
        return image.detach()
    if isinstance(image, Image.Image):
        image = np.asarray(_with_channels(image, row))
    if not isinstance(image, np.ndarray):
        raise TypeError(f"item {row} of the dataset must be a tensor, array or PIL image, got {type(image).__name__}")
    try:
        pixels = torch.from_numpy(image.copy())  # torch takes no array that is read-only or runs backwards
    except (TypeError, ValueError) as error:
        raise TypeError(f"item {row} of the dataset is an array that torch cannot hold: {error}") from error
    if pixels.ndim == 2:
        return pixels.unsqueeze(0)
    return pixels.movedim(-1, 0) if pixels.ndim == 3 else pixels


def _with_channels(image: Image.Image, row: int) -> Image.Image:
    if getattr(image, "is_animated", False):
        raise ValueError(f"item {row} of the dataset has several pictures; keep one of them")
    if "transparency" in image.info:  # which the mode does not tell
        return image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    return image.convert({"1": "L", "P": "RGB", "PA": "RGBA"}.get(image.mode, image.mode))
