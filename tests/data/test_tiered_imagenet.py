"""tieredImageNet: PNG files in pickles, colours the right way round, both kinds of labels, and what is refused."""

import pickle

import numpy as np
import pytest

from data import python2
from data.small_imagenet import (
    LISTS,
    descriptions,
    offset,
    source,
    specific,
    write_divided_folders,
    write_png_pickles,
    write_synsets,
)
from data.small_pools import images_by_class
from metagrad.data.splits import ClassLists, published
from metagrad.data.tiered_imagenet import load_tiered_imagenet


def assert_holds(pools, images, lists):
    assert [pool.names for pool in pools] == [tuple(names) for names in lists]
    found = images_by_class(pools)
    for held, names in zip(images, lists, strict=True):
        for name, of_class in zip(names, held.values(), strict=True):
            assert np.array_equal(found[name], of_class), name


@pytest.mark.parametrize("dump", [pickle.dumps, python2.dumps, lambda held: pickle.dumps(held, 5)])
def test_labels_with_descriptions(tmp_path, cache, dump):
    directory = write_png_pickles(tmp_path, source(), specific, dump)
    pools = load_tiered_imagenet(directory, cache, classes=LISTS)
    assert_holds(pools, source(), [descriptions(names) for names in LISTS])
    assert_holds(load_tiered_imagenet(directory, cache, classes=LISTS), source(), [p.names for p in pools])


def test_labels_with_keys_of_bytes(tmp_path, cache):
    def labels(*arguments):
        held = specific(*arguments)
        held["label_specific_str"] = [name.encode() for name in held["label_specific_str"]]
        return {key.encode(): value for key, value in held.items()}

    directory = write_png_pickles(tmp_path, source(), labels)
    assert_holds(
        load_tiered_imagenet(directory, cache, classes=LISTS), source(), [descriptions(names) for names in LISTS]
    )


def test_labels_without_names_that_go_on_from_set_to_set(tmp_path, cache):
    directory = write_png_pickles(tmp_path, source(), offset)
    names = [["class 0", "class 1", "class 2"], ["class 3", "class 4"], ["class 5", "class 6"]]
    assert_holds(load_tiered_imagenet(directory, cache, classes=LISTS), source(), names)


def test_files_are_bytes_or_arrays_of_one_or_two_axes(tmp_path, cache):
    write_png_pickles(tmp_path, source(), offset)
    for part, change in (("train", np.ravel), ("val", np.ndarray.tobytes), ("test", lambda file: file)):
        path = tmp_path / f"{part}_images_png.pkl"
        path.write_bytes(pickle.dumps([change(file) for file in pickle.loads(path.read_bytes())]))
    found = images_by_class(load_tiered_imagenet(tmp_path, cache, classes=LISTS))
    assert np.array_equal(found["class 3"], source()[1][LISTS.validation[0]])


def test_red_stays_red(tmp_path, cache):
    """OpenCV writes its blue-first pixels as a correct PNG: whoever reads that with Pillow must not flip again."""
    red = np.zeros((3, 84, 84, 3), np.uint8)
    red[..., 0] = 200
    images = [{name: red for name in names} for names in LISTS]
    pools = load_tiered_imagenet(write_png_pickles(tmp_path, images, offset), cache, classes=LISTS)
    for images_of_class in images_by_class(pools).values():
        assert (images_of_class == [200, 0, 0]).all()


def test_synsets_beside_the_pickles_name_the_classes_and_order_them_as_published(tmp_path, cache):
    reordered = [dict(reversed(held.items())) for held in source()]
    directory = write_synsets(write_png_pickles(tmp_path, reordered, specific))
    assert_holds(load_tiered_imagenet(directory, cache, classes=LISTS), source(), LISTS)


def test_of_two_synsets_with_one_description_the_one_of_the_set_is_meant(tmp_path, cache):
    directory = write_synsets(write_png_pickles(tmp_path, source(), specific))
    with (directory / "synsets.txt").open("a") as synsets, (directory / "class_names.txt").open("a") as names:
        for part in LISTS:
            synsets.write(f"n0000{part[0][-4:]}\n")
            names.write(f"{descriptions(part)[0]}\n")
    assert_holds(load_tiered_imagenet(directory, cache, classes=LISTS), source(), LISTS)


def test_class_folders(tmp_path, cache):
    directory = write_divided_folders(tmp_path / "tiered-imagenet", source()).parent
    assert_holds(load_tiered_imagenet(directory, cache, classes=LISTS), source(), LISTS)


@pytest.mark.slow
def test_a_set_of_the_real_number_of_classes(tmp_path, cache):
    lists = published("tiered_imagenet")
    images = source(lists, count=2)
    directory = write_png_pickles(tmp_path, images, specific, python2.dumps)
    (directory / "synsets.txt").write_text("\n".join(name for names in lists for name in names))
    (directory / "class_names.txt").write_text("\n".join(d for names in lists for d in descriptions(names)))
    pools = load_tiered_imagenet(directory, cache)
    assert_holds(pools, images, lists)
    assert [len(pool) for pool in pools] == [351, 97, 160]


def test_overlapping_lists_are_refused(tmp_path, cache):
    lists = ClassLists(LISTS.train, LISTS.validation, LISTS.validation)
    images = [*source()[:2], source()[1]]
    with pytest.raises(ValueError, match="2 classes are in both validation and test"):
        load_tiered_imagenet(write_divided_folders(tmp_path, images), cache, classes=lists)
