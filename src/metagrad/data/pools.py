"""Labelled images grouped by class, and their division into meta-training, meta-validation and meta-test."""

import copy
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metagrad.data.datasets import MapDataset, read_dataset


class ClassPool:
    """Labelled images, or feature vectors, grouped by class; classes may differ in size.

    Images are kept once, as they are; subsets and rotations of a pool share them. Indices stay on the CPU.

    Args:
        images: [M, C, H, W], or [M, D] for features; uint8, or floating and finite.
        labels: [M], integers: the class of each image as an index into `names`.
        names: one name per class; the label itself where left out.

    Raises:
        TypeError: `images` is neither uint8 nor floating, or `labels` are not integers.
        ValueError: the pool is empty, lengths disagree, a label has no name, a class has no image, a name is used
            twice, or an image is not finite.

    Example:
        >>> pool = ClassPool(torch.rand(4, 1, 8, 8), labels=torch.tensor([0, 1, 1, 0]), names=["cat", "dog"])
        >>> len(pool), pool.counts.tolist()
        (2, [2, 2])
    """

    def __init__(self, images: Tensor, labels: Tensor, names: Sequence[str] | None = None) -> None:
        if not (images.dtype == torch.uint8 or images.is_floating_point()):
            raise TypeError(f"images must be uint8 or floating, got {images.dtype}; convert them first")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise TypeError(f"labels must be integers, got {labels.dtype}; convert them first")
        if images.ndim < 2 or len(images) == 0:
            raise ValueError(f"a pool needs images [M, C, H, W] or features [M, D], got {list(images.shape)}")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be one per image, [{len(images)}], got {list(labels.shape)}")
        labels = labels.to("cpu", torch.int64)
        if names is None:
            names = [str(label) for label in range(int(labels.max()) + 1)]
        if images.is_floating_point() and len(bad := (~images.isfinite().flatten(1).all(dim=1)).nonzero()):
            raise ValueError(f"image {int(bad[0])} holds a NaN or an infinite value; repair it or leave it out")
        self._images = images
        self._counts = _counted(labels, names)
        self._rows = torch.argsort(labels, stable=True)  # rows of images, class after class
        self._starts = self._counts.cumsum(0) - self._counts
        self._turns = torch.zeros_like(self._counts)  # quarter turns of each class
        self._bases = tuple(names)

    @classmethod
    def from_dataset(cls, dataset: MapDataset, names: Sequence[str] | None = None) -> "ClassPool":
        """Read a whole map-style dataset of (image, integer label) into memory, as `read_dataset` does.

        Args:
            dataset: every item is read once, in order.
            names: name of each label 0, 1, …; where left out, each label that occurs is a class named after it.

        Raises:
            TypeError, ValueError: as `read_dataset` and `ClassPool`.
        """
        images, labels = read_dataset(dataset)
        if names is None:
            values, labels = torch.unique(labels, return_inverse=True)
            names = [str(value) for value in values.tolist()]
        return cls(images, labels, names)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class; a rotated one ends in /rot090, /rot180 or /rot270."""
        turned = zip(self._bases, self._turns.tolist(), strict=True)
        return tuple(f"{base}/rot{90 * turn:03d}" if turn else base for base, turn in turned)

    @property
    def counts(self) -> Tensor:
        """Images of each class: int64 [classes], on the CPU."""
        return self._counts

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image, (C, H, W)."""
        return tuple(self._images.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """Dtype in which images are kept: uint8, or floating."""
        return self._images.dtype

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self._images.device

    def __len__(self) -> int:
        """Number of classes."""
        return len(self._bases)

    def __repr__(self) -> str:
        images = int(self._counts.sum())
        return f"ClassPool({len(self)} classes, {images} images {list(self.image_shape)}, {self.dtype}, {self.device})"

    def subset(self, classes: Sequence[int] | Sequence[str]) -> "ClassPool":
        """The pool of these classes alone, given by index or by name, in this order; it shares the images.

        Raises:
            ValueError: no class, an unknown class, or the same class twice.
        """
        known: dict[object, int] = {key: index for index, name in enumerate(self.names) for key in (index, name)}
        unknown = [given for given in classes if given not in known]
        if unknown:
            raise ValueError(f"no class {unknown[0]!r} in a pool of {len(self)} classes; its `names` lists them")
        chosen = [known[given] for given in classes]
        if not chosen:
            raise ValueError("a subset needs at least one class, got none")
        most, times = Counter(chosen).most_common(1)[0]
        if times > 1:
            raise ValueError(f"class {self.names[most]!r} is asked for twice; name each class once")
        return self._with_classes(torch.tensor(chosen), self._turns[chosen])

    def with_rotations(self, degrees: Sequence[int] = (90, 180, 270)) -> "ClassPool":
        """The same classes, then each of them turned counter-clockwise as a further class, angle after angle.

        Class c turned by the j-th angle is class c + (j + 1)·len(pool). Images are turned when they are drawn, so this
        costs no memory. An episode may hold a class and its rotation, as two of its ways.

        Raises:
            ValueError: an angle is not 90, 180 or 270 or comes twice, the images are not square [C, H, H], or the pool
                is rotated already.
        """
        if not set(degrees) <= {90, 180, 270} or len(set(degrees)) < len(degrees):
            raise ValueError(f"rotations must be different angles among 90, 180 and 270, got {tuple(degrees)}")
        if len(self.image_shape) != 3 or self.image_shape[1] != self.image_shape[2]:
            raise ValueError(f"rotations need square images [C, H, H], got {list(self.image_shape)}; crop them first")
        if bool(self._turns.any()):
            raise ValueError("the pool is rotated already; rotate the pool that it came from")
        turns = torch.tensor([0, *(angle // 90 for angle in degrees)])
        classes = torch.arange(len(self)).repeat(len(turns))
        return self._with_classes(classes, turns.repeat_interleave(len(self)))

    def to(self, device: torch.device | str) -> "ClassPool":
        """The pool on another device, without images that only other pools use.

        Cost: a copy of the images that are left, even where the pool is on that device already.
        """
        starts, block = torch.unique(self._starts, return_inverse=True)  # a class and its rotations are one block
        counts = torch.zeros_like(starts).scatter_(0, block, self._counts)
        spans = zip(starts.tolist(), counts.tolist(), strict=True)
        rows = torch.cat([self._rows[start : start + count] for start, count in spans])
        moved = copy.copy(self)
        moved._images = self._images[rows.to(self.device)].to(device)
        moved._rows = torch.arange(len(rows))
        moved._starts = (counts.cumsum(0) - counts)[block]
        return moved

    def take(self, classes: Tensor, positions: Tensor) -> Tensor:
        """Images of some classes, by their positions 0 … counts[class] − 1 within the class.

        Args:
            classes: int64 [...], on the CPU.
            positions: int64 [..., n], on the CPU.

        Returns:
            [..., n, C, H, W], in the pool's dtype, on the pool's device: a copy.

        Raises:
            ValueError: a position is outside its class.
        """
        outside = (positions < 0) | (positions >= self._counts[classes].unsqueeze(-1))
        if bool(outside.any()):
            first = int(positions.expand_as(outside)[outside][0])
            raise ValueError(f"position {first} is outside its class c; positions are 0 to counts[c] - 1")
        rows = self._rows[self._starts[classes].unsqueeze(-1) + positions]
        images = self._images[rows.to(self.device)]
        turns = self._turns[classes]
        for turn in (1, 2, 3):
            turned = turns == turn
            if bool(turned.any()):
                images[turned] = torch.rot90(images[turned], turn, (-2, -1))
        return images

    def base_names(self) -> frozenset[str]:
        """Names of the classes before rotation."""
        return frozenset(self._bases)

    def _with_classes(self, classes: Tensor, turns: Tensor) -> "ClassPool":
        pool = copy.copy(self)
        pool._counts, pool._starts, pool._turns = self._counts[classes], self._starts[classes], turns
        pool._bases = tuple(self._bases[index] for index in classes.tolist())
        return pool


class MetaSplit(NamedTuple):
    """Pools of classes for meta-training, meta-validation and meta-test; `MetaSplit.disjoint` checks them."""

    train: ClassPool
    validation: ClassPool
    test: ClassPool

    @classmethod
    def disjoint(cls, train: ClassPool, validation: ClassPool, test: ClassPool) -> "MetaSplit":
        """The three pools, once it is certain that no class, rotated or not, is in two of them.

        Raises:
            ValueError: a class name is in two pools; the message names one.
        """
        pools = cls(train, validation, test)
        for (first, one), (second, other) in itertools.combinations(zip(cls._fields, pools, strict=True), 2):
            shared = sorted(one.base_names() & other.base_names())
            if shared:
                raise ValueError(
                    f"{len(shared)} classes are in both {first} and {second}, the first {shared[0]!r}; "
                    "meta-learning needs disjoint classes (different classes need different names)"
                )
        return pools


def split(
    pool: ClassPool,
    train: Sequence[int] | Sequence[str],
    validation: Sequence[int] | Sequence[str],
    test: Sequence[int] | Sequence[str],
) -> MetaSplit:
    """Divide a pool by lists of classes, given by index or by name; they need not cover it.

    Raises:
        ValueError: a list is empty, a class is unknown, or a class is named twice.

    Example:
        >>> pool = ClassPool(torch.rand(6, 1, 8, 8), labels=torch.arange(6), names=list("abcdef"))
        >>> pools = split(pool, train=["a", "b", "c"], validation=["d"], test=["e", "f"])
        >>> len(pools.train), len(pools.test)
        (3, 2)
    """
    return MetaSplit.disjoint(pool.subset(train), pool.subset(validation), pool.subset(test))


def _counted(labels: Tensor, names: Sequence[str]) -> Tensor:
    """Images of each class, int64 [classes], where labels and names fit each other."""
    outside = ((labels < 0) | (labels >= len(names))).nonzero()
    if len(outside):
        row = int(outside[0])
        raise ValueError(
            f"image {row} has label {int(labels[row])}, but {len(names)} classes have labels 0 to {len(names) - 1}; "
            "number the classes from 0 and name each"
        )
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"two classes are named {name!r}; give each class its own name")
    counts = torch.bincount(labels, minlength=len(names))
    empty = (counts == 0).nonzero()
    if len(empty):
        name = names[int(empty[0])]
        raise ValueError(f"class {name!r} has no image ({len(empty)} of {len(names)} classes have none); leave it out")
    return counts
