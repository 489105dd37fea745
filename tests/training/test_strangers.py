"""Run directories from strangers: links, pipes, devices and files without an end, in the place of each file."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from metagrad import cli

OLD = Path(__file__).parent / "old_runs" / "0.1.0"
FILES = (
    *("config.json", "metrics.jsonl", "checkpoint.pt", "best.safetensors", "last.safetensors", "lock", "test.json"),
    *("adaptation.png", "training.png", "config.json.partial", "checkpoint.pt.partial", "metrics.jsonl.partial"),
)
PRECIOUS = b"precious\n"


def elsewhere(path):
    made = path.parent.parent / "elsewhere" / path.name
    made.parent.mkdir(exist_ok=True)
    made.write_bytes(path.read_bytes() if path.exists() else PRECIOUS)
    path.unlink(missing_ok=True)
    return made


def without(path):
    path.unlink(missing_ok=True)
    return path


def without_end(path):
    path.touch()
    os.truncate(path, 2**42)


MADE = {
    "a link": lambda path: path.symlink_to(elsewhere(path)),
    "a hard link": lambda path: os.link(elsewhere(path), path),
    "a link to a file to come": lambda path: (
        path.unlink(missing_ok=True),
        path.symlink_to(path.parent.parent / "new"),
    ),
    "zeros": lambda path: (path.unlink(missing_ok=True), path.symlink_to("/dev/zero")),
    "a pipe": lambda path: (path.unlink(missing_ok=True), os.mkfifo(path)),
    "a directory": lambda path: (path.unlink(missing_ok=True), path.mkdir()),
    "a file without an end": without_end,
}
COMMANDS = {
    "resume": lambda run: ["train", "--resume", str(run), "--meta-steps", "4"],
    "evaluate": lambda run: ["evaluate", str(run)],
    "report": lambda run: ["report", str(run.parent)],
}


@pytest.fixture
def in_time():
    """What hangs is ended."""

    def end(*_):
        raise AssertionError("the command hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def outside(root):
    """All files but those of the run and the page, with what is in them."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and "runs" not in path.relative_to(root).parts
    }


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", MADE)
def test_nothing_outside_is_touched_and_nothing_hangs(file, kind, tmp_path, capsys, in_time):
    nothing_outside_is_touched(file, kind, tmp_path, capsys)


@pytest.mark.parametrize(("file", "kind"), [("lock", "a link"), ("test.json", "a pipe"), ("checkpoint.pt", "zeros")])
def test_some_of_them(file, kind, tmp_path, capsys, in_time):
    nothing_outside_is_touched(file, kind, tmp_path, capsys)


def nothing_outside_is_touched(file, kind, tmp_path, capsys):
    run = Path(shutil.copytree(OLD, tmp_path / "runs" / "run"))
    MADE[kind](run / file)
    before = outside(tmp_path)
    for name, words in COMMANDS.items():
        status = cli.main(words(run))
        err = capsys.readouterr().err
        assert status in (0, 2), name
        assert err.count("\n") == (status == 2), (name, err)
        assert outside(tmp_path) == before, name
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("file", ["config.json", "metrics.jsonl", "test.json", "adaptation.png"])
@pytest.mark.parametrize("kind", ["a link", "zeros", "a pipe", "a file without an end"])
def test_a_report_follows_no_link_and_says_so(file, kind, tmp_path, capsys, in_time):
    shutil.copytree(OLD, tmp_path / "runs" / "whole")
    run = Path(shutil.copytree(OLD, tmp_path / "runs" / "run"))
    MADE[kind](run / file)
    assert cli.main(["report", str(tmp_path / "runs")]) == 0
    why = "it has 4,398" if kind == "a file without an end" else "it is no regular file"
    assert f"note: run/{file} cannot be read: {why}" in capsys.readouterr().out
    assert "precious" not in (tmp_path / "runs" / "report.html").read_text()


@pytest.mark.parametrize("kind", ["a link", "a hard link", "a pipe"])
def test_what_cannot_be_written_is_said(kind, tmp_path, capsys, in_time):
    run = Path(shutil.copytree(OLD, tmp_path / "runs" / "run"))
    MADE[kind](run / "metrics.jsonl")
    assert cli.main(COMMANDS["resume"](run)) == 2
    err = capsys.readouterr().err
    assert "metrics.jsonl" in err
    assert ("hard link" if kind == "a hard link" else "no regular file") in err


def test_cells_of_a_study_are_no_links(tmp_path, capsys):
    made = tmp_path / "study"
    assert cli.main(["reproduce", "fig2", "--out", str(made)]) == 0
    (made / "records.jsonl").write_text("")
    (tmp_path / "elsewhere").mkdir()
    (made / "cells").symlink_to(tmp_path / "elsewhere")
    capsys.readouterr()
    assert cli.main(["reproduce", "fig2", "--out", str(made)]) == 2
    assert "is a symbolic link, which is not followed" in capsys.readouterr().err
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("words", [["train", "--resume", "{run}"], ["reproduce", "fig2", "--out", "{study}"]])
def test_results_that_cannot_be_written_are_found_before_anything_is_measured(words, tmp_path, capsys):
    run, study = Path(shutil.copytree(OLD, tmp_path / "run")), tmp_path / "study"
    assert cli.main(["reproduce", "fig2", "--out", str(study)]) == 0
    (study / "records.jsonl").write_text("")
    (study / "figure.png").unlink()
    for path in (run / "training.png", study / "figure.png"):
        path.mkdir()
    capsys.readouterr()
    assert cli.main([word.format(run=run, study=study) for word in words]) == 2
    assert "png cannot be written: it is a directory" in capsys.readouterr().err
    assert (study / "records.jsonl").read_text() == ""


OUTPUTS = [["compare", "--out", "{tmp}/file/c"], ["evaluate", "{run}", "--out", "/proc/x.json"]]


@pytest.mark.parametrize("words", OUTPUTS)
def test_other_outputs_too(words, tmp_path, capsys):
    run = shutil.copytree(OLD, tmp_path / "run")
    (tmp_path / "file").write_text("")
    assert cli.main([word.format(run=run, tmp=tmp_path) for word in words]) == 2
    out, err = capsys.readouterr()
    assert words[-1].format(tmp=tmp_path) in err
    assert "cannot be written" in err
    assert out == ""


def test_a_name_is_no_pattern_and_what_is_not_ours_stays(tmp_path, capsys):
    theirs = {name: tmp_path / name for name in (".mine.0123abcd.partial", ".*.mine.partial", ".*.0123abcd.partial")}
    for directory in theirs.values():
        directory.mkdir()
        (directory / "thesis.tex").write_text("precious")
    small = [
        "--meta-steps",
        "0",
        "--problem.hidden",
        "4",
        "--validation.tasks",
        "2",
        "--test.tasks",
        "2",
        "--machine.device",
        "cpu",
    ]
    assert cli.main(["train", "sinusoid", "--out", str(tmp_path / "*"), *small]) == 0
    assert all((directory / "thesis.tex").read_text() == "precious" for directory in theirs.values())
    assert (tmp_path / "*" / "config.json").is_file()
    (tmp_path / "*" / "notes.partial").write_text("my notes")
    assert cli.main(["train", "--resume", str(tmp_path / "*")]) == 0
    assert (tmp_path / "*" / "notes.partial").read_text() == "my notes"
