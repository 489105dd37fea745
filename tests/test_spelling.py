"""Outputs that are not UTF-8: plain tables, and no character that ends the program."""

import io
import shutil
import sys
from pathlib import Path

import pytest

from metagrad import cli
from metagrad.spelling import spelled

OLD = Path(__file__).parent / "training" / "old_runs" / "0.1.0"
ENCODINGS = ["ascii", "latin-1", "cp1252", "koi8-r", "utf-8"]


@pytest.fixture
def output(monkeypatch):
    """Run a command with an output of another encoding; gives exit status and bytes."""

    def call(encoding, *words):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n") for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as leaving:  # argparse, after --help
            status = leaving.code
        for stream in streams:
            stream.flush()
        return status, *(stream.buffer.getvalue() for stream in streams)

    return call


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_table_is_plain_where_its_lines_cannot_be_drawn(encoding, output):
    status, out, err = output(encoding, "evaluate", OLD)
    assert (status, err) == (0, b"")
    text = out.decode(encoding)
    assert ("━" in text) == (encoding == "utf-8")
    assert ("+---" in text) == (encoding != "utf-8")
    assert ("±" in text) == (encoding in ("latin-1", "cp1252", "utf-8"))
    assert ("+- 1." in text) == (encoding in ("ascii", "koi8-r"))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("words", [["list"], ["train", "--help"], ["train", "--estimator", "λ"], ["report", "ü\udcff"]])
def test_no_character_ends_a_command(encoding, words, output):
    status, out, err = output(encoding, *words)
    assert status in (0, 2)
    assert (err.count(b"\n") == 1) == (status == 2)
    (out + err).decode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_report_is_utf_8_wherever_it_is_made(encoding, output, tmp_path):
    shutil.copytree(OLD, tmp_path / "läufe ∞" / "run")
    status, out, _ = output(encoding, "report", tmp_path / "läufe ∞")
    assert status == 0
    assert b"report.html" in out
    assert "läufe ∞" in (tmp_path / "läufe ∞" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "plain"),
    [("4.0 ± 1.2", "4.0 +- 1.2"), ("λ ≤ 3×10…", "lambda <= 3x10..."), ("Ångström", "Angstrom"), ("日\udcff", "??")],
)
def test_what_is_spelled(text, plain):
    assert spelled(text) == plain
