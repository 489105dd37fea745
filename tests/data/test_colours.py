"""Image files of every mode: the pixels that the format defines, or a refusal; and what is left out is said."""

import io
import logging
import re

import numpy as np
import pytest
from PIL import Image

from data.small_imagenet import LISTS, source, write_divided_folders
from data.small_pools import images_by_class
from metagrad.data.datasets import read_dataset
from metagrad.data.folder import load_folder
from metagrad.data.readers.image_files import decode_image

SIDE = 8
COLOURS = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]
DEEP = np.random.default_rng(1).integers(0, 2**16, (SIDE, SIDE), dtype=np.uint16)
TWO = (GREY > 127).astype(np.uint8) * 255
INKS = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def pgm(values, most=2**16 - 1):
    return b"P5 %d %d %d\n" % (*values.shape[::-1], most) + values.astype(">u2").tobytes()


def with_alpha(alpha, colours=COLOURS):
    return np.concatenate([colours, np.full((SIDE, SIDE, 1), alpha, np.uint8)], -1)


def palette(transparency=None):
    image = Image.fromarray(GREY // 64, "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    return encoded(image, **({} if transparency is None else {"transparency": transparency}))


def scaled(values):
    return np.rint(values / 257).astype(np.uint8)


RIGHT = {
    "RGB": (encoded(COLOURS), COLOURS),
    "RGB, WebP": (encoded(COLOURS, "WEBP", lossless=True), COLOURS),
    "grey": (encoded(GREY), GREY),
    "one bit": (encoded(Image.fromarray(TWO).convert("1")), TWO),
    "palette": (palette(), np.array([10, 40, 70, 100])[GREY // 64][..., None] + [0, 10, 20]),
    "palette with a transparent colour that it does not use": (palette(9), None),
    "opaque RGBA": (encoded(with_alpha(255)), COLOURS),
    "opaque grey with alpha": (encoded(Image.fromarray(GREY).convert("LA")), GREY),
    "grey of 16 bits": (encoded(DEEP), scaled(DEEP)),
    "grey of 16 bits that holds 8": (encoded(GREY.astype(np.uint16) * 257), GREY),
    "PGM of 16 bits": (pgm(DEEP), scaled(DEEP)),
    "PGM of 10 bits": (pgm(DEEP // 64, 2**10 - 1), np.rint(DEEP // 64 / (2**10 - 1) * 255)),
    "CMYK": (
        encoded(Image.fromarray(INKS, "CMYK"), "JPEG", quality=100, subsampling=0),
        (255 - INKS[..., :3].astype(float)) * (255 - INKS[..., 3:].astype(float)) / 255,
    ),
}


@pytest.mark.parametrize(("data", "expected"), RIGHT.values(), ids=RIGHT)
def test_pixels_are_those_of_the_file(data, expected):
    expected = RIGHT["palette"][1] if expected is None else expected
    expected = expected if expected.ndim == 3 else np.stack([expected] * 3, -1)
    found = np.moveaxis(decode_image(data, SIDE, "a"), 0, -1).astype(float)
    close = 6 if data[:2] == b"\xff\xd8" else 0  # JPEG
    assert np.abs(found - expected).max() <= close


def frames(kind):
    options = {"save_all": True, "append_images": [Image.fromarray(255 - COLOURS)]}
    return encoded(COLOURS, kind, **options)


def floats():
    return b"Pf\n%d %d\n-1.0\n" % (SIDE, SIDE) + (GREY / 255).astype("<f4").tobytes()


def huge(width, height):
    return b"P5 %d %d 255\n" % (width, height)


REFUSED = {
    "transparent RGBA": (encoded(with_alpha(254)), "has transparent pixels"),
    "transparent grey": (encoded(Image.merge("LA", [Image.fromarray(GREY)] * 2)), "has transparent pixels"),
    "transparent colour of a palette": (palette(1), "has transparent pixels"),
    "transparent colour of RGB": (encoded(COLOURS, transparency=tuple(COLOURS[0, 0].tolist())), "transparent pixels"),
    "transparent grey of 16 bits": (encoded(DEEP, transparency=int(DEEP[0, 0])), "has transparent pixels"),
    "animated GIF": (frames("GIF"), "has several pictures; keep one of them"),
    "animated PNG": (frames("PNG"), "has several pictures"),
    "animated WebP": (frames("WEBP"), "has several pictures"),
    "floats": (floats(), "has Pillow's mode F, which does not say what is white"),
    "more pixels than are decoded": (huge(9000, 8000), "has 9000×8000 pixels, more than 67,108,864; make it smaller"),
    "more than Pillow opens": (huge(50000, 50000), "has more than 67,108,864 pixels"),
    "TIFF": (encoded(GREY, "TIFF"), "cannot be read (it is no PNG, JPEG, BMP, WEBP, GIF, PPM file)"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_rgb_of_8_bits_cannot_hold_is_refused(data, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        decode_image(data, SIDE, "some/photo.png")
    assert str(caught.value).startswith("the image some/photo.png ")
    assert ("get it again" in str(caught.value)) == (reason.startswith("cannot be read"))


# Which side of the upright picture the first row and the first column of the file are, by the standard's table 4.6.5.
TOP_LEFT = ("top", "left")
SIDES = {
    **dict.fromkeys((0, 1, 9), TOP_LEFT),
    **{2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"), 5: ("left", "top")},
    **{6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom")},
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", SIDES)
def test_photographs_are_turned_as_their_exif_data_say(kind, orientation):
    half, upright = SIDE // 2, np.zeros((SIDE, SIDE, 3), np.uint8)
    upright[:half, :half], upright[:half, half:], upright[half:, :half] = 255, 160, 80
    row, column = SIDES[orientation]
    lying = upright.swapaxes(0, 1) if row in ("left", "right") else upright
    lying = lying[::-1] if row in ("bottom", "right") else lying
    lying = lying[:, ::-1] if column in ("bottom", "right") else lying
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(np.ascontiguousarray(lying), kind, exif=exif, **({} if kind == "PNG" else {"quality": 100}))
    found = np.moveaxis(decode_image(data, SIDE, "a"), 0, -1).astype(int)
    assert np.abs(found - upright).max() <= 8


def test_what_a_folder_holds_besides_images_is_counted(tmp_path, cache, caplog):
    directory = write_divided_folders(tmp_path, source())
    within = directory / "train" / LISTS.train[0]
    for name in ("a.tif", "b.TIF", "c.heic", "\x1b[2Jnote", ".hidden.tif"):
        (within / name).write_bytes(b"")
    (within / "deeper").mkdir()
    (within / "link.png").symlink_to(within / "link.png")
    (directory / "val" / "loose.png").write_bytes(b"")
    (directory / "val" / "empty").mkdir()
    with caplog.at_level(logging.WARNING, "metagrad"):
        pools = load_folder(directory, SIDE, cache)
    assert len(images_by_class(pools)[LISTS.train[0]]) == 3
    train, val = sorted(record.getMessage() for record in caplog.records)
    assert train.isprintable()
    assert train.startswith(
        f"{directory / 'train'}: left out what is no .bmp, .gif, .jpeg, .jpg, .png, .ppm, .webp file: "
    )
    for kind in (".tif 2", ".heic 1", "files without an ending 1", "folders, pipes or dead links in classes 2"):
        assert kind in train
    assert val.endswith("files outside of folders 1, folders without images 1")


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        (Image.open(io.BytesIO(palette(1))), (4, SIDE, SIDE)),
        (Image.open(io.BytesIO(encoded(GREY, transparency=int(GREY[0, 0])))), (2, SIDE, SIDE)),
        (Image.fromarray(with_alpha(0)), (4, SIDE, SIDE)),
        (Image.fromarray(INKS, "CMYK"), (4, SIDE, SIDE)),
    ],
)
def test_channels_of_a_datasets_images_are_kept(image, shape):
    assert read_dataset([(image, 0)])[0].shape == (1, *shape)


def test_an_animation_of_a_dataset_is_refused():
    with pytest.raises(ValueError, match="item 0 of the dataset has several pictures; keep one"):
        read_dataset([(Image.open(io.BytesIO(frames("GIF"))), 0)])
