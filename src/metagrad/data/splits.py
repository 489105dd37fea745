"""Which classes of a data set are for meta-training, validation and test: the published lists, and pools after them."""

import functools
import importlib.resources
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from metagrad.data.pools import ClassPool, MetaSplit, split

_NUMBERED = re.compile(r"class -?\d+")

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
    text = importlib.resources.files("metagrad.data").joinpath("class_lists", f"{name}.json").read_text("utf-8")
    listed: dict[str, dict[str, list[str]]] = json.loads(text)
    return tuple(listed[part] for part in ClassLists._fields)


def numbered_name(label: int) -> str:
    """What a class is called of which a file tells only the number."""
    return f"class {label}"


def as_published(pools: MetaSplit, lists: ClassLists, paths: Sequence[Path]) -> MetaSplit:
    """Pools that came divided, once it is certain that they are divided as the lists say, with classes in their order.

    Where files tell only the numbers of their classes, `counted` does what can be done.

    Args:
        pools: one for each meta-set, as read.
        lists: what they should hold.
        paths: where each came from, for messages.

    Raises:
        ValueError: a pool lacks a class of its list, or has another one.
    """
    if all(_NUMBERED.fullmatch(name) for pool in pools for name in pool.names):
        return counted(pools, lists, paths)
    ordered: list[ClassPool] = []
    for part, pool, names, path in zip(MetaSplit._fields, pools, lists, paths, strict=True):
        foreign = sorted(set(pool.names) - set(names))
        if foreign:
            raise ValueError(
                f"{path} has {len(foreign)} classes that are not of {part}, the first {foreign[0]!r}; it is another "
                "split"
            )
        _check_has(pool, part, names, path)
        ordered.append(pool.subset(names))
    return MetaSplit.disjoint(*ordered)


def counted(pools: MetaSplit, lists: ClassLists, paths: Sequence[Path]) -> MetaSplit:
    """Pools that came divided, with as many classes as the lists have names, and none in two of them.

    For files whose classes have numbers or descriptions in place of the names of the lists.

    Raises:
        ValueError: a pool has more or fewer classes, or one in common with another pool.
    """
    for part, pool, names, path in zip(MetaSplit._fields, pools, lists, paths, strict=True):
        if len(pool) != len(names):
            raise ValueError(f"{path} has {len(pool)} classes, but {part} has {len(names)}; it is another split")
    return MetaSplit.disjoint(*pools)


def divided(pool: ClassPool, lists: ClassLists, path: Path) -> MetaSplit:
    """A pool of all classes, divided by lists of their names; `path` is where it came from, for messages.

    Raises:
        ValueError: a class of a list is not in the pool, or is in two lists.
    """
    for part, names in zip(ClassLists._fields, lists, strict=True):
        _check_has(pool, part, names, path)
    return split(pool, *lists)


def _check_has(pool: ClassPool, part: str, names: Sequence[str], path: Path) -> None:
    known = set(pool.names)
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} of the {len(names)} classes of {part}, the first missing is {missing[0]!r}; "
            "get it again"
        )
