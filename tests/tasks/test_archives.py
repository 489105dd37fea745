"""Omniglot's archives: small ones made here, decoded exactly, and damaged in every way."""

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metagrad.tasks.archives import read_omniglot
from metagrad.tasks.omniglot import load_omniglot
from tasks.fuzzing import run_in_child
from tasks.small_omniglot import MEMBERS, NAMES, SMALL, drawing, pixels, png, write_folders, write_zips


def test_images_are_reduced_by_lanczos_with_ink_at_255(zips):
    images = read_omniglot(zips, NAMES)
    assert images.shape == (5, 20, 28, 28)
    assert images.dtype == np.uint8
    for index, drawer in ((0, 1), (4, 20), (2, 7)):
        small = drawing(index, drawer).convert("L").resize((28, 28), Image.Resampling.LANCZOS)
        assert np.array_equal(images[index, drawer - 1], 255 - np.asarray(small))
    assert images[0, 0, 2, 10] == 255  # in the bar
    assert images[0, 0, 27, 27] == 0  # paper


def test_folders_and_archives_give_identical_images(zips, tmp_path, cache):
    folders = write_folders(tmp_path / "folders", MEMBERS)
    assert np.array_equal(read_omniglot(zips, NAMES), read_omniglot(folders, NAMES))
    os.replace(folders / "images_evaluation", tmp_path / "elsewhere")
    os.replace(zips / "images_evaluation.zip", folders / "images_evaluation.zip")
    mixed = load_omniglot(folders, cache, characters=SMALL, rotated=())
    assert torch.equal(pixels(mixed.test)[0, 4], torch.from_numpy(read_omniglot(folders, NAMES)[4, 4]))


def refused(directory, cache, *fragments):
    with pytest.raises(ValueError, match=re.escape(fragments[0])) as caught:
        load_omniglot(directory, cache, characters=SMALL)
    message = str(caught.value)
    for fragment in fragments:
        assert fragment in message
    assert "\n" not in message
    assert not list(cache.glob("*"))


def test_missing_directory(tmp_path, cache):
    refused(tmp_path / "nowhere", cache, f"there is no directory {tmp_path / 'nowhere'}", "images_background.zip")


def test_missing_archive(zips, cache):
    (zips / "images_evaluation.zip").unlink()
    refused(
        zips, cache, str(zips), "neither images_evaluation.zip nor a folder images_evaluation of 2 characters",
        "https://github.com/brendenlake/omniglot",
    )  # fmt: skip


@pytest.mark.parametrize("part", [0.0, 0.5, 0.98])
def test_archive_cut_short(zips, cache, part):
    path = zips / "images_background.zip"
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    refused(zips, cache, str(path), "cannot be read", "get it again from https://github.com/brendenlake/omniglot")


def test_archive_that_is_a_web_page(zips, cache):
    (zips / "images_background.zip").write_text("<html>404</html>")
    refused(zips, cache, "images_background.zip cannot be read (File is not a zip file)")


def test_archive_whose_directory_asks_for_an_unknown_zip_version(zips, cache):
    path = zips / "images_background.zip"
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 84
    path.write_bytes(data)
    refused(zips, cache, str(path), "cannot be read (zip file version 8.4)")


def test_archive_with_one_flipped_bit_in_an_image(zips, cache):
    path = zips / "images_background.zip"
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        member = next(info for info in file.infolist() if info.filename.endswith("0001_04.png"))
    data[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 4
    path.write_bytes(data)
    refused(zips, cache, f"{member.filename} in {path} cannot be read")


@pytest.mark.parametrize("keep", [0, 20, 60, 90])
def test_image_cut_short(zips, cache, keep):
    member = f"{NAMES[0]}/0000_02.png"
    write_zips(zips, {**MEMBERS, member: MEMBERS[member][:keep]})
    refused(zips, cache, f"{member} in {zips / 'images_background.zip'} cannot be read", "get it again")


def test_incomplete_archive_names_the_first_missing_character(zips, cache):
    write_zips(zips, {member: data for member, data in MEMBERS.items() if NAMES[1] not in member})
    refused(zips, cache, "images_background.zip is incomplete: 2 of 3 characters found", f"missing is {NAMES[1]}")


def test_missing_drawings_are_named(zips, cache):
    write_zips(zips, {member: data for member, data in MEMBERS.items() if not re.search("0003_(07|11)", member)})
    refused(
        zips, cache, "images_evaluation.zip is incomplete", f"{NAMES[3]} lacks 2 of 20 drawings",
        "first missing is number 07",
    )  # fmt: skip


def test_missing_files_in_a_folder_are_named(tmp_path, cache):
    folders = write_folders(tmp_path / "folders", MEMBERS)
    (folders / NAMES[2] / "0002_20.png").unlink()
    refused(folders, cache, str(folders / "images_background"), f"{NAMES[2]} lacks 1 of 20 drawings", "number 20")


def test_a_folder_with_a_broken_link_is_named(tmp_path, cache):
    folders = write_folders(tmp_path / "folders", MEMBERS)
    link = folders / NAMES[0] / "0000_21.png"
    link.symlink_to(tmp_path / "nowhere")
    refused(folders, cache, f"{link} cannot be read (No such file or directory)")


def test_image_of_a_wrong_size(zips, cache):
    member = f"{NAMES[3]}/0003_05.png"
    write_zips(zips, {**MEMBERS, member: png(drawing(3, 5, size=100))})
    refused(zips, cache, f"{member} in {zips / 'images_evaluation.zip'} is 100×100 pixels", "105×105")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded by what Linux tells")
def test_damaged_archives_images_lists_and_caches_give_a_sentence_or_what_was_in_them():
    ends = run_in_child("fuzz_archives", seed=19)
    assert ends["tried"] > 2000
    for form in ("tar", "gzip", "npz", "omniglot", "image", "list"):
        assert ends[f"{form} refused"] > 100
    assert ends["cache read"] > 100
