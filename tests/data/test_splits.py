"""The published class lists: disjoint, of the published sizes, and equal to the files that they come from."""

import csv
import itertools
import json
from importlib import resources

import pytest

from metagrad.data.splits import published, published_groups

SIZES = {
    "mini_imagenet": (64, 16, 20),
    "tiered_imagenet": (351, 97, 160),
    "cifar_fs": (64, 16, 20),
    "fc100": (60, 20, 20),
}
FILES = ("train", "val", "test")


@pytest.mark.parametrize(("name", "sizes"), SIZES.items())
def test_lists_are_disjoint_and_of_the_published_sizes(name, sizes):
    lists = published(name)
    assert tuple(map(len, lists)) == sizes
    assert len(set().union(*lists)) == sum(sizes)


@pytest.mark.parametrize(("name", "sizes"), [("tiered_imagenet", (20, 6, 8)), ("fc100", (12, 4, 4))])
def test_superclasses_are_divided_too(name, sizes):
    groups = published_groups(name)
    assert tuple(map(len, groups)) == sizes
    assert all(not one.keys() & other.keys() for one, other in itertools.combinations(groups, 2))


def listed(shared_data, *parts):
    path = shared_data.joinpath("splits", *parts)
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path.read_text()


def test_mini_imagenet_is_that_of_ravi_and_larochelle(shared_data):
    for ours, part in zip(published("mini_imagenet"), FILES, strict=True):
        rows = csv.DictReader(listed(shared_data, "miniimagenet_ravi", f"{part}.csv").splitlines())
        assert ours == tuple(dict.fromkeys(row["label"] for row in rows))


def test_tiered_imagenet_is_that_of_ren_and_others(shared_data):
    for groups, part in zip(published_groups("tiered_imagenet"), FILES, strict=True):
        rows = list(csv.reader(listed(shared_data, "tieredimagenet", f"{part}.csv").splitlines()))
        assert sorted((c, category) for category, names in groups.items() for c in names) == sorted(map(tuple, rows))


def test_cifar_fs_is_that_of_torchmeta(shared_data):
    for groups, part in zip(published_groups("cifar_fs"), FILES, strict=True):
        rows = json.loads(listed(shared_data, "cifar_fs", f"{part}.json"))
        assert sorted([group, c] for group, names in groups.items() for c in names) == sorted(rows)


def test_fc100_is_that_of_torchmeta(shared_data):
    superclass = json.loads(listed(shared_data, "cifar100_fine_to_coarse.json"))
    for groups, part in zip(published_groups("fc100"), FILES, strict=True):
        assert set(groups) == set(json.loads(listed(shared_data, "fc100", f"{part}.json")))
        assert all(superclass[c] == group for group, names in groups.items() for c in names)


def test_the_lists_travel_with_their_licence():
    text = resources.files("metagrad.data").joinpath("class_lists", "LICENSE.txt").read_text("utf-8")
    assert "Twitter" in text
    assert "Deleu" in text
    assert "Ren" in text
    assert "Permission is hereby granted" in text
