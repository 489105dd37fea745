"""Omniglot's archives: small ones made here, decoded exactly, and damaged in every way."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.fuzzing import run_in_child
from data.small_omniglot import MEMBERS, NAMES, SMALL, drawing, pixels, write_folders
from metagrad.data.archives import read_omniglot
from metagrad.data.omniglot import load_omniglot


def test_images_are_reduced_by_lanczos_with_ink_at_255(zips):
    images = read_omniglot(zips, NAMES)
    assert images.shape == (5, 20, 28, 28)
    assert images.dtype == np.uint8
    for index, drawer in ((0, 1), (4, 20), (2, 7)):
        small = drawing(index, drawer).convert("L").resize((28, 28), Image.Resampling.LANCZOS)
        assert np.array_equal(images[index, drawer - 1], 255 - np.asarray(small))
    assert images[0, 0, 2, 10] == 255  # in the bar
    assert images[0, 0, 27, 27] == 0  # paper


def test_folders_and_archives_give_identical_images(zips, tmp_path, cache):
    folders = write_folders(tmp_path / "folders", MEMBERS)
    assert np.array_equal(read_omniglot(zips, NAMES), read_omniglot(folders, NAMES))
    os.replace(folders / "images_evaluation", tmp_path / "elsewhere")
    os.replace(zips / "images_evaluation.zip", folders / "images_evaluation.zip")
    mixed = load_omniglot(folders, cache, characters=SMALL, rotated=())
    assert torch.equal(pixels(mixed.test)[0, 4], torch.from_numpy(read_omniglot(folders, NAMES)[4, 4]))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded by what Linux tells")
def test_damaged_archives_images_lists_and_caches_give_a_sentence_or_what_was_in_them():
    ends = run_in_child("fuzz_archives", seed=19)
    for form in ("tar", "gzip", "npz", "omniglot", "image", "list"):
        assert ends[f"{form} refused"] > 5  # hundreds of draws, but on a busy machine
    assert ends["cache read"] > 5
