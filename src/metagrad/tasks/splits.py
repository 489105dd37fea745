"""Which classes of a data set are for meta-training, validation and test: the published lists, and pools after them."""

import functools
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from metagrad.tasks.pools import ClassPool, MetaSplit, split

Published = Literal["mini_imagenet", "tiered_imagenet", "cifar_fs", "fc100"]


class ClassLists(NamedTuple):
    """Names of the classes of each meta-set."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@functools.cache
def published(name: Published) -> ClassLists:
    """The published split of a data set, by ImageNet synset or by fine class of CIFAR-100.

    miniImageNet 64, 16 and 20 classes (Ravi and Larochelle 2017); tieredImageNet 351, 97 and 160 (Ren et al. 2018);
    CIFAR-FS 64, 16 and 20 (Bertinetto et al. 2019); FC100 60, 20 and 20 (Oreshkin et al. 2018). `class_lists/` has the
    sources and their licence (MIT).
    """
    return ClassLists(*(tuple(c for group in groups.values() for c in group) for groups in published_groups(name)))


def published_groups(name: Published) -> tuple[Mapping[str, Sequence[str]], ...]:
    """The same lists by superclass, one mapping for each meta-set; tieredImageNet and FC100 divide superclasses."""
    text = importlib.resources.files("metagrad.tasks").joinpath("class_lists", f"{name}.json").read_text("utf-8")
    listed: dict[str, dict[str, list[str]]] = json.loads(text)
    return tuple(listed[part] for part in ClassLists._fields)


def divided(pool: ClassPool, lists: ClassLists, path: Path) -> MetaSplit:
    """A pool of all classes, divided by lists of their names; `path` is where it came from, for messages.

    Raises:
        ValueError: a class of a list is not in the pool, or is in two lists.
    """
    known = set(pool.names)
    for part, names in zip(ClassLists._fields, lists, strict=True):
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(
                f"{path} lacks {len(missing)} of the {len(names)} classes of {part}, the first missing is "
                f"{missing[0]!r}; get it again"
            )
    return split(pool, *lists)
