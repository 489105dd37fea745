"""Omniglot as pools: the lists of characters, rotations, and the real archives where they are."""

import os
import re
from pathlib import Path

import pytest
import torch

from data.small_omniglot import MEMBERS, NAMES, SMALL, drawing, pixels, png, write_folders, write_zips
from metagrad.data.archives import read_omniglot
from metagrad.data.images import ImageEpisodes
from metagrad.data.omniglot import load_omniglot, vinyals_characters


def test_pools_hold_the_characters_of_their_lists_with_rotations_for_training(zips, cache):
    pools = load_omniglot(zips, cache, characters=SMALL)
    assert pools.train.names[:3] == SMALL.train
    assert pools.train.names[3] == NAMES[0] + "/rot090"
    assert [len(pool) for pool in pools] == [12, 1, 1]
    assert pools.test.names == SMALL.test
    everything = torch.from_numpy(read_omniglot(zips, NAMES))
    train = pixels(pools.train)
    for turn in range(4):
        assert torch.equal(train[3 * turn : 3 * turn + 3], torch.rot90(everything[:3], turn, (-2, -1)))
    assert torch.equal(pixels(pools.validation), everything[3:4])
    assert torch.equal(pixels(pools.test), everything[4:])


def test_which_sets_are_rotated_is_chosen(zips, cache):
    none = load_omniglot(zips, cache, characters=SMALL, rotated=())
    assert [len(pool) for pool in none] == [3, 1, 1]
    every = load_omniglot(zips, cache, characters=SMALL, rotated=("train", "validation", "test"))
    assert [len(pool) for pool in every] == [12, 4, 4]
    with pytest.raises(ValueError, match="rotated must name sets among train, validation, test, got 'val'"):
        load_omniglot(zips, cache, characters=SMALL, rotated=("val",))


@pytest.mark.parametrize("write", [write_zips, write_folders])
def test_the_files_are_found_in_a_folder_of_the_directory_or_in_it(write, tmp_path, cache):
    (tmp_path / "data").mkdir()
    inner = load_omniglot(write(tmp_path / "data" / "omniglot", MEMBERS).parent, cache, characters=SMALL)
    assert torch.equal(pixels(inner.train)[:3], torch.from_numpy(read_omniglot(tmp_path / "data", NAMES[:3])))
    other = {name: png(drawing(0, 1)) for name in MEMBERS}
    write(tmp_path / "data", other)
    outer = load_omniglot(tmp_path / "data", cache, characters=SMALL)
    assert not torch.equal(pixels(outer.train), pixels(inner.train))


def test_archives_are_not_unpacked_and_their_directory_stays_as_it_was(zips, tmp_path, cache):
    before = sorted(tmp_path.rglob("*"))
    load_omniglot(zips, cache, characters=SMALL)
    assert [path for path in sorted(tmp_path.rglob("*")) if cache not in (path, path.parent)] == before


def test_progress_counts_images_and_is_silent_on_a_cached_load(zips, cache):
    calls = []
    load_omniglot(zips, cache, characters=SMALL, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(20, 100), (40, 100), (60, 100), (80, 100), (100, 100)]
    load_omniglot(zips, cache, characters=SMALL, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) == 5


def test_a_character_in_two_sets_is_refused(zips, cache):
    twice = SMALL._replace(test=(NAMES[0],))
    with pytest.raises(ValueError, match=f"both train and test, the first '{NAMES[0]}'"):
        load_omniglot(zips, cache, characters=twice)


def test_vinyals_lists_are_complete_and_disjoint():
    listed = vinyals_characters()
    assert [len(part) for part in listed] == [1028, 172, 423]
    every = [name for part in listed for name in part]
    assert len(set(every)) == 1623
    assert sum(name.startswith("images_background/") for name in every) == 964
    assert len({name.rsplit("/", 1)[0] for name in every}) == 50
    assert all(re.fullmatch(r"images_(background|evaluation)/[^/]+/character\d\d", name) for name in every)
    assert {f"images_evaluation/Gurmukhi/character{number}" for number in range(42, 46)} <= set(listed.test)


DATA = Path(os.environ.get("METAGRAD_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
OMNIGLOT = DATA / "omniglot" if (DATA / "omniglot").is_dir() else DATA
needs_omniglot = pytest.mark.skipif(
    not (OMNIGLOT / "images_background.zip").is_file(),
    reason=f"the real Omniglot archives are not in {OMNIGLOT}; set METAGRAD_DATA",
)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The real pools, decoded and then loaded from the cache."""
    cache = tmp_path_factory.mktemp("omniglot")
    decoded = load_omniglot(OMNIGLOT, cache)
    return decoded, load_omniglot(OMNIGLOT, cache)


@needs_omniglot
@pytest.mark.slow
def test_real_omniglot_is_complete_and_plausible(real):
    for pools in real:
        assert [len(pool) for pool in pools] == [4112, 172, 423]
        assert all(pool.counts.eq(20).all() for pool in pools)
        assert {pool.image_shape for pool in pools} == {(1, 28, 28)}
        assert len(pools.train.base_names() | pools.validation.base_names() | pools.test.base_names()) == 1623
    train = pixels(real[0].train)
    assert torch.equal(train, pixels(real[1].train))
    for turn in (1, 2, 3):
        assert torch.equal(train[1028 * turn : 1028 * (turn + 1)], torch.rot90(train[:1028], turn, (-2, -1)))
    for pool in real[0]:
        images = pixels(pool)
        ink = images.float().mean(dim=(-2, -1)) / 255
        assert 0.05 < ink.mean() < 0.12
        assert 0 < ink.min() < ink.max() < 0.3
        assert (images.amin(), images.amax()) == (0, 255)


@needs_omniglot
@pytest.mark.slow
def test_nearest_real_drawing_by_cosine_is_far_above_chance(real):
    """A published-style sanity floor: 5-way 1-shot nearest neighbour on raw pixels is right in 47 to 48 of 100."""
    task = ImageEpisodes(real[0].test, ways=5, shots=1, queries=5).sample(1000, torch.Generator().manual_seed(0))
    support = torch.nn.functional.normalize(task.support.inputs.flatten(2), dim=-1)
    query = torch.nn.functional.normalize(task.query.inputs.flatten(2), dim=-1)
    right = (query @ support.mT).argmax(-1) == task.query.targets
    assert 0.45 < right.float().mean() < 0.50
