"""CIFAR-FS and FC100 from CIFAR-100's files: the pixels of the source, the published classes, and what is refused."""

import pickle
import re

import numpy as np
import pytest

from metagrad.tasks.cifar import load_cifar_fs, load_fc100
from metagrad.tasks.splits import ClassLists
from tasks.small_cifar import LISTS, NAMES, batches, pixels, write_archive, write_folder, write_part
from tasks.small_pools import images_by_class


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


def cut(directory, name, share):
    data = (directory / name).read_bytes()
    (directory / name).write_bytes(data[: int(share * len(data))])


def hostile(touched):
    class Attack:
        def __reduce__(self):
            return exec, (f"open({str(touched)!r}, 'w')",)

    return pickle.dumps({"data": Attack()})


def without(members, member, key):
    return {**members, member: {name: held for name, held in members[member].items() if name != key}}


REFUSED = {
    "nothing there": (
        lambda d: None,
        "holds no CIFAR-FS, directly or in a folder cifar-fs or cifarfs or cifar100: neither CIFAR_FS_train.pickle",
    ),
    "no directory": (lambda d: d.rmdir(), "there is no directory"),
    "archive cut in half": (
        lambda d: cut(write_archive(d, batches(pixels())), "cifar-100-python.tar.gz", 0.5),
        "cannot be read as CIFAR-100",
    ),
    "no archive": (
        lambda d: (d / "cifar-100-python.tar.gz").write_bytes(b"<html>moved</html>"),
        "cannot be read as CIFAR-100",
    ),
    "empty archive": (lambda d: write_archive(d, {}), "it lacks 'meta'"),
    "no test images": (
        lambda d: write_archive(d, {m: held for m, held in batches(pixels()).items() if m != "test"}),
        "it lacks 'test'",
    ),
    "wrong key": (lambda d: write_archive(d, without(batches(pixels()), "train", "fine_labels")), "'fine_labels'"),
    "labels of other classes": (
        lambda d: write_archive(d, {**batches(pixels()), "meta": {"fine_label_names": [*NAMES, "worm"]}}),
        "its labels are not those of its 8 classes",
    ),
    "images of another size": (
        lambda d: write_archive(
            d, {**batches(pixels()), "test": {"data": np.zeros((1, 100), np.uint8), "fine_labels": [0]}}
        ),
        "cannot be read as CIFAR-100",
    ),
    "hostile member": (
        lambda d: write_archive(d, {**batches(pixels()), "train": hostile(d / "touched")}),
        "it asks for builtins.exec",
    ),
    "part cut in half": (
        lambda d: cut(write_part(d, pixels()), "cifar100_mini60.npz", 0.5),
        "cannot be read as CIFAR-100",
    ),
    "part of floats": (lambda d: write_part(d, pixels() / 255), "its images are float64"),
    "part of another shape": (lambda d: write_part(d, pixels()[..., :2]), "not uint8 [classes, n, 32, 32, 3]"),
    "part with a class named twice": (lambda d: write_part(d, pixels(), [*NAMES[:6], "apple"]), "7 classes of images"),
    "part with objects": (
        lambda d: np.savez(d / "cifar100_mini60.npz", images=np.array([{}], object), classes=np.array(["a"])),
        "cannot be read as CIFAR-100",
    ),
    "class missing": (
        lambda d: write_part(d, pixels()[:5], NAMES[:5]),
        "lacks 2 of the 3 classes of train, the first missing is 'fox'",
    ),
}


@pytest.mark.parametrize(("write", "sentence"), REFUSED.values(), ids=REFUSED)
def test_files_that_cannot_be_used_are_named(write, sentence, tmp_path, cache):
    directory = tmp_path / "data"
    directory.mkdir()
    write(directory)
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        load_cifar_fs(directory, cache, classes=LISTS)
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (directory / "touched").exists()
    assert not list(cache.glob("*.partial"))


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
