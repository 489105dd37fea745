"""The command line: what it makes, what it refuses in one sentence, and that its options do not change unnoticed."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings

import pytest
import torch

from metagrad import __version__, cli, make_surface, surface
from metagrad.experiments.fields import walk
from metagrad.experiments.presets import PRESETS
from metagrad.experiments.settings import lines, with_components
from metagrad.training.run import Run

SMALL = [
    "--problem.hidden",
    "8",
    "--meta_batch",
    "3",
    "--validation.tasks",
    "4",
    "--test.tasks",
    "5",
    "--test.steps",
    "3",
    "--machine.device",
    "cpu",
    "--optimizer.schedule",
    "constant",
]


@pytest.fixture
def metagrad(capsys):
    """Run a command in this process; gives exit status, stdout and stderr."""

    def call(*arguments):
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as leaving:  # argparse, after --help and --version
            status = leaving.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "finished"
    assert cli.main(["train", "--out", str(path), "--meta-steps", "4", *SMALL]) == 0
    return path


def test_train_leaves_a_complete_run(finished):
    names = {p.name for p in finished.iterdir()}
    assert names >= {"config.json", "metrics.jsonl", "checkpoint.pt", "best.safetensors", "last.safetensors"}
    assert (finished / "adaptation.png").read_bytes().startswith(b"\x89PNG")
    test = json.loads((finished / "test.json").read_text())
    assert test["weights"] == "best"
    assert test["test"] == {"tasks": 5, "steps": 3, "seed": PRESETS["sinusoid"]().test.seed}
    assert len(test["results"]["loss"]["mean"]) == len(test["results"]["loss"]["half_width_95"]) == 4
    assert [len(row) for row in test["results"]["loss"]["tasks"]] == [4] * 5
    assert [r["step"] for r in Run(finished).metrics() if r["kind"] == "train"] == [1, 2, 3, 4]


def test_evaluate_repeats_the_test_and_may_ask_for_other_tasks(finished, metagrad, tmp_path):
    status, out, _ = metagrad("evaluate", finished, "--out", tmp_path / "again.json")
    assert status == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert again == json.loads((finished / "test.json").read_text())
    assert f"{again['results']['loss']['mean'][0]:.4f}" in out
    status, out, _ = metagrad(
        "evaluate", finished, "--tasks", 7, "--steps", 1, "--seed", 9, "--out", tmp_path / "b.json"
    )
    assert status == 0
    assert "7 test tasks" in out
    assert len(json.loads((tmp_path / "b.json").read_text())["results"]["loss"]["tasks"]) == 7


def test_evaluate_against_another_run_pairs_the_tasks(finished, metagrad):
    status, out, _ = metagrad("evaluate", finished, "--against", finished)
    assert status == 0
    assert out.count("+0.0000 ± 0.0000") == 4


@pytest.mark.slow
def test_evaluate_against_a_run_with_other_tasks_is_refused(finished, metagrad, tmp_path):
    other = tmp_path / "other"
    small = [*SMALL, "--problem.hidden", "8", "--meta-steps", "1"]
    assert metagrad("train", "--out", other, *small)[0] == 0
    assert metagrad("evaluate", finished, "--against", other)[0] == 0  # another network, the same tasks
    elsewhere = tmp_path / "elsewhere"
    assert metagrad("train", "--out", elsewhere, *small, "--problem.query", "7")[0] == 0
    status, _, err = metagrad("evaluate", finished, "--against", elsewhere)
    assert status == 2
    assert "has other test tasks than" in err


@pytest.mark.slow
def test_test_time_steps_that_diverge_leave_the_figure(metagrad, tmp_path):
    steps = ["--num-steps", "1", "--rule.lr", "0.9", "--test.steps", "80", "--estimator", "first-order"]
    assert metagrad("train", "--out", tmp_path / "r", "--meta-steps", "1", *SMALL, *steps)[0] == 0
    assert (tmp_path / "r" / "adaptation.png").exists()


@pytest.mark.slow
def test_a_finished_run_can_be_made_longer(finished, metagrad, tmp_path):
    path = tmp_path / "longer"
    shutil.copytree(finished, path)
    assert metagrad("train", "--resume", path, "--meta-steps", 6)[0] == 0
    whole = tmp_path / "whole"
    assert metagrad("train", "--out", whole, "--meta-steps", 6, *SMALL)[0] == 0
    expected = Run(whole).weights("last")
    assert all(torch.equal(w, expected[name]) for name, w in Run(path).weights("last").items())
    assert [r["step"] for r in Run(path).metrics() if r["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert Run(path).config()["meta_steps"] == 6
    assert metagrad("train", "--resume", path, "--meta-steps", 3)[0] == 2


def test_estimators_and_their_fields_are_chosen_by_name(metagrad, tmp_path):
    status, _, err = metagrad(
        *("train", "--out", tmp_path / "run", "--meta-steps", 1, *SMALL),
        *("--estimator", "split", "--estimator.window", 1, "--estimator.early", "Binomial(order=1)"),
        *("--estimator.early.scale", "paper", "--rule", "SGD(momentum=0.9)", "--rule.lr", 0.02),
    )
    assert (status, err) == (0, "")
    config = Run(tmp_path / "run").config()
    assert config["estimator"] == ("Split(window=1, late=Exact(), early=Binomial(order=1, scale='paper', center=0.0))")
    assert config["rule"] == "SGD(lr=0.02, momentum=0.9, nesterov=False, weight_decay=0.0)"


@pytest.mark.slow
def test_a_learned_center_is_kept_in_the_configuration(metagrad, tmp_path):
    chosen = [
        ("--estimator", "Binomial(order=2, center='auto')"),
        ("--estimator", "binomial", "--estimator.center", "auto"),
    ]
    for name, options in zip("ab", chosen, strict=True):
        status, _, err = metagrad("train", "--out", tmp_path / name, "--meta-steps", 1, *SMALL, *options)
        assert (status, err) == (0, "")
        text = Run(tmp_path / name).config()["estimator"]
        assert text == "Binomial(order=2, scale=1.0, center='auto')"
        assert metagrad("train", "--resume", tmp_path / name, "--meta-steps", 2)[0] == 0


@pytest.mark.parametrize("swapped", [False, True])
def test_fields_that_only_go_together_are_set_in_any_order(metagrad, tmp_path, swapped):
    """The preset has center "auto", beside which no scale goes."""
    options = [("--estimator.scale", "paper"), ("--estimator.center", 0)]
    options = [word for pair in (reversed(options) if swapped else options) for word in pair]
    status, _, err = metagrad("train", "--out", tmp_path / "run", "--meta-steps", 1, *SMALL, *options)
    assert (status, err) == (0, "")
    assert Run(tmp_path / "run").config()["estimator"] == "Binomial(order=2, scale='paper', center=0.0)"


def test_a_field_that_goes_with_none_of_the_others_is_refused_with_the_way_out(metagrad, tmp_path):
    options = ("--estimator.scale", "paper", "--estimator.order", 3)
    status, _, err = metagrad("train", "--out", tmp_path / "run", "--meta-steps", 1, *SMALL, *options)
    assert status == 2
    assert "--estimator.scale: scale must stay 1" in err
    assert "take center=0 beside a scale" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_auto_is_chosen_by_name_or_with_its_wishes(metagrad, tmp_path):
    options = [
        ("--estimator", "auto"),
        ("--estimator", "Auto(rounds=1)"),
        ("--estimator", "auto", "--estimator.tolerance", "none", "--estimator.rounds", "1"),
    ]
    wishes = ["tolerance=0.1, rounds=None", "tolerance=None, rounds=1", "tolerance=None, rounds=1"]
    for name, chosen, wish in zip("abc", options, wishes, strict=True):
        status, _, err = metagrad("train", "--out", tmp_path / name, "--meta-steps", 1, *SMALL, *chosen)
        assert (status, err) == (0, "")
        assert f"Auto({wish}, memory=None, every=250, probes=8)" in Run(tmp_path / name).config()["estimator"]
        (choice,) = [r for r in Run(tmp_path / name).metrics() if r["kind"] == "choice"]
        assert choice["measured"]
        assert choice["step"] == 1
    assert metagrad("train", "--resume", tmp_path / "a", "--meta-steps", 2)[0] == 0
    assert metagrad("evaluate", tmp_path / "a")[0] == 0
    assert (tmp_path / "a" / "training.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_runs_without_a_name_are_numbered(metagrad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert metagrad("train", "sinusoid", "--meta_steps=0", *SMALL)[0] == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["sinusoid-1", "sinusoid-2"]


@pytest.mark.slow
def test_the_command_is_recorded_until_the_configuration_is_another(metagrad, tmp_path):
    path = tmp_path / "run"
    assert metagrad("train", "sinusoid", "--out", path, "--meta-steps", 2, *SMALL)[0] == 0
    typed = json.loads((path / "config.json").read_text())["command"]
    assert typed.startswith("metagrad train sinusoid --meta-steps 2 --problem.hidden 8")
    assert str(tmp_path) not in typed
    assert metagrad("train", "--resume", path)[0] == 0
    assert json.loads((path / "config.json").read_text())["command"] == typed
    assert metagrad("train", "--resume", path, "--meta-steps", 3)[0] == 0
    manifest = json.loads((path / "config.json").read_text())
    assert "command" not in manifest
    assert manifest["config"]["meta_steps"] == 3


def test_compare_writes_table_json_and_figure(metagrad, tmp_path):
    status, out, err = metagrad(
        *("compare", "sinusoid", "--out", tmp_path / "c", "--tasks", 3, "--repeats", 1, "--num-steps", 2),
        *("--meta-steps", 2, *SMALL),
    )
    assert (status, err) == (0, "")
    assert "Binomial(order=1)" in out
    written = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert written["command"].startswith("metagrad compare sinusoid --tasks 3 --repeats 1 --num-steps 2")
    assert written["versions"]["metagrad"] == __version__
    rows = written["rows"]
    assert {row["family"] for row in rows} >= {"Exact", "FirstOrder", "Truncated", "Binomial", "Implicit"}
    assert (tmp_path / "c" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_list_and_version_and_help(metagrad):
    status, out, _ = metagrad("list")
    assert status == 0
    assert all(name in out for name in (*PRESETS, "Binomial", "Reptile", "AdamW", "Neumann"))
    assert metagrad("--version") == (0, f"metagrad {__version__}\n", "")
    assert metagrad("--help")[0] == 0
    for name in PRESETS:
        status, out, _ = metagrad("train", name, "--help")
        assert status == 0
        assert all(f"--{field.path.replace('_', '-')}" in out for field in walk(PRESETS[name]()))


REFUSED = [
    ("", "the following arguments are required: COMMAND"),
    ("fly", "unknown command 'fly'; known are train, evaluate, compare"),
    ("trian", "unknown command 'trian'; did you mean train?"),
    ("trian sinusoid --meta-steps 3", "unknown command 'trian'; did you mean train?"),
    ("train chess", "unknown preset 'chess'; known are sinusoid, omniglot"),
    ("train sinusoid extra", "unexpected argument 'extra'"),
    ("train sinusoid sinusoid", "unexpected argument 'sinusoid'"),
    ("train --num-steps 0 --num-steps 2 --num-steps 0", "num_steps must be at least 1, got 0"),
    ("train sinusiod", "unknown preset 'sinusiod'; did you mean sinusoid?"),
    ("train --meta-stps 3", "unknown option --meta-stps; did you mean --meta-steps?"),
    ("train --meta_stps 3", "unknown option --meta_stps; did you mean --meta-steps?"),
    ("train --epochs 3", "unknown option --epochs; did you mean --meta-steps?"),
    ("train --batch-size 3", "unknown option --batch-size; did you mean --meta-batch?"),
    ("train --inner-lr 3", "unknown option --inner-lr; did you mean --rule.lr?"),
    ("train --inner_lr 3", "unknown option --inner_lr; did you mean --rule.lr?"),
    ("compare --num-stps 3", "unknown option --num-stps; did you mean --num-steps?"),
    ("reproduce fig1", "unknown study 'fig1'; did you mean"),
    ("reproduce fig2 --scale samll", "fig2 has the sizes"),
    ("evaluate {finished} --step 3", "unknown option --step; did you mean --steps?"),
    ("train --estimator binomal", "--estimator: unknown name 'binomal'; did you mean Binomial?"),
    ("train --estimator Binomial(ordr=2)", "--estimator: Binomial has no field 'ordr'; did you mean 'order'?"),
    ("train --estimator Split(2,late=Exat())", "--estimator: unknown name 'Exat'; did you mean Exact?"),
    ("train --rule SDG", "--rule: unknown name 'SDG'; did you mean SGD?"),
    ("evaluate {runs}", "is not a run directory; the runs in it are"),
    ("evaluate {runs}/absent", "absent does not exist"),
    ("train --resume {runs}/absent", "absent does not exist"),
    ("train --lr 3", "unknown option --lr; did you mean --rule.lr or --optimizer.lr?"),
    ("train --estimator.windw 3 --estimator truncated", "did you mean --estimator.window?"),
    ("train --estimator bogus", "--estimator: unknown name 'bogus'; known are"),
    ("train --estimator", "argument --estimator: expected one argument"),
    ("train --estimator.order -1", "order must be at least 0, got -1"),
    ("train --estimator.order x", "expected an integer, got 'x'"),
    ("train --num_steps 0", "num_steps must be at least 1, got 0"),
    ("train --rule.lr 0", "lr must be greater than 0, got 0.0"),
    ("train --problem.inputs -5,x", "--problem.inputs: expected a number, got 'x'"),
    ("train --adapts nothing", "matches no trainable parameter"),
    ("train --estimator implicit", "Implicit found no dependence of the inner loss on the meta-parameters"),
    ("train --data .", "--data has no use here"),
    ("train --out {finished}", "exists already; continue it with --resume"),
    ("train --out {tmp}/file/run", "cannot make a run directory in"),
    ("train --resume {tmp}", "is not a run directory"),
    ("train --resume {finished} --seed 3", "a resumed run keeps its configuration"),
    ("train omniglot-5way-1shot --data {tmp}/absent", "does not exist; --data should hold images_background.zip"),
    ("train omniglot-5way-1shot --data {tmp}", "images_background"),
    ("train omniglot-5way-1shot", "Omniglot needs its files: give --data DIR"),
    ("train cifar-fs-5way-1shot", "CIFAR-FS needs its files: give --data DIR (or set $METAGRAD_DATA) with cifar-100"),
    ("train cifar-fs-5way-1shot --data {tmp}/absent", "does not exist; --data should hold cifar-100-python.tar.gz"),
    ("train cifar-fs-5way-1shot --data {tmp}", "holds no CIFAR-FS, directly or in a folder"),
    ("train fc100-5way-5shot --data {tmp}", "holds no FC100, directly or in a folder"),
    ("train mini-imagenet-5way-1shot", "miniImageNet needs its files: give --data DIR"),
    ("train mini-imagenet-5way-1shot --data {tmp}", "holds no miniImageNet, directly or in a folder"),
    ("train tiered-imagenet-5way-1shot --data {tmp}", "holds no tieredImageNet, directly or in a folder"),
    ("train folder-5way-5shot --data {tmp}", "holds no folders train, val and test"),
    ("train folder-5way-5shot --data {tmp}/file", "does not exist; --data should hold folders train, val and test"),
    ("train mnist1d-5way-1shot --data {tmp}", "--data has no use here"),
    ("train mnist1d-5way-1shot --problem.ways 11", "ways must be at most 10, got 11"),
    (
        "train mnist1d-5way-1shot --problem.queries 90",
        "validation tasks: shots=1 and queries=90 need 91 images",
    ),
    (
        "train mnist1d-5way-1shot --problem.test-queries 200",
        "--problem.shots, --problem.test-queries)",
    ),
    ("train cifar-fs-5way-1shot --problem.mean 0.5", "mean must be three numbers"),
    ("train --download=yes", "ignored explicit argument 'yes'"),
    ("train --seed 2", "must differ, or training, validation and test would draw the same tasks"),
    ("train --seed 99999999999999999999", "seed must be at most 9223372036854775807"),
    ("train --test.seed 99999999999999999999", "seed must be at most 9223372036854775807"),
    ("train --machine.threads 99999999999", "threads must be at most 2147483647"),
    ("train --meta_batch 99999999999999", "meta_batch must be at most 2147483647"),
    ("train --out=", "--out is empty"),
    ("compare --out=", "--out is empty"),
    ("evaluate {finished} --out=", "--out is empty"),
    ("train --optimizer.lr 1e39", "lr must be less than 3.4"),
    ("train --problem.hidden 10000000,10000000", "ran out of memory"),
    ("compare omniglot-5way-1shot --out {tmp}/c --data {tmp}/absent", "does not exist"),
    ("evaluate {finished} --out {finished}/config.json", "config.json exists already"),
    ("evaluate", "the following arguments are required: RUN"),
    ("evaluate {tmp}", "is not a run directory"),
    ("evaluate {finished} --tasks many", "invalid int value: 'many'"),
    ("evaluate {finished} --tasks 1", "tasks must be at least 2, got 1"),
    ("evaluate {finished} --out {tmp}/absent/file.json", "absent is not a directory"),
    ("compare --out {finished}", "exists already"),
    ("compare --tasks 0", "tasks must be at least 1, got 0"),
    ("list everything", "unexpected argument 'everything'"),
]


@pytest.mark.parametrize(("line", "sentence"), REFUSED, ids=[line or "nothing" for line, _ in REFUSED])
def test_bad_input_is_one_sentence_and_status_2(line, sentence, metagrad, tmp_path, monkeypatch, finished):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("METAGRAD_DATA", raising=False)
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    status, _, err = metagrad(*line.format(tmp=tmp_path, finished=finished, runs=finished.parent).split())
    assert status == 2
    assert sentence in err
    assert err.startswith("metagrad")
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("--problem.ways 5000", "5000 ways need 5000 classes"),
        ("--problem.shots 10 --problem.queries 11", "shots=10 and queries=11 need 21 images of a class"),
    ],
)
def test_episodes_larger_than_the_data(change, sentence, metagrad, tmp_path, shared_data):
    status, _, err = metagrad(
        "train", "omniglot-5way-1shot", "--data", shared_data, "--out", tmp_path / "run", *change.split()
    )
    assert status == 2
    assert sentence in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_data_and_decoding_are_noted_once(metagrad, tmp_path, shared_data, monkeypatch):
    monkeypatch.setenv("METAGRAD_CACHE", str(tmp_path / "cache"))
    for noted in (1, 0):
        status, out, err = metagrad(
            *("train", "cifar-fs-5way-1shot", "--data", shared_data, "--out", tmp_path / f"run{noted}"),
            *("--problem.filters", 4, "--meta-steps", 1, "--meta-batch", 1, "--estimator", "first-order"),
            *("--validation.tasks", 2, "--test.tasks", 2, "--test.steps", 1),
        )
        assert (status, err) == (0, "")
        assert out.count("CIFAR-FS: 3840, 960, 1200 images of 64, 16, 20 classes") == 1
        assert out.count(f"decoding images, once: they are kept in {tmp_path / 'cache'}") == noted


def test_an_archive_cut_in_half(metagrad, tmp_path, shared_data):
    whole = shared_data / "omniglot" / "images_background.zip"
    half = whole.read_bytes()[: whole.stat().st_size // 2]
    (tmp_path / whole.name).write_bytes(half)
    shutil.copy(shared_data / "omniglot" / "images_evaluation.zip", tmp_path)
    status, _, err = metagrad("train", "omniglot-5way-1shot", "--data", tmp_path, "--out", tmp_path / "run")
    assert status == 2
    assert "images_background.zip" in err
    assert err.count("\n") == 1


def test_a_diverged_run_says_where_and_keeps_its_weights(metagrad, tmp_path):
    path = tmp_path / "run"
    status, _, err = metagrad("train", "--out", path, "--meta-steps", 5, *SMALL, "--rule.lr", "1e30")
    assert status == 2
    assert "meta-step 1 was not taken: task 0 of 3" in err
    assert all(w.isfinite().all() for w in Run(path).weights("last").values())


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(metagrad, tmp_path, monkeypatch):
    def press(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr("metagrad.training.trainer.Trainer._validate", press)
    status, out, _ = metagrad("train", "--out", tmp_path / "run", "--meta-steps", 3, *SMALL)
    assert status == 130
    assert f"metagrad train --resume {tmp_path / 'run'}" in out
    monkeypatch.undo()
    assert metagrad("train", "--resume", tmp_path / "run")[0] == 0


def test_mistakes_in_the_program_keep_their_traceback(monkeypatch):
    monkeypatch.setattr("metagrad.commands.session.start", lambda *_: int("no number"))
    with pytest.raises(ValueError, match="invalid literal"):
        cli.main(["train", "--meta-steps", "1"])


def test_the_option_surface_is_the_frozen_one():
    """A changed option breaks someone's script: change it on purpose, and say so in the change log.

    `python -m metagrad.make_surface` writes the files anew; lists and typos are answered from them.
    """
    for path, text in make_surface.texts().items():
        assert path.read_text(encoding="utf-8") == text, f"python -m metagrad.make_surface ({path.name})"


LIGHT = """
import sys
from metagrad import cli
try:
    status = cli.main(sys.argv[1:])
except SystemExit as leaving:
    status = leaving.code
heavy = {"torch", "numpy", "matplotlib", "jinja2", "PIL"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else status)
"""


@pytest.mark.parametrize(
    "line",
    [
        *(
            "--help",
            "--version",
            "list",
            "evaluate --help",
            "reproduce --help",
            "trian",
            "train sinusiod",
        ),
        *("train --epochs 3", "train --estimator bogus", "train --rule.lrr 3", "train --estimator Binomial(ordr=2)"),
        *("train --estimator maml --estimator.order 2", "reproduce fig1", "reproduce fig2 --scal full", "report"),
        *("evaluate runs --stps 3", "train --resume runs/x --seed 3", "list everything", "evaluate no/such/run"),
    ],
)
def test_help_lists_and_typos_need_no_torch(line):
    """Measured by what is imported, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", LIGHT, *line.split()], capture_output=True, text=True)
    assert "imported" not in done.stderr.splitlines()[-1:]
    assert done.returncode == (0 if "help" in line or line in ("list", "--version") else 2), done.stderr


def test_a_name_is_imported_when_it_is_used():
    program = "import sys, metagrad, metagrad.estimators; heavy = lambda: 'torch' in sys.modules; before = heavy(); "
    program += "metagrad.Exact; sys.exit((before, heavy()) != (False, True))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_typed_parts_decide_which_options_there_are():
    """What is checked without torch is what the command itself knows."""
    for chosen in ({}, {"estimator": "truncated"}, {"estimator": "Split(2, early=Binomial(1))"}, {"rule": "adam"}):
        for preset in ("sinusoid", "omniglot-5way-1shot"):
            config = with_components(PRESETS[preset](), chosen)
            known = [(line.path, line.part) for line in surface.options(preset, chosen)]
            assert known == [(line.path, line.part) for line in lines(config)]


def test_an_estimator_that_is_exact_by_another_name_is_said_once(metagrad, tmp_path):
    options = ["--estimator", "Truncated(9)", "--meta-steps", "1"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        status, _, err = metagrad("train", "--out", tmp_path / "run", *SMALL, *options)
    assert status == 0
    assert err.count("warning") == 1
    assert err.startswith("metagrad: warning: Truncated(window=9) leaves nothing out of 5 inner steps: it is Exact()")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "capture"),
    [
        pytest.param(6, "off", id="six"),
        pytest.param(20, "off", id="twenty", marks=pytest.mark.study),
        pytest.param(2, "whole", id="captured"),
    ],
)
def test_kills_change_nothing(tmp_path, monkeypatch, count, capture):
    """kill -9 at random moments, a resume after each: the same weights to the bit, every step once.

    Captured, most of the time is compilation, so that there are fewer kills; one of them meets it.
    """
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    steps = 600
    size = f"--meta-steps {steps} --checkpoint-every 7 --validation.every 50 --machine.threads 1".split()
    size += ["--machine.capture", capture]
    command = [sys.executable, "-m", "metagrad.cli", "train"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, "--out", str(whole), *size, *SMALL], check=True, capture_output=True)
    moments = random.Random(0)
    kills = 0
    while kills < count:
        arguments = ["--resume", str(killed)] if killed.exists() else ["--out", str(killed), *size, *SMALL]
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        metrics = killed / "metrics.jsonl"
        start = metrics.stat().st_size if metrics.exists() else 0
        if kills % 4 == 0:
            time.sleep(moments.uniform(0.5, 2))  # while it starts, makes the run or reads it
        else:
            # Importing torch takes most of the time: wait for the first sign of work, so that most kills meet it.
            deadline = time.monotonic() + 60
            while (metrics.stat().st_size if metrics.exists() else 0) == start and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.04))
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors.decode()
        kills += 1
    subprocess.run([*command, "--resume", str(killed)], check=True, capture_output=True)
    for which in ("best", "last"):
        expected = Run(whole).weights(which)
        assert all(torch.equal(w, expected[name]) for name, w in Run(killed).weights(which).items())
    records = [[{k: v for k, v in r.items() if k != "seconds"} for r in Run(p).metrics()] for p in (whole, killed)]
    assert records[0] == records[1]
    assert [r["step"] for r in records[1] if r["kind"] == "train"] == list(range(1, steps + 1))
    assert not list(tmp_path.glob(".*"))
