"""Small pools whose images say which class and drawing they are."""

import torch

from metagrad.data.pools import ClassPool


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered_pool(counts=(4, 6, 5, 4, 9), size=3):
    """Every image is filled with its own row number; rows of different classes are interleaved."""
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=generator(1))]
    rows = torch.arange(len(labels), dtype=torch.uint8)
    images = rows.reshape(-1, 1, 1, 1).expand(-1, 1, size, size).contiguous()
    return ClassPool(images, labels, [f"class {label}" for label in range(len(counts))]), labels


def corner_pool(classes=3, drawings=4, size=4):
    """Image j of class c has the value 10·c + j + 1 in its top left corner, and 0 elsewhere."""
    images = torch.zeros(classes * drawings, 1, size, size, dtype=torch.uint8)
    labels = torch.arange(classes).repeat_interleave(drawings)
    images[:, 0, 0, 0] = (10 * labels + torch.arange(drawings).repeat(classes) + 1).to(torch.uint8)
    return ClassPool(images, labels, [f"c{label}" for label in range(classes)])


def images_by_class(pools):
    """Every image of every class of a split, by its name: uint8 [n, H, W, C], as arrays usually have them."""
    return {
        name: pool.take(torch.tensor(row), torch.arange(int(pool.counts[row]))).movedim(1, -1).numpy()
        for pool in pools
        for row, name in enumerate(pool.names)
    }
