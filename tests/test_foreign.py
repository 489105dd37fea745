"""Text of files and names that somebody else chose: what of it reaches a message, and the terminal."""

import pickle

import numpy as np
import pytest

from data.small_imagenet import pixels, source, write_caches, write_divided_folders
from metagrad import cli, terminal
from metagrad.foreign import LONGEST, plain, printable, reason

EVIL = "\x1b]0;owned\x07\x1b[2J\u202egnp.tac\x9b1A"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", "cat"),
        ("a\tb\n c", "a b c"),
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("\x9b2J", "�2J"),  # one byte in place of ESC [
        ("\u202egnp.tac", "�gnp.tac"),  # turns the reading direction
        ("\ud800", "�"),  # half a character
        ("näıve 猫", "näıve 猫"),
        ("a" * LONGEST, "a" * LONGEST),
        ("a" * (LONGEST + 1), "a" * LONGEST + "…"),
    ],
)
def test_messages_have_one_printable_line_of_bounded_length(text, expected):
    assert printable(text) == expected
    assert printable(text).encode("utf-8")


def test_lines_and_tabs_stay_in_plain_text():
    assert plain("a\tb\r\n\x1b[2Jc\u00a0d") == "a\tb�\n�[2Jc\u00a0d"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError(2, "No such file or directory", "somewhere"), "No such file or directory"),
        (OSError("bad\x1b[2J\nfile"), "bad�[2J file"),
        (EOFError(), "EOFError"),
    ],
)
def test_a_reason_is_what_an_error_says(error, expected):
    assert reason(error) == expected


def foreign_class(directory):
    write_divided_folders(directory, [pixels(["n01"]), pixels(["n02"]), pixels(["n01"])])
    for part in ("train", "test"):
        (directory / part / "n01").rename(directory / part / EVIL)


def foreign_name(directory):
    write_divided_folders(directory, source())
    (directory / "train" / "n01532829" / f"{EVIL}.png").write_bytes(b"no image")


def foreign_ending(directory):
    write_divided_folders(directory, source())
    (directory / "train" / "n01532829" / f"a.{EVIL}").write_bytes(b"left out")


IMAGE = np.zeros((1, 84, 84, 3), np.uint8)
FOREIGN = {
    "a class in two sets": ("folder", foreign_class),
    "a file that cannot be read": ("folder", foreign_name),
    "a file that is left out": ("folder", foreign_ending),
    "keys of a pickle": (
        "mini-imagenet",
        lambda d: (write_caches(d, source()) / "mini-imagenet-cache-train.pkl").write_bytes(pickle.dumps({EVIL: 1})),
    ),
    "a class of a pickle": (
        "mini-imagenet",
        lambda d: write_caches(d, [{EVIL: np.zeros((1, 84, 84, 3), np.uint8)}] * 3),
    ),
}


@pytest.mark.parametrize(("preset", "write"), FOREIGN.values(), ids=FOREIGN)
def test_no_escape_sequence_reaches_the_terminal(preset, write, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("METAGRAD_CACHE", str(tmp_path / "cache"))
    directory = tmp_path / EVIL
    directory.mkdir()
    write(directory)
    assert (
        cli.main(["train", f"{preset}-5way-1shot", "--data", str(directory), "--out", str(tmp_path / EVIL / "run")])
        == 2
    )
    out, errors = capsys.readouterr()
    assert errors.count("\n") == 1
    assert all(line.isprintable() for line in (out + errors).splitlines())
    assert "owned" in out + errors


def test_a_path_with_escape_sequences_is_said_without_them(tmp_path, capsys):
    terminal.wrote(terminal.console(), tmp_path / EVIL)
    out = capsys.readouterr().out
    assert "owned" in out
    assert out.strip().isprintable()
