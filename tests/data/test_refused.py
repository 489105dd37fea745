"""What every data set refuses: one sentence with the file, no memory, nothing run, nothing left half made."""

import contextlib
import re
import resource
from pathlib import Path

import pytest

from data import refusals_imagenet, refusals_others, small_cifar, small_imagenet, small_omniglot
from data.fuzzing import MEMORY
from metagrad import cli
from metagrad.data.cifar import load_cifar_fs
from metagrad.data.folder import load_folder
from metagrad.data.mini_imagenet import load_mini_imagenet
from metagrad.data.omniglot import load_omniglot
from metagrad.data.tiered_imagenet import load_tiered_imagenet

REFUSED = {
    "miniImageNet": (load_mini_imagenet, {"classes": small_imagenet.LISTS}, refusals_imagenet.MINI),
    "tieredImageNet": (load_tiered_imagenet, {"classes": small_imagenet.LISTS}, refusals_imagenet.TIERED),
    "CIFAR-FS": (load_cifar_fs, {"classes": small_cifar.LISTS}, refusals_others.CIFAR),
    "Omniglot": (load_omniglot, {"characters": small_omniglot.SMALL}, refusals_others.OMNIGLOT),
    "folder": (load_folder, {"size": 84}, refusals_others.FOLDER),
}
ROWS = [
    pytest.param(load, options, write, sentences, id=f"{data_set}: {name}")
    for data_set, (load, options, rows) in REFUSED.items()
    for name, (write, *sentences) in rows.items()
]


@contextlib.contextmanager
def bounded_memory():
    """No more than `MEMORY` beyond what the process has, where Linux tells that."""
    taken = Path("/proc/self/statm")
    if not taken.exists():
        yield
        return
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(taken.read_text().split()[0]) * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


@pytest.mark.parametrize(("load", "options", "write", "sentences"), ROWS)
def test_files_that_cannot_be_used_are_named(load, options, write, sentences, tmp_path, cache):
    directory = tmp_path / "data"
    directory.mkdir()
    write(directory)
    with bounded_memory(), pytest.raises(ValueError, match=re.escape(sentences[0])) as caught:
        load(directory, cache=cache, **options)
    message = str(caught.value)
    assert [part for part in sentences if part not in message] == [], message
    assert str(directory) in message or "are in both" in message
    assert message.isprintable()
    assert cli._raised_by_metagrad(caught.value)  # or the command line would take it for a mistake in the program
    assert not (directory / "touched").exists()
    assert {path.suffix for path in cache.glob("*")} <= {".cache"}


AT_THE_COMMAND_LINE = {
    "cifar-fs": ("member of 8 GB", "header that leads back", "part with objects", "pipe in place of a part"),
    "fc100": ("labels beyond 64 bits",),
    "folder": ("image that explodes", "zeros in place of an image"),
}


@pytest.mark.parametrize(
    ("preset", "name"), [(one, name) for one, names in AT_THE_COMMAND_LINE.items() for name in names]
)
def test_the_command_line_gives_the_sentence_and_status_2(preset, name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("METAGRAD_CACHE", str(tmp_path / "cache"))
    directory, run = tmp_path / "data", tmp_path / "run"
    directory.mkdir()
    write, *sentences = (refusals_others.FOLDER if preset == "folder" else refusals_others.CIFAR)[name]
    write(directory)
    assert cli.main(["train", f"{preset}-5way-1shot", "--data", str(directory), "--out", str(run)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("metagrad train: error: ")
    assert errors.count("\n") == 1
    assert all(part in errors for part in sentences)
    assert not run.exists()
