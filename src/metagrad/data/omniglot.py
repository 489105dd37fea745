"""Omniglot as pools of classes: which characters are for meta-training, validation and test, and their images."""

import functools
import hashlib
import importlib.resources
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from metagrad.data.archives import Progress, take_inventory
from metagrad.data.pools import MetaSplit, split
from metagrad.data.readers.undecoded import Undecoded, pool_of


class Characters(NamedTuple):
    """Names of the characters of each meta-set, such as "images_background/Greek/character01"."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@functools.cache
def vinyals_characters() -> Characters:
    """The split of Vinyals et al. (2016): 1028 characters for meta-training, 172 for validation, 423 for test.

    Meta-training draws on both archives, so this is not Lake's division into background and evaluation. The lists are
    Torchmeta's (MIT licence).
    """
    text = importlib.resources.files("metagrad.data").joinpath("omniglot_vinyals.json").read_text("utf-8")
    listed: dict[str, dict[str, dict[str, list[int]]]] = json.loads(text)
    return Characters(
        *(
            tuple(
                f"{archive}/{alphabet}/character{number:02d}"
                for archive, alphabets in listed[part].items()
                for alphabet, numbers in alphabets.items()
                for number in numbers
            )
            for part in Characters._fields
        )
    )


def load_omniglot(
    directory: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None = None,
    *,
    characters: Characters | None = None,
    rotated: Collection[str] = ("train",),
    progress: Progress | None = None,
) -> MetaSplit:
    """Omniglot as pools of 28×28 images, uint8 with 255 = ink, 20 drawings of each of 1623 characters.

    The first call decodes the archives, in seconds, and writes one cache file of 25 MB; later calls read that, after
    comparing it with the archives. Archives are never unpacked to the disk.

    Args:
        directory: holds `images_background.zip` and `images_evaluation.zip`, or folders of those names, unpacked;
            directly or in a folder `omniglot`.
        cache: directory for the decoded images; None for `default_cache()`.
        characters: which characters make up each meta-set; None for `vinyals_characters()`.
        rotated: the sets whose characters, turned by 90, 180 and 270 degrees, are further classes. ("train",) gives
            4112, 172 and 423 classes, as Torchmeta does; ("train", "validation", "test") gives 4112, 688 and 1692, as
            Vinyals et al. and prototypical networks do.
        progress: called with the images decoded so far and their total; not called where the cache is used.

    Raises:
        ValueError: the directory, an archive or a character is missing, a file is damaged, an image has a wrong size,
            a set is empty, a character is in two sets or twice in one, or `rotated` names an unknown set. The message
            names the first file or character concerned.

    Warns:
        UserWarning: the cache is damaged, and made anew; or it cannot be written, and the next call decodes again.
    """
    chosen = vinyals_characters() if characters is None else characters
    unknown = sorted(set(rotated) - set(MetaSplit._fields))
    if unknown:
        raise ValueError(f"rotated must name sets among {', '.join(MetaSplit._fields)}, got {unknown[0]!r}")
    names = sorted({name for part in chosen for name in part})
    inventory = take_inventory(Path(directory), names)
    # One file for each list of characters, so that experiments on different lists do not replace each other's.
    listed = hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]
    path = Path(directory)
    images = Undecoded(f"omniglot-{listed}", path, inventory.fingerprint(), lambda: inventory.decode(progress))
    pools = split(pool_of(images, cache), *chosen)
    turned = {part: getattr(pools, part).with_rotations() for part in rotated}
    return pools._replace(**turned)
