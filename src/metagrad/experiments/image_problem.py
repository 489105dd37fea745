"""N-way K-shot classification of colour images: miniImageNet, tieredImageNet, CIFAR-FS, FC100, or a folder."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import nn

from metagrad import checks
from metagrad.data.cifar import load_cifar_fs, load_fc100
from metagrad.data.folder import load_folder
from metagrad.data.mini_imagenet import load_mini_imagenet
from metagrad.data.pools import MetaSplit
from metagrad.data.tiered_imagenet import load_tiered_imagenet
from metagrad.experiments.problem import Classification, Sources, data_directory, episodes
from metagrad.networks import Conv4

_LOG = logging.getLogger(__name__)

Dataset = Literal["mini-imagenet", "tiered-imagenet", "cifar-fs", "fc100", "folder"]


class _Kind(NamedTuple):
    title: str
    files: str  # that the directory should hold
    load: Callable[[Path, int], MetaSplit]  # of a directory, and the size of the images


_CIFAR_FILES = (
    "cifar-100-python.tar.gz (www.cs.toronto.edu/~kriz/cifar.html), or another form that docs/how-to/data.md lists"
)
_KINDS: Mapping[str, _Kind] = {
    "mini-imagenet": _Kind(
        "miniImageNet",
        "mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl, or another form that docs/how-to/data.md lists",
        lambda directory, _: load_mini_imagenet(directory),
    ),
    "tiered-imagenet": _Kind(
        "tieredImageNet",
        "train_images_png.pkl, train_labels.pkl, those of val and test, or another form that docs/how-to/data.md lists",
        lambda directory, _: load_tiered_imagenet(directory),
    ),
    "cifar-fs": _Kind("CIFAR-FS", _CIFAR_FILES, lambda directory, _: load_cifar_fs(directory)),
    "fc100": _Kind("FC100", _CIFAR_FILES, lambda directory, _: load_fc100(directory)),
    "folder": _Kind("a folder of images", "folders train, val and test of class folders", load_folder),
}


@dataclass(frozen=True, kw_only=True)
class ImageClassification(Classification):
    """N-way K-shot classification of colour images with a four-block convolutional network.

    Pixels p in 0…255 enter the network as (p/255 − mean)/std.
    """

    dataset: Dataset = field(metadata={"help": "which images"})
    data: str | None = field(metadata={"help": "directory with the data set's files, none for $METAGRAD_DATA"})
    ways: int = field(metadata={"help": "classes of a task"})
    shots: int = field(metadata={"help": "support images of a class"})
    queries: int = field(metadata={"help": "query images of a class in meta-training and validation"})
    test_queries: int = field(metadata={"help": "query images of a class in test tasks"})
    size: int = field(metadata={"help": "height and width of the images (pixels)"})
    mean: tuple[float, ...] = field(metadata={"help": "subtracted from red, green and blue in 0…1"})
    std: tuple[float, ...] = field(metadata={"help": "what they are divided by then"})
    filters: int = field(metadata={"help": "channels of each convolution"})
    pooling: Literal["stride", "max"] = field(
        metadata={"help": "what halves the images, strided convolutions or 2×2 max-pooling"}
    )

    def __post_init__(self) -> None:
        if self.dataset not in get_args(Dataset):
            raise ValueError(f"dataset must be one of {', '.join(get_args(Dataset))}, got {self.dataset!r}")
        checks.integer("ways", self.ways, least=2)
        for name in ("shots", "queries", "test_queries", "size", "filters"):
            checks.integer(name, getattr(self, name), least=1)
        for name, values, above in (("mean", self.mean, None), ("std", self.std, 0)):
            if len(values) != 3:
                raise ValueError(f"{name} must be three numbers, for red, green and blue, got {values!r}")
            for value in values:
                checks.number(name, value, above=above)
        if self.pooling not in ("stride", "max"):
            raise ValueError(f"pooling must be 'stride' or 'max', got {self.pooling!r}")

    def model(self) -> nn.Module:
        """Conv4 on colour images of the configured size."""
        return Conv4(self.ways, channels=3, filters=self.filters, size=self.size, pooling=self.pooling)

    def sources(self, device: torch.device) -> Sources:
        """Episodes from three pools without a common class; images stay on the disk and go to `device` when drawn."""
        kind = _KINDS[self.dataset]
        pools = kind.load(data_directory(self.data, kind.title, kind.files), self.size)
        shape = pools.train.image_shape
        if shape != (3, self.size, self.size):
            raise ValueError(f"{kind.title} has images {list(shape)}, so problem.size cannot be {self.size}")
        images = ", ".join(str(int(pool.counts.sum())) for pool in pools)
        classes = ", ".join(str(len(pool)) for pool in pools)
        _LOG.info("%s: %s images of %s classes for training, validation and test", kind.title, images, classes)
        pixels = {"mean": self.mean, "std": self.std, "device": device}
        return episodes(pools, self.ways, self.shots, self.queries, self.test_queries, **pixels)
