"""Ctrl-C before training, while Python imports or images are decoded: it is said, and nothing half made stays."""

import signal
import subprocess
import sys

import pytest

from data.small_imagenet import source, write_caches, write_csv, write_divided_folders
from data.small_omniglot import MEMBERS, SMALL, write_zips
from metagrad import cli
from metagrad.data import archives
from metagrad.data.readers import folders, pickle_stream, ravi

SLOW_IMPORT = """
import sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            print("importing", flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Slow())
from metagrad.cli import main
sys.exit(main(["train"]))
"""


@pytest.mark.parametrize("name", ["metagrad.commands", "torch", "metagrad.learner"])
def test_an_interrupted_import_is_one_sentence(name):
    command = [sys.executable, "-c", SLOW_IMPORT, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "importing\n"
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert errors == "metagrad train: interrupted\n"


DECODING = {
    "class folders": ("folder-5way-1shot", write_divided_folders, folders, "read_image"),
    "lists": ("mini-imagenet-5way-1shot", write_csv, ravi, "read_image"),
    "pickles": ("mini-imagenet-5way-1shot", write_caches, pickle_stream._Stream, "read"),
    "archives": ("omniglot-5way-1shot", lambda directory, _: write_zips(directory, MEMBERS), archives, "_decode"),
}


@pytest.mark.parametrize(("preset", "write", "owner", "name"), DECODING.values(), ids=DECODING)
def test_interrupted_decoding_is_said_and_leaves_nothing(preset, write, owner, name, tmp_path, monkeypatch, capsys):
    calls, decode = [], getattr(owner, name)

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 5:  # a class is on its way to the disk
            raise KeyboardInterrupt
        return decode(*arguments, **options)

    monkeypatch.setattr(owner, name, interrupted)
    monkeypatch.setattr("metagrad.data.omniglot.vinyals_characters", lambda: SMALL)
    monkeypatch.setenv("METAGRAD_CACHE", str(tmp_path / "cache"))
    directory = write(tmp_path / "data", source())
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["train", preset, "--data", str(directory), "--out", str(tmp_path / "run")]) == 130
    assert "interrupted before training began; nothing is left of it" in capsys.readouterr().out
    assert len(calls) == 5
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "cache"] == before
