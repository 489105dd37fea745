"""CIFAR-100, Omniglot and folders damaged: how each is written, and what is said of it."""

import pickle
import re
import tarfile
import zipfile

import numpy as np

from data import damage, small_cifar
from data.damage import archive, backwards, bomb, cifar, entry, header, in_place_of, npz, part, rewritten
from data.small_imagenet import LISTS, source, write_divided_folders
from data.small_omniglot import MEMBERS, NAMES, drawing, png, write_folders, write_zips
from metagrad.data.archives import ORIGIN

CIFAR = {
    "nothing there": (
        lambda d: None,
        "holds no CIFAR-FS, directly or in a folder cifar-fs or cifarfs or cifar100: neither CIFAR_FS_train.pickle",
    ),
    "no directory": (lambda d: d.rmdir(), "there is no directory"),
    "archive cut in half": (
        lambda d: rewritten(cifar(d), "cifar-100-python.tar.gz", lambda data: data[: len(data) // 2]),
        "cannot be read as CIFAR-100",
    ),
    "archive with another checksum": (
        lambda d: rewritten(cifar(d), "cifar-100-python.tar.gz", lambda data: data[:-8] + b"\0" * 4 + data[-4:]),
        "cannot be read as CIFAR-100 (CRC check failed",
    ),
    "no archive": (
        lambda d: (d / "cifar-100-python.tar.gz").write_bytes(b"<html>moved</html>"),
        "cannot be read as CIFAR-100 (Not a gzipped file",
    ),
    "empty archive": (lambda d: cifar(d, meta=None, train=None, test=None), "it lacks 'meta'"),
    "no test images": (lambda d: cifar(d, test=None), "it lacks 'test'"),
    "wrong key": (lambda d: cifar(d, train={"data": 1}), "(its images are a int, not an array)"),
    "no labels": (
        lambda d: cifar(d, train=lambda held: {k: v for k, v in held.items() if k != "fine_labels"}),
        "it lacks 'fine_labels'",
    ),
    "labels of other classes": (
        lambda d: cifar(d, meta={"fine_label_names": [*small_cifar.NAMES, "worm"]}),
        "its labels are not those of its 8 classes",
    ),
    "labels beyond 64 bits": (
        lambda d: cifar(d, train=lambda held: {**held, "fine_labels": [2**63] * len(held["fine_labels"])}),
        "its fine_labels have more than 64 bits",
    ),
    "images of another size": (
        lambda d: cifar(d, test={"data": np.zeros((1, 100), np.uint8), "fine_labels": [0]}),
        "cannot be read as CIFAR-100",
    ),
    "hostile member": (lambda d: cifar(d, train=pickle.dumps(damage.Attack(d))), "it asks for builtins.exec"),
    "member of 8 GB": (lambda d: archive(d, entry("train", 2**33)), "has more or larger members than CIFAR-100"),
    "many members": (lambda d: archive(d, *[entry(f"{row}") for row in range(100)]), "has more or larger members"),
    "link to itself": (lambda d: archive(d, entry("train", 0, tarfile.SYMTYPE, "train")), "it lacks 'meta'"),
    "hard link to itself": (lambda d: archive(d, entry("meta", 0, tarfile.LNKTYPE, "meta")), "it lacks 'meta'"),
    "header that leads back": (
        lambda d: archive(d, *map(entry, "ab"), backwards("c"), entry("d")),
        "a header leads back",
    ),
    "header longer than all": (
        lambda d: archive(d, entry("a", 2**32, tarfile.XHDTYPE)),
        "(a header asks for too many bytes)",
    ),
    "zeros after the archive": (lambda d: archive(d, entry("a"), ending=bytes(2**24)), "it goes on after its members"),
    "part cut in half": (lambda d: part(d, lambda data: data[: len(data) // 2]), "cannot be read as CIFAR-100"),
    "part of floats": (lambda d: part(d, images=small_cifar.pixels() / 255), "its images are float64"),
    "part of another shape": (
        lambda d: part(d, images=small_cifar.pixels()[..., :2]),
        "not uint8 [classes, n, 32, 32, 3]",
    ),
    "part with a class named twice": (
        lambda d: part(d, names=[*small_cifar.NAMES[:6], "apple"]),
        "7 classes of images",
    ),
    "part with objects": (
        lambda d: np.savez(d / "cifar100_mini60.npz", images=np.array([{}], object), classes=np.array(["a"])),
        "it holds an array object [1] without its bytes",
    ),
    "part with a member of 4 GB": (lambda d: part(d, damage.larger(2**32 - 1)), "it has 4,294,967,295 bytes"),
    "part of more than there is": (
        lambda d: npz(d, images=header((10**9, 10**9)), classes=np.array(["a"])),
        "it holds an array uint8 [1000000000, 1000000000] without its bytes",
    ),
    "part that is packed otherwise": (
        lambda d: npz(d, zipfile.ZIP_LZMA, images=np.zeros((1, 1, 32, 32, 3), np.uint8), classes=np.array(["a"])),
        "it is packed in a way of number 14",
    ),
    "part of too many members": (
        lambda d: (d / "cifar100_mini60.npz").write_bytes(damage.directory_of(2**18)),
        "it has more than 131,072 members",
    ),
    "part without names": (lambda d: npz(d, images=np.zeros((1, 1, 32, 32, 3), np.uint8)), "classes.npy"),
    "pipe in place of a part": (
        lambda d: in_place_of(d / "cifar100_mini60.npz", "pipe"),
        "cifar100_mini60.npz is no regular file",
    ),
    "zeros in place of a part": (
        lambda d: in_place_of(d / "cifar100_mini60.npz", "zeros"),
        "cifar100_mini60.npz cannot be read (it has 8,589,934,592 bytes",
    ),
    "class missing": (
        lambda d: part(d, images=small_cifar.pixels()[:5], names=small_cifar.NAMES[:5]),
        "lacks 2 of the 3 classes of train, the first missing is 'fox'",
    ),
}


BACKGROUND = "images_background.zip"
MEMBER = f"{NAMES[0]}/0000_02.png"


def zips(directory, change=None, **members):
    """Omniglot's archives, with members of MEMBERS exchanged, then the bytes of the first changed."""
    write_zips(directory, {**MEMBERS, **members})
    return directory if change is None else rewritten(directory, BACKGROUND, change)


def unzipped(directory, drawing, kind):
    in_place_of(write_folders(directory, MEMBERS) / drawing, kind)


def cut(share):
    return lambda data: data[: int(share * len(data))]


def flipped(data):
    """One bit of an image's bytes changed."""
    name = f"{NAMES[0]}/0000_04.png".encode()
    at = data.index(name) + len(name) + 40
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def other_version(data):
    at = data.index(b"PK\x01\x02") + 6
    return data[:at] + b"\x54" + data[at + 1 :]


OMNIGLOT = {
    "no directory": (lambda d: d.rmdir(), "there is no directory", BACKGROUND),
    "archive missing": (
        lambda d: (zips(d) / "images_evaluation.zip").unlink(),
        f"neither images_evaluation.zip nor a folder images_evaluation of 2 characters; get the archive from {ORIGIN}",
    ),
    **{
        f"archive cut to {share}": (
            lambda d, share=share: zips(d, cut(share)),
            f"{BACKGROUND} cannot be read",
            f"get it again from {ORIGIN}",
        )
        for share in (0.0, 0.5, 0.98)
    },
    "web page": (lambda d: zips(d, b"<html>404</html>"), f"{BACKGROUND} cannot be read (File is not a zip file)"),
    "unknown version": (lambda d: zips(d, other_version), f"{BACKGROUND} cannot be read (zip file version 8.4)"),
    "flipped bit": (lambda d: zips(d, flipped), f"{NAMES[0]}/0000_04.png in ", f"{BACKGROUND} cannot be read"),
    "members of 4 GB": (lambda d: zips(d, damage.larger(2**32 - 1)), "it has 4,294,967,295 bytes"),
    **{
        f"image cut to {keep} bytes": (
            lambda d, keep=keep: zips(d, **{MEMBER: MEMBERS[MEMBER][:keep]}),
            f"{MEMBER} in ",
            f"{BACKGROUND} cannot be read",
            "get it again",
        )
        for keep in (0, 20, 60, 90)
    },
    "image that explodes": (
        lambda d: zips(d, **{MEMBER: bomb()}),
        f"{MEMBER} in ",
        f"{BACKGROUND} cannot be read (it has 1,363,930 bytes, and at most 1,048,576 are read)",
    ),
    "image of too many pixels": (lambda d: zips(d, **{MEMBER: bomb(9000)}), "more than 67,108,864; make it smaller"),
    "image of a wrong size": (
        lambda d: zips(d, **{f"{NAMES[3]}/0003_05.png": png(drawing(3, 5, size=100))}),
        f"{NAMES[3]}/0003_05.png in ",
        "images_evaluation.zip is 100×100 pixels",
        "105×105",
    ),
    "character missing": (
        lambda d: write_zips(d, {member: data for member, data in MEMBERS.items() if NAMES[1] not in member}),
        f"{BACKGROUND} is incomplete: 2 of 3 characters found, the first missing is {NAMES[1]}",
    ),
    "drawings missing": (
        lambda d: write_zips(d, {m: data for m, data in MEMBERS.items() if not re.search("0003_(07|11)", m)}),
        f"images_evaluation.zip is incomplete: {NAMES[3]} lacks 2 of 20 drawings, the first missing is number 07",
    ),
    "file missing in a folder": (
        lambda d: (write_folders(d, MEMBERS) / NAMES[2] / "0002_20.png").unlink(),
        f"images_background is incomplete: {NAMES[2]} lacks 1 of 20 drawings, the first missing is number 20",
    ),
    "dead link in a folder": (
        lambda d: unzipped(d, MEMBER, "nothing"),
        f"{MEMBER} cannot be read (No such file or directory)",
    ),
    "link to itself in a folder": (
        lambda d: unzipped(d, MEMBER, "itself"),
        f"{MEMBER} cannot be read (Too many",
    ),
    "pipe in a folder": (lambda d: unzipped(d, MEMBER, "pipe"), f"{MEMBER} is no regular file"),
    "device in a folder": (lambda d: unzipped(d, MEMBER, "device"), f"{MEMBER} is no regular file"),
    "zeros in a folder": (
        lambda d: unzipped(d, MEMBER, "zeros"),
        "02.png cannot be read (it has 8,589,934,592",
    ),
    "pipe in place of an archive": (
        lambda d: in_place_of(zips(d) / BACKGROUND, "pipe"),
        f"{BACKGROUND} cannot be read (it",
    ),
    "zeros in place of an archive": (
        lambda d: in_place_of(zips(d) / BACKGROUND, "zeros"),
        f"{BACKGROUND} cannot be read (it has 8,589,934,592 bytes, and at most 33,554,432 are read)",
    ),
}

PHOTO = f"val/{LISTS[1][0]}/{LISTS[1][0]}_0001.png"


def photo(directory, change):
    rewritten(write_divided_folders(directory, source()), PHOTO, change)


FOLDER = {
    "nothing there": (lambda d: None, "holds no folders train, val and test with a folder of images for each class"),
    "class in two sets": (
        lambda d: write_divided_folders(d, [*source()[:2], source()[0]]),
        "both train and test, the first 'n01532829'",
    ),
    "image cut short": (lambda d: photo(d, lambda data: data[:300]), f"{PHOTO} cannot be read", "get it again"),
    # A format that would start another program.
    "PostScript": (lambda d: photo(d, b"%!PS-Adobe-3.0 EPSF-3.0"), f"{PHOTO} cannot be read (it is no PNG, JPEG"),
    "image that explodes": (lambda d: photo(d, bomb()), f"{PHOTO} has more than 67,108,864 pixels; make it smaller"),
    "zeros in place of an image": (
        lambda d: in_place_of(write_divided_folders(d, source()) / PHOTO, "zeros"),
        f"{PHOTO} cannot be read (it has 8,589,934,592 bytes, and at most 268,435,456 are read)",
    ),
}
