"""Damaged pickles of every form, read in this process: each gives a sentence, or what Python's own unpickler gives."""

import io
import pickle
import pickletools
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data import python2
from data.fuzzing import bounded, damaged, sentence
from data.small_cifar import batches
from data.small_imagenet import cache_of, category_split_of, offset, png, specific, with_bytes_keys
from data.test_pickles import old_names, values
from metagrad.data.readers.image_pickles import find_image_pickle
from metagrad.data.readers.pickled_names import Named, PlainType, Unfilled
from metagrad.data.readers.pickles import load_pickle
from metagrad.data.readers.png_pickles import find_png_pickle

SIDE = 2
IMAGES = {"n01": np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), "n02": np.ones((1, 2, 2, 3), np.uint8)}
CACHE, SPLIT = cache_of(IMAGES), category_split_of(IMAGES, 3)
PNG = [png(image) for image in IMAGES["n01"]]
NAMES, LABELS = ["n01", "n02"], np.array([0, 1])
CIFAR = batches(np.zeros((7, 7, 32, 32, 3), np.uint8))["meta"]

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
FILES = {
    "any": [
        *(pickle.dumps(values(), protocol) for protocol in PROTOCOLS),
        *(old_names(pickle.dumps(values(), protocol)) for protocol in (2, 4)),
        python2.dumps({name: held for name, held in values().items() if name not in ("names", "ordered")}),
        *(python2.dumps(CIFAR), pickle.dumps({"set": {1, "a"}, "frozen": frozenset("ab")}, 2)),
    ],
    "images": [
        dump(held)
        for held in (CACHE, SPLIT, with_bytes_keys(CACHE))
        for dump in (python2.dumps, *(lambda held, protocol=p: pickle.dumps(held, protocol) for p in PROTOCOLS))
    ],
    "png": [dump(PNG) for dump in (pickle.dumps, python2.dumps)],
    "labels": [
        dump(labels(NAMES, LABELS, 0)) for labels in (specific, offset) for dump in (pickle.dumps, python2.dumps)
    ],
}
TOKENS = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
TOKENS += [b"cnumpy\nndarray\n", b"cbuiltins\nexec\n", b"\x8e" + b"\xff" * 8, b"r\xff\xff\xff\x7f", b"h\x00", b")\x81"]


class Standard(pickle.Unpickler):
    """The library's unpickler; used only on what has been read without it."""

    def find_class(self, module, name):
        module = module.replace("numpy.core", "numpy._core").replace("__builtin__", "builtins")
        assert module.split(".")[0] in ("numpy", "_codecs", "collections", "builtins")
        return super().find_class(module, name)


def same(found, expected, depth=30):
    if depth == 0:  # lists may hold themselves
        return True
    if isinstance(found, Named | PlainType | Unfilled):  # inert, and of no use to any reader
        return True
    if isinstance(expected, str) and isinstance(found, bytes):  # long strings of Python 2
        return found.decode("latin1") == expected
    if isinstance(expected, np.ndarray):  # Python brings some to the machine's order of bytes
        one, other = (held.astype(held.dtype.newbyteorder("=")) for held in (found, expected))
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(expected, dict):
        named = {key.decode("latin1") if isinstance(key, bytes) else key: held for key, held in expected.items()}
        return list(map(repr, found)) == list(map(repr, named)) and all(
            same(one, other, depth - 1) for one, other in zip(found.values(), named.values(), strict=True)
        )
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected, [depth - 1] * len(found)))
    if isinstance(expected, set | frozenset):
        return len(found) == len(expected)
    return type(found) is type(expected) and repr(found) == repr(expected)


def read_anything(data, _directory):
    found = load_pickle(io.BytesIO(data), "some file")
    try:
        expected = Standard(io.BytesIO(data), encoding="latin1").load()
    except Exception:
        return "read where Python does not"
    assert same(found, expected), (found, expected)
    return "right"


def read_images(data, directory):
    (directory / "some file").write_bytes(data)
    found = find_image_pickle(directory / "some file", "cache", SIDE)
    assert all(images.shape[1:] == (3, SIDE, SIDE) for _, images in found.decode())
    return "images"


def read_png(part):
    def read(data, directory):
        files = {"images_png": FILES["png"][0], "labels": FILES["labels"][0], part: data}
        for name, held in files.items():
            (directory / f"train_{name}.pkl").write_bytes(held)
        found = find_png_pickle(directory, "train", "cache", SIDE, [])
        assert all(images.shape[1:] == (3, SIDE, SIDE) for _, images in found.decode())
        return "images"

    return read


READ = {"any": read_anything, "images": read_images, "png": read_png("images_png"), "labels": read_png("labels")}


def main(seed):
    with TemporaryDirectory() as directory:

        def attempt(draws):
            form = draws.choice((*FILES, "any"))
            try:
                return READ[form](damaged(FILES[form], draws, TOKENS), Path(directory))
            except ValueError as error:
                sentence(error, "some file" if form in ("any", "images") else directory)
                return "refused"

        bounded(seed, attempt)


if __name__ == "__main__":
    main(sys.argv[1])
