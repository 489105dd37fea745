"""Data sets damaged by accident or on purpose: files rewritten, exchanged for something else, or made to explode."""

import functools
import gzip
import os
import pickle
import struct
import tarfile
import zipfile
import zlib

import numpy as np

from data.small_cifar import batches, write_archive, write_part
from data.small_cifar import pixels as cifar_pixels
from data.small_imagenet import PARTS, cache_of, source, specific, write_caches, write_png_pickles


class Attack:
    """A file of this name appears where it is unpickled."""

    def __init__(self, directory):
        self.touched = directory / "touched"

    def __reduce__(self):
        return exec, (f"open({str(self.touched)!r}, 'w')",)


def rewritten(directory, name, change):
    """The directory, with a file's bytes changed, or exchanged for these or for the pickle of something."""
    path = directory / name
    data = change(path.read_bytes()) if callable(change) else change
    path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data))
    return directory


def in_place_of(path, kind):
    """Put something there that is no file: a pipe, a link to a device or to itself, a folder, a file of zeros."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zeros":
        path.touch()
        os.truncate(path, 2**33)
    else:
        path.symlink_to({"device": "/dev/zero", "itself": path, "nothing": path.parent / "nowhere"}[kind])


def caches(directory, entries, part="train"):
    """miniImageNet's pickles, one of which has other entries; None leaves one out."""
    write_caches(directory, source())
    held = {**cache_of(source()[PARTS.index(part)]), **entries}
    held = {key: value for key, value in held.items() if value is not None}
    return rewritten(directory, f"mini-imagenet-cache-{part}.pkl", held)


def tiered(directory, labels=specific, images=None):
    return write_png_pickles(directory, images or source(), labels)


def cifar(directory, **changes):
    """CIFAR-100's archive, with members exchanged; a function changes what one holds."""
    members = batches(cifar_pixels())
    changed = {name: change(members[name]) if callable(change) else change for name, change in changes.items()}
    return write_archive(directory, {name: held for name, held in {**members, **changed}.items() if held is not None})


def part(directory, change=lambda data: data, images=None, **options):
    """The NumPy archive with part of CIFAR-100, its bytes changed."""
    write_part(directory, cifar_pixels() if images is None else images, **options)
    return rewritten(directory, "cifar100_mini60.npz", change)


def archive(directory, *entries, ending=b"\0" * 1024):
    """CIFAR-100's archive of these headers (and what is not one)."""
    data = b"".join(entry if isinstance(entry, bytes) else entry.tobuf() for entry in entries)
    (directory / "cifar-100-python.tar.gz").write_bytes(gzip.compress(data + ending, 1))


def entry(name, size=0, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(f"cifar-100-python/{name}")
    info.size, info.type, info.linkname = size, kind, f"cifar-100-python/{link}"
    return info


def backwards(name):
    """A header whose size is below zero."""
    header = bytearray(entry(name).tobuf())
    header[124:136] = b"\xff" * 4 + struct.pack(">q", -1024)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def larger(size):
    """A zip file whose directory says that each member has this size."""

    def change(data):
        data, at = bytearray(data), -1
        while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
            data[at + 24 : at + 28] = struct.pack("<I", size)
        return bytes(data)

    return change


def directory_of(count):
    """A zip file that is nothing but a directory of so many members without a name."""
    entries = (b"PK\x01\x02" + bytes(42)) * count
    end = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(entries), 0)
    return (
        entries + end + b"PK\x06\x07" + struct.pack("<IQI", 0, len(entries), 1) + b"PK\x05\x06" + b"\xff" * 16 + b"\0\0"
    )


def npz(directory, way=zipfile.ZIP_STORED, **members):
    """The NumPy archive of members given in bytes or as arrays."""
    with zipfile.ZipFile(directory / "cifar100_mini60.npz", "w", way) as file:
        for name, held in members.items():
            with file.open(f"{name}.npy", "w") as member:
                if isinstance(held, bytes):
                    member.write(held)
                else:
                    np.lib.format.write_array(member, held)


def header(shape, kind="|u1"):
    """The head of an array of this shape, and two bytes."""
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0\0"


@functools.cache
def bomb(side=50_000):
    """A sound PNG file of one-bit pixels, all of them 0."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    rows = bytes((side + 7) // 8 + 1) * 100
    body = b"".join(packer.compress(rows) for _ in range(side // 100)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body) + chunk(b"IEND", b"")
