"""The run directory: made at once, cut back to its checkpoint, and refused when it is damaged."""

import hashlib
import io
import json

import pytest
import torch

from metagrad.training.json_files import finite, write_json
from metagrad.training.run import Run
from metagrad.training.run_writer import RunWriter

WEIGHTS = {"w": torch.arange(3.0)}
STATE = {"step": 0, "learner": WEIGHTS}


def create(path):
    return RunWriter.create(path, {"seed": 0}, STATE, WEIGHTS)


def test_a_new_run_is_complete(tmp_path):
    with create(tmp_path / "run"):
        pass
    run = Run(tmp_path / "run")
    assert run.config() == {"seed": 0}
    assert run.checkpoint()["step"] == 0
    assert run.metrics() == []
    assert torch.equal(run.weights("last")["w"], WEIGHTS["w"])
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert str(tmp_path) not in (tmp_path / "run" / "config.json").read_text()


@pytest.mark.parametrize("moment", ["config", "checkpoint", "rename"])
def test_a_run_that_could_not_be_made_is_not_there(tmp_path, monkeypatch, moment):
    targets = {
        "config": "metagrad.training.run_writer.write_manifest",
        "checkpoint": "metagrad.training.run_writer.torch.save",
        "rename": "metagrad.training.run_writer.os.rename",
    }

    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(targets[moment], fail)
    with pytest.raises(OSError, match="disk full"):
        create(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_refused_and_kept(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="exists already; continue it with --resume"):
        create(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_an_unwritable_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot make a run directory"):
        create(tmp_path / "file" / "run")


def test_resume_cuts_the_metrics_back_to_the_checkpoint(tmp_path):
    path = tmp_path / "run"
    with create(path) as writer:
        writer.record({"kind": "train", "step": 1})
        writer.checkpoint({**STATE, "step": 1}, WEIGHTS)
        writer.record({"kind": "train", "step": 2})
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # a line that a kill cut short
    whole = (path / "checkpoint.pt").read_bytes()
    (path / "checkpoint.pt.0123abcd.partial").write_bytes(whole[: len(whole) // 2])
    (path / "notes.partial").write_text("my notes")
    writer, saved = RunWriter.resume(path)
    with writer:
        assert saved["step"] == 1
        assert not (path / "checkpoint.pt.0123abcd.partial").exists()
        assert (path / "notes.partial").read_text() == "my notes"
        writer.record({"kind": "train", "step": 2})
    assert [record["step"] for record in Run(path).metrics()] == [1, 2]


def test_resume_refuses_metrics_shorter_than_the_checkpoint_counts(tmp_path):
    path = tmp_path / "run"
    with create(path) as writer:
        writer.record({"step": 1})
        writer.checkpoint(STATE, WEIGHTS)
    (path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="where the checkpoint counts 11"):
        RunWriter.resume(path)
    (path / "metrics.jsonl").write_text('{"step":1}\n')
    RunWriter.resume(path)[0].close()  # the refusal let go of the lock


def test_one_process_at_a_time(tmp_path):
    with create(tmp_path / "run"), pytest.raises(ValueError, match="another process is training"):
        RunWriter.resume(tmp_path / "run")


@pytest.mark.parametrize("damage", ["cut", "flip", "flipped weight", "foreign", "gone"])
def test_a_damaged_checkpoint_is_refused_in_one_sentence(tmp_path, damage):
    path = tmp_path / "run"
    with create(path):
        pass
    file = path / "checkpoint.pt"
    whole = file.read_bytes()
    if damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "flip":
        file.write_bytes(bytes([whole[0] ^ 255]) + whole[1:])
    elif damage == "flipped weight":
        # In the middle of the numbers, where torch itself would notice nothing.
        middle = len(whole) // 2
        file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "foreign":
        torch.save([1, 2], file)
    else:
        file.unlink()
    with pytest.raises(ValueError, match=r"checkpoint\.pt is .*the run cannot be continued"):
        RunWriter.resume(path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made by unpickling"), "w"))

    path = tmp_path / "run"
    with create(path):
        pass
    payload = io.BytesIO()
    torch.save({"format": 1, "metrics_bytes": 0, "step": Evil()}, payload)
    (path / "checkpoint.pt").write_bytes(hashlib.sha256(payload.getvalue()).digest() + payload.getvalue())
    with pytest.raises(ValueError, match="damaged"):
        Run(path).checkpoint()
    assert not (tmp_path / "made by unpickling").exists()


def test_other_directories_are_not_runs(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match="is not a run directory"):
            Run(path)


def test_a_newer_format_is_refused(tmp_path):
    with create(tmp_path / "run"):
        pass
    manifest = Run(tmp_path / "run").manifest()
    write_json(tmp_path / "run" / "config.json", {**manifest, "format": 99})
    with pytest.raises(ValueError, match="format 99"):
        Run(tmp_path / "run").config()


def test_damaged_weights_and_metrics_are_named(tmp_path):
    with create(tmp_path / "run"):
        pass
    (tmp_path / "run" / "last.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"last\.safetensors are missing or damaged"):
        Run(tmp_path / "run").weights("last")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"kind":"train","step":1}\n{"st')
    with pytest.raises(ValueError, match="line 2"):
        Run(tmp_path / "run").metrics()


@pytest.mark.parametrize(
    "line",
    ["3", "[]", "{}", '{"kind":"train"}', '{"kind":"train","step":1.5}', '{"kind":1,"step":1}', "[" * 9000, "\xff"]
    + [f'{{"kind":"train","step":1,"loss":{value}}}' for value in ("[1]", '{"a":"b"}', "NaN,")],
)
def test_a_record_of_another_kind_is_named(tmp_path, line):
    with create(tmp_path / "run"):
        pass
    (tmp_path / "run" / "metrics.jsonl").write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(ValueError, match=r"line 1 of .*metrics\.jsonl is damaged"):
        Run(tmp_path / "run").metrics()


@pytest.mark.parametrize("value", ["1e400", "-1e120", "1" * 400, "null"])
def test_numbers_that_are_as_good_as_infinite_are_read_as_none(tmp_path, value):
    with create(tmp_path / "run"):
        pass
    (tmp_path / "run" / "metrics.jsonl").write_text(f'{{"kind":"train","step":1,"loss":{value}}}\n')
    assert Run(tmp_path / "run").metrics() == [{"kind": "train", "step": 1, "loss": None}]


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "value.json", {"a": [float("nan"), float("inf"), 1.5], "b": (2,)})
    assert json.loads((tmp_path / "value.json").read_text()) == {"a": [None, None, 1.5], "b": [2]}
    assert finite({"x": -float("inf")}) == {"x": None}


def test_tied_weights_can_be_saved(tmp_path):
    tied = torch.ones(2)
    with RunWriter.create(tmp_path / "run", {}, STATE, {"a": tied, "b": tied}):
        pass
    assert Run(tmp_path / "run").weights("last")["b"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("harm", ["deleted", "replaced", "renamed"])
def test_one_process_at_a_time_whatever_happens_to_the_lock_file(tmp_path, harm):
    with create(tmp_path / "run"):
        lock = tmp_path / "run" / "lock"
        if harm == "renamed":
            lock.rename(tmp_path / "run" / "old lock")
        else:
            lock.unlink()
        if harm == "replaced":
            lock.touch()
        with pytest.raises(ValueError, match="another process is training"):
            RunWriter.resume(tmp_path / "run")
    RunWriter.resume(tmp_path / "run")[0].close()
