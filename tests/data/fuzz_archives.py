"""Damaged archives, images, lists and caches, read in this process: each gives a sentence, or images of their size."""

import gzip
import io
import struct
import sys
import warnings
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from data.fuzzing import bounded, damaged, sentence
from data.small_cifar import batches, write_archive, write_part
from data.small_omniglot import MEMBERS, NAMES, write_zips
from metagrad.data import archives
from metagrad.data.cache import ClassImages, cached
from metagrad.data.readers.cifar100 import ARCHIVE, PART, find_cifar100
from metagrad.data.readers.image_files import decode_image
from metagrad.data.readers.ravi import find_csv

SIDE = 16
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 7, 32, 32, 3), dtype=np.uint8)
CLASSES = [ClassImages(f"class {row}", PIXELS[row]) for row in range(3)]


def images():
    picture = Image.fromarray(PIXELS[0, 0])
    deep = Image.fromarray(PIXELS[0, 0, :, :, 0].astype(np.uint16) * 257)
    modes = [*(picture.convert(mode) for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK")), deep]
    for image in modes:
        for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "PPM"):
            file = io.BytesIO()
            try:
                image.save(file, kind)
            except (OSError, ValueError):  # no such mode in this form
                continue
            yield file.getvalue()


def small_omniglot(directory):
    data = (write_zips(directory / "omniglot", MEMBERS) / "images_background.zip").read_bytes()
    return [data]


def drawings():
    with TemporaryDirectory() as directory:
        return archives.read_omniglot(write_zips(Path(directory) / "zips", MEMBERS), NAMES[:3])


def tars(directory):
    data = (write_archive(directory / "tar", batches(PIXELS)) / ARCHIVE).read_bytes()
    return [gzip.decompress(data)]


def parts(directory):
    compressed = (write_part(directory / "part", PIXELS) / PART).read_bytes()
    plain = io.BytesIO()
    np.savez(plain, images=PIXELS, classes=np.array([f"class {row}" for row in range(7)]))
    return [compressed, plain.getvalue()]


def caches(directory):
    cached(directory / "some.cache", "source", lambda: iter(CLASSES))
    return [(directory / "some.cache").read_bytes()]


def lists(directory):
    return [b"filename,label\na.png,n01\nb.png,n02\n", "\ufefffilename;label\r\na.png;n01\r\n".encode()]


def with_checksums(tar):
    """The tar file with right checksums of what still are its headers, so that reading goes on behind them."""
    tar, at = bytearray(tar), 0
    while at + 512 <= len(tar):
        header = tar[at : at + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            tar[at + 148 : at + 156] = b"%06o\0 " % sum(header)
        at += 512
    return bytes(tar)


def with_digests(png):
    """The PNG file with right digests of what still are its chunks."""
    png, at = bytearray(png), 8
    while at + 12 <= len(png):
        length = struct.unpack(">I", png[at : at + 4])[0]
        if at + 12 + length > len(png):
            break
        png[at + 8 + length : at + 12 + length] = struct.pack(">I", zlib.crc32(png[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(png)


def read_cifar(name, change=lambda data: data, pixels=PIXELS):
    """A reader of the data under this name; what it reads is `pixels`, where a checksum says so."""

    def read(data, directory):
        for other in (ARCHIVE, PART):
            (directory / other).unlink(missing_ok=True)
        (directory / name).write_bytes(change(data))
        found = [images for _, images in find_cifar100(directory).decode()]
        assert all(images.shape[1:] == (3, 32, 32) for images in found)
        assert pixels is None or np.array_equal(np.stack(found), np.moveaxis(pixels, -1, 2))

    return read


def read_image(data, directory):
    data = with_digests(data) if data[:4] == b"\x89PNG" else data
    assert decode_image(data, SIDE, str(directory)).shape == (3, SIDE, SIDE)


def read_omniglot(data, directory):
    (directory / "images_background.zip").write_bytes(data)
    assert np.array_equal(archives.read_omniglot(directory, NAMES[:3]), DRAWINGS)


def read_cache(data, directory):
    (directory / "some.cache").write_bytes(data)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is damaged and is made anew")
        found = cached(directory / "some.cache", "source", lambda: iter(CLASSES))
    assert found.names == tuple(one.name for one in CLASSES)
    assert np.array_equal(found.images, np.concatenate([one.images for one in CLASSES]))


def read_list(data, directory):
    (directory / "images").mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(PIXELS[0, 0]).save(directory / "images" / name)
    (directory / "train.csv").write_bytes(data)
    assert all(
        images.shape[1:] == (3, SIDE, SIDE) for _, images in find_csv(directory / "train.csv", "x", SIDE).decode()
    )


DRAWINGS = drawings()

FORMS = {
    "tar": (tars, read_cifar(ARCHIVE, lambda data: gzip.compress(with_checksums(data), 1), None)),
    "gzip": (lambda directory: [gzip.compress(tars(directory)[0], 1)], read_cifar(ARCHIVE)),
    "npz": (parts, read_cifar(PART)),
    "omniglot": (small_omniglot, read_omniglot),
    "image": (lambda _: list(images()), read_image),
    "cache": (caches, read_cache),
    "list": (lists, read_list),
}
TOKENS = [
    *(b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"IDAT", b"IHDR", b"tRNS", b"acTL", b"eXIf", b"iCCP", b"zTXt"),
    *(b"x\0", b"L\0", b"K", b"1", b"2", b"S", b"77777777777", b"-", b"\x80" + b"\0" * 10, b"\xff\xe1", b"\xff\xc0"),
    *(b"\x1b[2J", b'"', b";", b"../../", b"/dev/zero", b"'descr': '|O'", b"(1000000000, 1000000000)"),
]


def main(seed):
    with TemporaryDirectory() as name:
        directory = Path(name)
        made = {form: make(directory) for form, (make, _) in FORMS.items()}

        def attempt(draws):
            form = draws.choice(("image", *FORMS))
            try:
                FORMS[form][1](damaged(made[form], draws, TOKENS), directory)
            except ValueError as error:
                sentence(error, str(directory))
                return f"{form} refused"
            return f"{form} read"

        bounded(seed, attempt)


if __name__ == "__main__":
    main(sys.argv[1])
