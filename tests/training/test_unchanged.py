"""A run that is not what it was: every file that is read back is held against a checksum, and changes are said."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from metagrad import cli
from metagrad.training import Run
from metagrad.training.manifest import differences, other_versions, write_manifest
from metagrad.training.weights import read_weights, write_weights
from training import states

OLD = Path(__file__).parent / "old_runs"
SMALL = (
    *("--problem.hidden", "4", "--meta_batch", "2", "--validation.tasks", "2", "--validation.every", "2"),
    *("--test.tasks", "3", "--test.steps", "2", "--machine.device", "cpu", "--optimizer.schedule", "constant"),
    *("--meta-steps", "3", "--num-steps", "2", "--estimator", "Exact"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "run"
    assert cli.main(["train", "sinusoid", "--out", str(path), *SMALL]) == 0
    return path


@pytest.fixture
def run(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def metagrad(capsys):
    def call(*words):
        capsys.readouterr()
        status = cli.main([str(word) for word in words])
        return status, *capsys.readouterr()

    return call


EARLIER = [("0.1.0", 1), ("0.1.0-learned-rates", 1), ("0.1.0-with-checksums", 2)]


@pytest.mark.parametrize(("version", "form"), EARLIER)
def test_a_run_of_an_earlier_version_opens(version, form, metagrad, tmp_path):
    """As it was made then, the first two before there were checksums: evaluated to what they said, continued, reported.

    The second has `Auto`, `LearnedRates` and another optimizer.
    """
    run = Path(shutil.copytree(OLD / version, tmp_path / "runs" / "run"))
    status, _, err = metagrad("evaluate", run, "--out", tmp_path / "again.json")
    assert (status, err) == (0, "")
    then, now = json.loads((run / "test.json").read_text()), json.loads((tmp_path / "again.json").read_text())
    assert now["results"]["loss"]["mean"] == pytest.approx(then["results"]["loss"]["mean"], rel=1e-5)
    status, _, err = metagrad("train", "--resume", run, "--meta-steps", 5)
    assert (status, err) == (0, "")
    assert [r["step"] for r in Run(run).metrics() if r["kind"] == "train"] == [1, 2, 3, 4, 5]
    assert Run(run).checkpoint()["step"] == 5
    assert Run(run).manifest()["format"] == form
    status, _, err = metagrad("train", "--resume", run)  # and again, with what this version wrote
    assert (status, err) == (0, "")
    status, out, err = metagrad("report", run.parent)
    assert (status, err, "note" in out) == (0, "", False)


@pytest.mark.parametrize("file", ["best.safetensors", "last.safetensors", "checkpoint.pt", "config.json"])
def test_a_flipped_bit_anywhere_is_refused(file, run, metagrad):
    """Every seventh byte, each with another bit; what reads the file names it."""
    path, which = run / file, file.partition(".")[0]
    whole = path.read_bytes()
    reading = {
        "best": lambda: Run(run).weights("best"),
        "last": lambda: Run(run).weights("last"),
        "checkpoint": lambda: Run(run).checkpoint(),
        "config": lambda: unchanged(Run(run)),
    }[which]
    reading()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        if which == "config" and same_values(whole, path.read_bytes()):
            continue  # white space became other white space
        with pytest.raises(ValueError, match=which):
            reading()
    status, _, err = metagrad("evaluate", run, "--weights", which) if which in ("best", "last") else (2, "", which)
    assert status == 2
    assert which in err


def unchanged(run):
    if changes := run.changes():
        raise ValueError(f"config.json: {changes}")


def same_values(first, second):
    try:
        return json.loads(first) == json.loads(second)
    except ValueError:
        return False


def edited(run, *names, to):
    values = json.loads((run / "config.json").read_text())
    inner = values
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = to
    (run / "config.json").write_text(json.dumps(values))


EDITS = {
    "more inner steps": (("config", "num_steps"), 3, "num_steps was 2 and is 3"),
    "another rate": (("config", "rule"), "SGD(lr=0.5)", "and is SGD(lr=0.5)"),
    "another part of a group": (("config", "optimizer", "lr"), 0.5, "optimizer.lr was 0.002 and is 0.5"),
    "another version": (("versions", "metagrad"), "9.0.0", "something beside the configuration"),
    "another command": (("command",), "metagrad train", "something beside the configuration"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_configuration_is_told_and_taken_only_when_asked_for(edit, run, metagrad):
    names, value, told = EDITS[edit]
    edited(run, *names, to=value)
    for words in (("evaluate", run), ("train", "--resume", run)):
        status, _, err = metagrad(*words)
        assert status == 2
        assert err.count("\n") == 1
        assert told in err
        assert "--accept-changes" in err


def test_an_edited_configuration_is_the_runs_own_once_it_was_accepted(run, metagrad):
    edited(run, "config", "num_steps", to=3)
    assert metagrad("evaluate", run, "--accept-changes")[0] == 0
    assert metagrad("evaluate", run)[0] == 2
    assert metagrad("train", "--resume", run, "--accept-changes")[0] == 0
    assert metagrad("train", "--resume", run)[0] == 0
    assert metagrad("evaluate", run)[0] == 0


def test_the_configuration_of_another_run_under_a_right_checksum(run, metagrad):
    manifest = Run(run).manifest()
    write_manifest(run, {**manifest, "config": {**manifest["config"], "seed": 7}})
    status, _, err = metagrad("train", "--resume", run)
    assert status == 2
    assert "since the latest checkpoint" in err
    assert "seed was 0 and is 7" in err


@pytest.mark.parametrize("package", ["metagrad", "torch"])
def test_another_major_version_is_told(package, run, metagrad):
    path = run / "checkpoint.pt"
    saved = states.read(path)
    known = json.loads(saved["manifest"])
    known["versions"][package] = "99.1"
    saved["manifest"] = json.dumps(known)
    states.write(path, saved)
    status, _, err = metagrad("train", "--resume", run)
    assert status == 2
    assert f"{package} was 99.1 and is " in err
    assert metagrad("train", "--resume", run, "--accept-changes")[0] == 0
    assert metagrad("train", "--resume", run)[0] == 0
    assert other_versions({package: "3.1"}, {"metagrad": "3.2", "torch": "3.0"}) == ""


def test_a_longer_run_is_its_own(run, metagrad):
    assert metagrad("train", "--resume", run, "--meta-steps", 4)[0] == 0
    assert metagrad("train", "--resume", run)[0] == 0
    assert Run(run).config()["meta_steps"] == 4


def test_deleted_best_weights_are_said(run, metagrad):
    (run / "best.safetensors").unlink()
    for words in (("evaluate", run), ("train", "--resume", run)):
        status, _, err = metagrad(*words)
        assert status == 2
        assert "best.safetensors is missing, although validation after meta-step" in err
    assert metagrad("evaluate", run, "--weights", "last")[0] == 0
    shutil.copy(run / "last.safetensors", run / "best.safetensors")
    assert metagrad("evaluate", run)[0] == 0


def test_a_run_that_was_never_validated_has_its_last_weights(tmp_path, metagrad):
    assert metagrad("train", "sinusoid", "--out", tmp_path / "run", *SMALL, "--meta-steps", 0)[0] == 0
    assert not (tmp_path / "run" / "best.safetensors").exists()
    assert metagrad("evaluate", tmp_path / "run")[0] == 0


def test_a_configuration_of_a_larger_model_takes_no_memory(run, metagrad):
    """Forty gigabytes of weights are refused before the first of them."""
    edited(run, "config", "problem", "hidden", to=[100_000, 100_000])
    for words in (("evaluate", run), ("train", "--resume", run)):
        status, _, err = metagrad(*words, "--accept-changes")
        assert status == 2
        assert "and the model of the configuration beside it 40,001,600,004: they are of two runs" in err


def test_a_report_says_that_a_configuration_was_changed(run, metagrad):
    edited(run, "config", "num_steps", to=3)
    status, out, _ = metagrad("report", run.parent)
    assert status == 0
    assert "was changed after metagrad wrote it" in out


KINDS = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64, torch.uint8]


def test_weights_of_every_kind_come_back_and_are_held_to_their_checksum(tmp_path):
    weights = {str(kind): torch.ones(2, 3).to(kind) for kind in KINDS} | {
        "0-d": torch.tensor(2.5),
        "none": torch.ones(0),
    }
    write_weights(tmp_path / "w", weights)
    again = read_weights(tmp_path / "w", 10**6, summed=True)
    assert all(torch.equal(again[name], value) for name, value in weights.items())
    data = (tmp_path / "w").read_bytes()
    (tmp_path / "w").write_bytes(data.replace(b"sha256", b"sha255"))
    with pytest.raises(ValueError, match="checksum differs"):
        read_weights(tmp_path / "w", 10**6, summed=True)
    read_weights(tmp_path / "w", 10**6, summed=False)


def test_differences_are_few_and_short():
    assert (
        differences({"a": {"b": 1}, "c": [1, 2]}, {"a": {"b": 1.0}, "c": [1, 2], "d": None}) == "a.b was 1 and is 1.0"
    )
    many = differences({str(i): i for i in range(9)}, {})
    assert many.endswith("4 was 4 and is null and 4 more")
    assert len(differences({"a": "x" * 1000}, {"a": "y"})) < 100
