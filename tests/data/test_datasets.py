"""Datasets read into pools: the kinds of items that are understood, and those that are refused."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from metagrad.data.datasets import read_dataset
from metagrad.data.pools import ClassPool


class Listed(Dataset):
    def __init__(self, items, **attributes):
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_datasets_of_tensors_arrays_and_pil_images_agree():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    labels = [7, 3, 7, 3, 3, 7]
    tensors = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    kinds = [
        TensorDataset(tensors, torch.tensor(labels)),
        Listed([(image, np.int64(label)) for image, label in zip(pixels, labels, strict=True)]),
        Listed([(Image.fromarray(image), label) for image, label in zip(pixels, labels, strict=True)]),
        Listed(list(pixels), targets=labels),
        Listed([(image,) for image in pixels], labels=np.array(labels)),
    ]
    for dataset in kinds:
        pool = ClassPool.from_dataset(dataset)
        assert pool.names == ("3", "7")
        assert pool.dtype == torch.uint8
        taken = pool.take(torch.tensor([0, 1]), torch.arange(3).expand(2, 3))
        assert torch.equal(taken[0], tensors[[1, 3, 4]])
        assert torch.equal(taken[1], tensors[[0, 2, 5]])


def test_dataset_labels_index_given_names_and_item_labels_win_over_targets():
    dataset = Listed([(torch.zeros(2), 1), (torch.ones(2), 0)], targets=[0, 0])
    pool = ClassPool.from_dataset(dataset, names=["cat", "dog"])
    assert pool.names == ("cat", "dog")
    assert pool.take(torch.tensor([1]), torch.tensor([[0]])).tolist() == [[[0.0, 0.0]]]


def test_grey_and_one_bit_images_get_a_channel():
    ink = np.array([[0, 255], [255, 0]], dtype=np.uint8)
    items = [(ink, 0), (Image.fromarray(ink), 1), (Image.fromarray(ink).convert("1"), 2)]
    pool = ClassPool.from_dataset(Listed(items))
    assert pool.image_shape == (1, 2, 2)
    assert torch.equal(pool.take(torch.arange(3), torch.zeros(3, 1).long())[:, 0, 0], torch.tensor(ink).expand(3, 2, 2))


def test_palette_images_become_rgb_and_read_only_arrays_are_copied():
    colours = np.random.default_rng(0).integers(0, 2, (4, 3, 3), dtype=np.uint8) * 255
    palette = Image.fromarray(colours).quantize(8)
    assert palette.mode == "P"
    colours.setflags(write=False)
    images, labels = read_dataset([(palette, 0), (colours, 1), (colours[::-1], 2)])
    expected = torch.tensor(colours.copy()).permute(2, 0, 1)
    assert torch.equal(images[0], expected)
    assert torch.equal(images[1], expected)
    assert torch.equal(images[2], expected.flip(1))
    assert labels.tolist() == [0, 1, 2]


def test_images_of_a_dataset_carry_no_graph():
    images, _ = read_dataset([(torch.ones(2, requires_grad=True), 0)])
    assert not images.requires_grad


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1), 0


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (Stream(), TypeError, "length and an index, got Stream"),
        (Listed([]), ValueError, "Listed is empty"),
        (Listed([torch.zeros(2)]), ValueError, "item 0 .* is a Tensor, and the dataset has no targets"),
        (Listed([{"image": 1}]), ValueError, "item 0 of the dataset is a dict"),
        (Listed([torch.zeros(2)] * 3, targets=[0, 1]), ValueError, "3 items but 2 targets or labels"),
        (Listed([(np.array([None]), 0)]), TypeError, "item 0 .* is an array that torch cannot hold"),
        (Listed([("a.png", 0)]), TypeError, "item 0 .* must be a tensor, array or PIL image, got str"),
        (Listed([(torch.zeros(2), 0.5)]), TypeError, "label of item 0 must be an integer, got 0.5"),
        (Listed([(torch.zeros(2), 2**63)]), ValueError, "label of item 0 has more than 64 bits"),
        (
            Listed([(torch.zeros(1, 2, 2), 0), (torch.zeros(1, 2, 3), 0)]),
            ValueError,
            r"item 1 .*float32 \[1, 2, 3\], item 0 is torch.float32 \[1, 2, 2\]",
        ),
        (
            Listed([(torch.zeros(2), 0), (torch.zeros(2).double(), 0)]),
            ValueError,
            r"item 1 .*float64 \[2\], item 0 is torch.float32",
        ),
        (Listed([(torch.zeros(2), 0), (torch.tensor([0, math.nan]), 0)]), ValueError, "image 1 holds a NaN"),
        (Listed([(torch.zeros(2).long(), 0)]), TypeError, "uint8 or floating, got torch.int64"),
    ],
)
def test_datasets_that_cannot_be_read_are_named(dataset, error, message):
    with pytest.raises(error, match=message):
        ClassPool.from_dataset(dataset)
