"""What lies in a run directory may be anything: only regular files are opened, and no more is read than was agreed."""

import os
import pathlib
import socket

import pytest

from metagrad import opening


def link(path):
    path.with_name("elsewhere").write_text("precious")
    path.symlink_to(path.with_name("elsewhere"))


def listening(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


SPECIAL = {
    "a link": (link, "a symbolic link"),
    "a link to nothing": (lambda path: path.symlink_to(path.with_name("nothing")), "a symbolic link"),
    "a link to itself": (lambda path: path.symlink_to(path), "a symbolic link"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "a symbolic link"),
    "a pipe": (os.mkfifo, "a pipe"),
    "a directory": (os.mkdir, "a directory"),
    "a socket": (listening, "a socket"),
}
WAYS = {
    "read": lambda path: opening.read_bytes(path, 100),
    "lines": lambda path: list(opening.lines(path)),
    "append": opening.appending,
    "claim": opening.claiming,
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("way", WAYS)
def test_only_regular_files_are_opened(kind, way, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, words = SPECIAL[kind]
    make(tmp_path / "file")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(OSError, match=f"no regular file but {words}"):
        WAYS[way](tmp_path / "file")
    assert not opening.is_regular(tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    if "elsewhere" in before:
        assert (tmp_path / "elsewhere").read_text() == "precious"


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_made_is_new(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SPECIAL[kind][0](tmp_path / "file")
    with pytest.raises(OSError, match=r"no regular file|exists"):
        opening.creating(tmp_path / "file")


def test_a_device_is_not_opened():
    with pytest.raises(OSError, match="a device"):
        opening.read_bytes(pathlib.Path("/dev/zero"), 100)


def test_sizes_are_bounded(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert opening.read_bytes(path, 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, and at most 4 are read"):
        opening.read_bytes(path, 4)
    os.truncate(path, 2**40)  # takes no room on the disk
    with pytest.raises(OSError, match="at most"):
        list(opening.lines(path))


def test_a_line_without_an_end_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "LINE_BYTES", 8)
    (tmp_path / "file").write_bytes(b"short\n" + b"x" * 30 + b"\nafter\n1234567\n12345678\nlast")
    assert list(opening.lines(tmp_path / "file")) == [
        *(b"short\n", b"x" * 8, b"after\n", b"1234567\n", b"12345678", b"last")
    ]


def test_a_hard_link_is_read_and_not_written(tmp_path):
    (tmp_path / "elsewhere").write_text("precious")
    os.link(tmp_path / "elsewhere", tmp_path / "file")
    assert opening.read_bytes(tmp_path / "file", 100) == b"precious"
    with pytest.raises(OSError, match="hard link"):
        opening.appending(tmp_path / "file")
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_what_is_claimed_keeps_its_bytes(tmp_path):
    (tmp_path / "file").write_text("precious")
    opening.claiming(tmp_path / "file").close()
    opening.claiming(tmp_path / "new").close()
    assert (tmp_path / "file").read_text() == "precious"
    assert (tmp_path / "new").read_bytes() == b""
