"""Hugging Face datasets: a stand-in of the same shape, and the library itself, which the extra `test` brings."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from data.small_pools import images_by_class
from metagrad.data.hugging_face import load_hugging_face
from metagrad.data.pools import split

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
LABELS = [2, 0, 2, 1, 0, 2, 1]
NAMES = ["cat", "dog", "newt"]


def encoded(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


class ClassLabel:
    names = NAMES


class Plain:
    pass


class Columns:
    """What `load_hugging_face` uses of a datasets.Dataset; counts the rows that were read."""

    def __init__(self, columns, features, fingerprint="a1"):
        self.columns, self.features, self._fingerprint = columns, features, fingerprint
        self.read = 0

    @property
    def column_names(self):
        return list(self.columns)

    def __len__(self):
        return len(self.columns["image"])

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        assert type(key) is int
        self.read += 1
        return {name: column[key] for name, column in self.columns.items()}


def dataset(images=None, labels=LABELS, feature=ClassLabel, **options):
    pictures = [Image.fromarray(image) for image in PIXELS] if images is None else images
    return Columns({"image": pictures, "label": labels}, {"image": Plain(), "label": feature()}, **options)


def assert_holds(pool, names=NAMES):
    assert pool.names == tuple(names)
    assert pool.dtype == torch.uint8
    found = images_by_class([pool])
    for label, name in enumerate(names):
        assert np.array_equal(found[name], PIXELS[np.array(LABELS) == label])


def test_images_are_grouped_by_class_and_named_by_the_feature(cache):
    assert_holds(load_hugging_face(dataset(), 8, cache=cache))
    assert_holds(load_hugging_face(dataset([encoded(image) for image in PIXELS]), 8, cache=cache / "bytes"))


def test_labels_without_names_and_labels_of_text(cache, tmp_path):
    assert_holds(load_hugging_face(dataset(feature=Plain), 8, cache=cache), ["0", "1", "2"])
    text = dataset(labels=[NAMES[label] for label in LABELS], feature=Plain)
    assert_holds(load_hugging_face(text, 8, cache=tmp_path / "other"))


def test_other_columns_and_paths(cache, tmp_path):
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png")
    columns = {"image": [0, 0], "photo": [{"path": str(tmp_path / "a.png"), "bytes": None}] * 2, "kind": [4, 4]}
    pool = load_hugging_face(Columns(columns, {"kind": Plain()}), 8, image="photo", label="kind", cache=cache)
    assert np.array_equal(images_by_class([pool])["4"], np.stack([PIXELS[0]] * 2))


def test_images_are_brought_to_one_size(cache):
    pool = load_hugging_face(dataset(), 4, cache=cache)
    expected = np.asarray(Image.fromarray(PIXELS[1]).resize((4, 4), Image.Resampling.LANCZOS))
    assert np.array_equal(images_by_class([pool])["cat"][0], expected)


def test_a_dataset_is_decoded_once_for_each_fingerprint(cache):
    load_hugging_face(dataset(), 8, cache=cache)
    again = dataset()
    assert_holds(load_hugging_face(again, 8, cache=cache))
    assert again.read == 0
    changed = dataset(fingerprint="b2")
    load_hugging_face(changed, 8, cache=cache)
    assert changed.read == 7


def test_the_pool_is_divided_like_any_other(cache):
    pools = split(load_hugging_face(dataset(), 8, cache=cache), ["newt"], ["cat"], ["dog"])
    assert [pool.names for pool in pools] == [("newt",), ("cat",), ("dog",)]


def deep(dtype):
    return Image.fromarray(PIXELS[0, :, :, 0].astype(dtype))


def pages():
    """A TIFF file of two images, which Pillow opens at the first."""
    file = io.BytesIO()
    first, second = (Image.fromarray(image) for image in PIXELS[:2])
    first.save(file, "TIFF", save_all=True, append_images=[second])
    return Image.open(file)


class Streamed:
    column_names = ("image", "label")


@pytest.mark.parametrize(
    ("build", "options", "error", "sentence"),
    [
        (lambda: {"train": dataset()}, {}, TypeError, r"got dict; choose a split such as dataset\['train'\]"),
        (Streamed, {}, TypeError, "got Streamed; choose a split"),
        (dataset, {"image": "img"}, ValueError, "no column 'img'; its columns are image, label"),
        (dataset, {"label": "fine_label"}, ValueError, "no column 'fine_label'"),
        (lambda: dataset([], []), {}, ValueError, "the dataset is empty"),
        (lambda: dataset(labels=[0.5] * 7), {}, TypeError, "column 'label' must hold integers or text, got float64"),
        (lambda: dataset(labels=[0, 1, 2, 3, 0, 1, 2]), {}, ValueError, "label 3, but names for 0 to 2 only"),
        (lambda: dataset([np.zeros(3)] * 7), {}, TypeError, "row 1 holds a ndarray in place of an image"),
        (
            lambda: dataset([deep(np.int32)] * 7),
            {},
            ValueError,
            "image of row 1 has Pillow's mode I, which does not say",
        ),
        (lambda: dataset([deep(np.uint16)] * 7), {}, ValueError, "image of row 1 has Pillow's mode I;16"),
        (lambda: dataset([deep(np.float32)] * 7), {}, ValueError, "image of row 1 has Pillow's mode F"),
        (lambda: dataset([pages()] * 7), {}, ValueError, "image of row 1 has several pictures; keep one of them"),
        (
            lambda: dataset([{"bytes": b"GIF89a", "path": None}] * 7),
            {},
            ValueError,
            "the image of row 1 cannot be read",
        ),
    ],
)
def test_what_cannot_be_read_is_named(build, options, error, sentence, cache):
    with pytest.raises(error, match=sentence):
        load_hugging_face(build(), 8, cache=cache, **options)


def test_a_dataset_of_the_library(cache):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'metagrad[test]'")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    pictures = [Image.fromarray(image) for image in PIXELS]
    made = datasets.Dataset.from_dict({"image": pictures, "label": LABELS}, features=features)
    assert_holds(load_hugging_face(made, 8, cache=cache))
    with pytest.raises(TypeError, match="got DatasetDict; choose a split"):
        load_hugging_face(datasets.DatasetDict(train=made), 8, cache=cache)
