"""CIFAR-FS and FC100 from CIFAR-100's files: the pixels of the source, the published classes, and what is refused."""

import numpy as np
import pytest

from data.small_cifar import LISTS, NAMES, batches, pixels, write_archive, write_folder, write_part
from data.small_pools import images_by_class
from metagrad.data.cifar import load_cifar_fs, load_fc100
from metagrad.data.splits import ClassLists


def assert_holds(pools, images):
    assert [pool.names for pool in pools] == list(LISTS)
    found = images_by_class(pools)
    assert all(np.array_equal(found[name], images[row]) for row, name in enumerate(NAMES))


def test_archive_folder_and_part_give_the_pixels_of_the_source(tmp_path, cache):
    images = pixels()
    places = [
        write_archive(tmp_path / "a", batches(images)),
        write_folder(tmp_path / "b", batches(images)),
        write_part(tmp_path / "c", images),
        write_archive(tmp_path / "d" / "cifar100", batches(images)).parent,
    ]
    for number, place in enumerate(places):
        assert_holds(load_cifar_fs(place, cache / str(number), classes=LISTS), images)
        assert_holds(load_cifar_fs(place, cache / str(number), classes=LISTS), images)
    assert_holds(load_fc100(places[3], cache, classes=LISTS), images)


def test_members_and_classes_in_another_order_give_the_same_pools(tmp_path, cache):
    images = pixels()
    members = dict(reversed(batches(images).items()))
    assert_holds(load_cifar_fs(write_archive(tmp_path / "a", members), cache, classes=LISTS), images)
    part = write_part(tmp_path / "b", images[::-1], NAMES[::-1])
    assert_holds(load_cifar_fs(part, cache, classes=LISTS), images)


def test_both_data_sets_share_one_cache_file(tmp_path, cache):
    write_part(tmp_path, pixels())
    load_cifar_fs(tmp_path, cache, classes=LISTS)
    before = [(path.name, path.stat().st_mtime_ns) for path in cache.iterdir()]
    load_fc100(tmp_path, cache, classes=LISTS)
    assert [(path.name, path.stat().st_mtime_ns) for path in cache.iterdir()] == before
    assert len(before) == 1


def test_changed_files_are_decoded_again(tmp_path, cache):
    load_cifar_fs(write_part(tmp_path, pixels(0)), cache, classes=LISTS)
    assert_holds(load_cifar_fs(write_part(tmp_path, pixels(1)), cache, classes=LISTS), pixels(1))


def test_the_whole_archive_is_preferred_to_a_part(tmp_path, cache):
    write_part(tmp_path, pixels(0, count=2))
    write_archive(tmp_path, batches(pixels(1)))
    assert_holds(load_cifar_fs(tmp_path, cache, classes=LISTS), pixels(1))


def test_overlapping_lists_are_refused(tmp_path, cache):
    lists = ClassLists(LISTS.train, LISTS.validation, ("elephant", "apple"))
    with pytest.raises(ValueError, match="both train and test, the first 'apple'"):
        load_cifar_fs(write_part(tmp_path, pixels()), cache, classes=lists)


def test_the_real_part_has_the_published_splits(shared_data, cache):
    source = shared_data / "cifar100" / "cifar100_mini60.npz"
    if not source.is_file():
        pytest.skip(f"no {source}")
    with np.load(source) as arrays:
        images, names = arrays["images"], arrays["classes"].tolist()
    for load, sizes in ((load_cifar_fs, [64, 16, 20]), (load_fc100, [60, 20, 20])):
        pools = load(shared_data, cache)
        assert [len(pool) for pool in pools] == sizes
        found = images_by_class(pools)
        assert all(np.array_equal(found[name], images[row]) for row, name in enumerate(names))
