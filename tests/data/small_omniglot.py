"""Small archives like Omniglot's: five characters of twenty drawings each, every drawing another."""

import io
import zipfile

import numpy as np
import torch
from PIL import Image

from metagrad.data.omniglot import Characters

NAMES = [
    "images_background/Greek/character01",
    "images_background/Greek/character02",
    "images_background/Latin/character01",
    "images_evaluation/Tengwar/character01",
    "images_evaluation/Tengwar/character02",
]
SMALL = Characters(train=tuple(NAMES[:3]), validation=(NAMES[3],), test=(NAMES[4],))


def drawing(character, drawer, size=105):
    """A one-bit image, paper 1 and ink 0, different for every character and drawer: a bar and a dot."""
    pixels = np.full((size, size), 255, dtype=np.uint8)
    pixels[5 + 12 * character : 13 + 12 * character, 10:90] = 0
    pixels[80:95, 4 * drawer : 4 * drawer + 12] = 0
    return Image.fromarray(pixels).convert("1")


def png(image):
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


MEMBERS = {
    f"{name}/{index:04d}_{drawer:02d}.png": png(drawing(index, drawer))
    for index, name in enumerate(NAMES)
    for drawer in range(1, 21)
}


def write_zips(directory, members):
    directory.mkdir(exist_ok=True)
    for archive in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(directory / f"{archive}.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(f"{archive}/", b"")
            file.writestr(f"__MACOSX/{archive}/._junk.png", b"junk")
            for member, data in members.items():
                if member.startswith(archive):
                    file.writestr(member, data)
    return directory


def write_folders(directory, members):
    for member, data in members.items():
        path = directory / member
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def pixels(pool):
    count = int(pool.counts[0])
    return pool.take(torch.arange(len(pool)), torch.arange(count).expand(len(pool), count))[:, :, 0]
