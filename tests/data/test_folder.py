"""A user's own folders of images."""

import os

import numpy as np
import pytest
from PIL import Image

from data.small_imagenet import LISTS, source, write_divided_folders, write_image
from data.small_pools import images_by_class
from metagrad.data.folder import load_folder


def test_classes_are_the_folders_and_images_keep_the_order_of_their_names(tmp_path, cache):
    directory = write_divided_folders(tmp_path, source(), names=("train", "valid", "test"))
    write_image(directory / "train" / LISTS.train[0] / ".hidden.png", source()[0][LISTS.train[0]][0])
    (directory / "train" / ".cache").mkdir()
    (directory / "train" / "empty").mkdir()
    pools = load_folder(directory, 84, cache)
    assert [pool.names for pool in pools] == list(LISTS)
    found = images_by_class(pools)
    assert all(np.array_equal(found[name], images) for held in source() for name, images in held.items())


def test_images_are_brought_to_the_size_asked_for(tmp_path, cache):
    directory = write_divided_folders(tmp_path, source())
    small, large = load_folder(directory, 20, cache), load_folder(directory, 84, cache)
    assert small.train.image_shape == (3, 20, 20)
    assert large.train.image_shape == (3, 84, 84)
    name = LISTS.test[1]
    expected = Image.fromarray(source()[2][name][1]).resize((20, 20), Image.Resampling.LANCZOS)
    assert np.array_equal(images_by_class(small)[name][1], np.asarray(expected))


def test_changed_added_and_removed_images_are_seen(tmp_path, cache):
    directory = write_divided_folders(tmp_path, source())
    name = LISTS.train[1]
    load_folder(directory, 8, cache)
    write_image(directory / "train" / name / "zzz.png", np.full((8, 8, 3), 7, np.uint8))
    found = images_by_class(load_folder(directory, 8, cache))[name]
    assert (len(found), int(found[3].min()), int(found[3].max())) == (4, 7, 7)
    os.utime(directory / "train" / name / "zzz.png", ns=(0, 0))
    write_image(directory / "train" / name / "zzz.png", np.full((8, 8, 3), 9, np.uint8))
    assert int(images_by_class(load_folder(directory, 8, cache))[name][3].max()) == 9
    (directory / "train" / name / "zzz.png").unlink()
    assert len(images_by_class(load_folder(directory, 8, cache))[name]) == 3


def test_two_folders_have_cache_files_of_their_own(tmp_path, cache):
    for number in range(2):
        load_folder(write_divided_folders(tmp_path / str(number), source(seed=number)), 84, cache)
    assert len(list(cache.iterdir())) == 6


@pytest.mark.parametrize(
    ("size", "error", "sentence"),
    [
        (0, ValueError, "size must be at least 1, got 0"),
        (8.5, TypeError, "size must be an integer"),
    ],
)
def test_what_cannot_be_read_is_named(size, error, sentence, tmp_path, cache):
    with pytest.raises(error, match=sentence):
        load_folder(tmp_path, size, cache)
