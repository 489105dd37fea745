"""Class pools: subsets, rotations and splits of them, and what is refused."""

import itertools
import math

import pytest
import torch

from data.small_pools import corner_pool
from metagrad.data.pools import ClassPool, MetaSplit, split


def test_rotations_are_further_classes_turned_counter_clockwise():
    pool = corner_pool()
    rotated = pool.with_rotations()
    assert len(rotated) == 12
    assert rotated.names[:4] == ("c0", "c1", "c2", "c0/rot090")
    assert rotated.names[-1] == "c2/rot270"
    assert rotated.counts.tolist() == [4] * 12
    classes = torch.arange(12)
    every = rotated.take(classes, torch.arange(4).expand(12, 4))
    for turn, (row, column) in enumerate([(0, 0), (3, 0), (3, 3), (0, 3)]):
        for label, drawing in itertools.product(range(3), range(4)):
            image = every[3 * turn + label, drawing, 0]
            assert image[row, column] == 10 * label + drawing + 1
            assert image.count_nonzero() == 1
            assert torch.equal(image, torch.rot90(every[label, drawing, 0], turn, (0, 1)))
    assert torch.equal(rotated.take(torch.tensor(4), torch.arange(4)), every[4])
    assert pool.with_rotations((180,)).names[3:] == ("c0/rot180", "c1/rot180", "c2/rot180")


def test_subsets_keep_the_images_of_their_classes():
    pool = corner_pool()
    for classes in ([2, 0], ["c2", "c0"]):
        chosen = pool.subset(classes)
        assert chosen.names == ("c2", "c0")
        corner = chosen.take(torch.tensor([0, 1]), torch.arange(4).expand(2, 4))[..., 0, 0, 0]
        assert corner.tolist() == [[21, 22, 23, 24], [1, 2, 3, 4]]
    turned = pool.with_rotations().subset(["c1/rot180", "c1"])
    assert turned.take(torch.tensor([0]), torch.tensor([[2]]))[0, 0, 0, 3, 3] == 13


def test_subsets_and_rotations_share_the_images_and_moving_keeps_only_what_is_used():
    pool = corner_pool()
    chosen = pool.subset(["c2", "c0"]).with_rotations((90,))
    moved = chosen.to("cpu")
    classes, positions = torch.arange(4), torch.arange(4).expand(4, 4)
    assert torch.equal(moved.take(classes, positions), chosen.take(classes, positions))
    assert moved.names == chosen.names
    assert chosen._images is pool._images
    assert len(moved._images) == 8


def test_images_outside_their_class_are_not_taken_from_another():
    pool = corner_pool()
    with pytest.raises(ValueError, match="position 4 is outside its class"):
        pool.take(torch.tensor([0, 1]), torch.tensor([[3], [4]]))
    with pytest.raises(ValueError, match="position -1 is outside its class"):
        pool.take(torch.tensor(1), torch.tensor([-1]))


def test_split_takes_classes_by_name_or_index():
    pools = split(corner_pool(), ["c2"], [0], ["c1"])
    assert [pools.train.names, pools.validation.names, pools.test.names] == [("c2",), ("c0",), ("c1",)]


def test_overlapping_pools_are_refused_even_if_rotated():
    pool = corner_pool()
    with pytest.raises(ValueError, match="1 classes are in both train and test, the first 'c1'"):
        split(pool, ["c0", "c1"], ["c2"], ["c1"])
    with pytest.raises(ValueError, match="both train and validation, the first 'c0'"):
        MetaSplit.disjoint(pool.subset(["c0"]), pool.with_rotations().subset(["c0/rot090"]), pool.subset(["c2"]))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: ClassPool(torch.zeros(0, 1, 2, 2), torch.zeros(0).long()), ValueError, r"got \[0, 1, 2, 2\]"),
        (lambda: ClassPool(torch.zeros(3, 2), torch.zeros(2).long()), ValueError, r"one per image, \[3\], got \[2\]"),
        (lambda: ClassPool(torch.zeros(3, 2), torch.zeros(3)), TypeError, "labels must be integers"),
        (lambda: ClassPool(torch.zeros(3, 2).int(), torch.zeros(3).long()), TypeError, "uint8 or floating"),
        (
            lambda: ClassPool(torch.zeros(3, 2), torch.tensor([0, 1, 2]), ["a", "b"]),
            ValueError,
            "image 2 has label 2, but 2 classes have labels 0 to 1",
        ),
        (lambda: ClassPool(torch.zeros(2, 2), torch.tensor([0, -1]), ["a"]), ValueError, "image 1 has label -1"),
        (lambda: ClassPool(torch.zeros(2, 2), torch.tensor([0, 2])), ValueError, "class '1' has no image"),
        (
            lambda: ClassPool(torch.zeros(2, 2), torch.tensor([0, 1]), ["a", "a"]),
            ValueError,
            "two classes are named 'a'",
        ),
        (
            lambda: ClassPool(torch.tensor([[0.0], [math.inf]]), torch.tensor([0, 0])),
            ValueError,
            "image 1 holds a NaN or an infinite value",
        ),
        (lambda: corner_pool().subset([]), ValueError, "at least one class"),
        (lambda: corner_pool().subset(["c9"]), ValueError, "no class 'c9' in a pool of 3 classes"),
        (lambda: corner_pool().subset([3]), ValueError, "no class 3 in a pool of 3 classes"),
        (lambda: corner_pool().subset(["c1", "c1"]), ValueError, "class 'c1' is asked for twice"),
        (lambda: corner_pool().with_rotations((45,)), ValueError, r"among 90, 180 and 270, got \(45,\)"),
        (lambda: corner_pool().with_rotations((90, 90)), ValueError, "different angles"),
        (lambda: corner_pool().with_rotations().with_rotations(), ValueError, "rotated already"),
        (
            lambda: ClassPool(torch.zeros(2, 5), torch.tensor([0, 0])).with_rotations(),
            ValueError,
            r"square images \[C, H, H\], got \[5\]",
        ),
        (
            lambda: ClassPool(torch.zeros(1, 1, 2, 3), torch.tensor([0])).with_rotations(),
            ValueError,
            r"square images .* got \[1, 2, 3\]",
        ),
    ],
)
def test_bad_pools_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()
