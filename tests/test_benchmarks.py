"""The benchmarks: the same problem for everybody, nothing timed before all agree, and a run that leaves its files."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import agreement, cli, memory, problems  # noqa: E402 -- not a package that is installed
from benchmarks.contenders import BY_NAME  # noqa: E402
from benchmarks.contenders.base import Setup, flat  # noqa: E402
from benchmarks.contenders.on_torch import network  # noqa: E402
from benchmarks.measure import Timed, fastest_peer  # noqa: E402
from benchmarks.workers import BenchmarkError, Machine, Worker  # noqa: E402


def benchmark(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def prepare():
    """Run a contender in this process, once, in float64; gives it and its meta-gradient."""

    def run(name, problem, **options):
        contender = BY_NAME[name]
        module = importlib.import_module(f"benchmarks.contenders.{contender.module}")
        given = Setup(problem=problem, dtype="float64", options={**contender.options, **options})
        running = module.prepare(given)
        running.run()
        return running, flat(running.gradient())

    return run


@pytest.mark.parametrize("name", problems.KINDS)
def test_a_problem_depends_on_its_seed_alone(name):
    problem = problems.problem(name, tasks=2, seed=3)
    for once, again in zip(problem.data(), problem.data(), strict=True):
        np.testing.assert_array_equal(once, again)
    for label, values in problem.weights().items():
        np.testing.assert_array_equal(values, problem.weights()[label])
    other = replace(problem, seed=4)
    assert not np.array_equal(problem.data().support_inputs, other.data().support_inputs)
    more = replace(problem, tasks=3)
    np.testing.assert_array_equal(problem.data().query_inputs, more.data().query_inputs[:2])
    second = replace(problem, first=1, tasks=1)
    np.testing.assert_array_equal(problem.data().query_inputs[1:], second.data().query_inputs)


@pytest.mark.parametrize("name", problems.KINDS)
def test_weights_fit_the_network_and_its_head_is_not_zero(name):
    problem = problems.problem(name)
    parameters = dict(network(problem).named_parameters())  # strict: every name and shape
    assert sum(p.numel() for p in parameters.values()) == problem.parameters
    assert list(parameters) == list(problem.weights())
    head = list(parameters.values())[-2]
    assert head.abs().min() > 0


def test_agreement_rejects_a_wrong_gradient(prepare):
    problem = problems.problem("sinusoid", tasks=2, steps=3)
    _, reference = prepare("loop", problem)
    _, exact = prepare("metagrad", problem)
    _, first_order = prepare("metagrad", problem, estimator="FirstOrder()")
    right = agreement.relative_error(exact, reference)
    agreement.require({"metagrad": right}, 1e-12, "the sinusoid")
    wrong = agreement.relative_error(first_order, reference)
    with pytest.raises(BenchmarkError, match=r"disagree .* on the sinusoid: metagrad by .*nothing was timed"):
        agreement.require({"loop": 0.0, "metagrad": wrong}, agreement.FLOAT64, "the sinusoid")


@pytest.mark.parametrize("broken", [np.full(3, np.nan), np.ones(4), np.array([1.0, np.inf, 1.0])])
def test_agreement_rejects_what_cannot_be_compared(broken):
    error = agreement.relative_error(broken, np.ones(3))
    with pytest.raises(BenchmarkError):
        agreement.require({"metagrad": error}, 1e-3, "anything")


@pytest.mark.parametrize("name", ["higher", "torchopt", "jax"])
def test_peers_agree_on_the_sinusoid(name, prepare):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (pip install -r benchmarks/requirements.txt)")
    problem = problems.problem("sinusoid", tasks=2, steps=3)
    _, reference = prepare("loop", problem)
    with Worker(BY_NAME[name], Machine("cpu", threads=1), "float64") as worker:
        worker.start(problem)
        assert agreement.relative_error(worker.gradient(), reference) < 1e-12


def test_saved_bytes_grow_with_the_loop_and_not_with_exact(prepare):
    counting = importlib.import_module("benchmarks.counting")
    saved = {}
    for name in ("loop", "metagrad"):
        for steps in (2, 8):
            running, _ = prepare(name, problems.problem("sinusoid", tasks=2, steps=steps))
            held = counting.count(running)
            assert 0 < held["saved"] < held["live"]
            saved[name, steps] = held["saved"]
    assert saved["loop", 8] > 3 * saved["loop", 2]
    assert saved["metagrad", 8] == saved["metagrad", 2]


def test_ratios_are_taken_within_one_measure():
    rows = [
        memory.Held(case, steps, saved=saved, trajectory=None, live=10 * saved, resident=0)
        for case, steps, saved in ((memory.EXACT, 5, 4), (memory.EXACT, 50, 4), ("higher", 5, 10), ("higher", 50, 80))
    ]
    found = memory._ratios(rows, 5, 50)["saved"]
    assert found[f"{memory.EXACT}: K = 50 / K = 5"] == 1.0
    assert found["higher: K = 50 / K = 5"] == 8.0
    assert found[f"{memory.EXACT} / higher at K = 50"] == 0.05


def test_the_ratio_is_to_the_faster_peer():
    rows = [
        Timed(label, [seconds], 0, 0, 0, 0)
        for label, seconds in (("loop", 1), ("higher", 3), ("torchopt", 2), ("metagrad", 1))
    ]
    assert fastest_peer(rows).label == "torchopt"
    assert fastest_peer([rows[0]]) is None


@pytest.mark.slow
def test_speed_leaves_json_and_a_figure(tmp_path):
    sizes = ["--tasks", 3, "--steps", 2, "--repeats", 3, "--threads", 1]
    done = benchmark("speed", "--contenders", "metagrad", "loop", *sizes, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "speed-sinusoid.json").read_text())
    assert [row["contender"] for row in record["rows"]] == ["metagrad", "loop"]
    for row in record["rows"]:
        assert len(row["samples_seconds"]) == 3
        assert row["p10_seconds"] <= row["median_seconds"] <= row["p90_seconds"]
        assert row["error_float64"] <= 1e-12
        assert row["error_float32"] <= 1e-5
        assert row["ratio_to_fastest_peer"] is None
        assert f"{row['contender']}" in done.stdout
    assert record["problem"]["tasks"] == 3
    assert record["hardware"]["threads"] == 1
    assert (tmp_path / "speed-sinusoid.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["fast"], "fast"),
        (["speed", "--repeats", "0"], "at least 1, got '0'"),
        (["speed", "--problem", "mnist"], "mnist"),
        (["speed", "--contenders", "tensorflow"], "tensorflow"),
        (["estimators", "--capture", "some"], "some"),
        (["memory", "--steps", "five"], "five"),
    ],
)
def test_bad_arguments_are_one_sentence_and_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as leaving:
        cli.main(arguments)
    assert leaving.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_contender_that_was_named_must_take_part(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["speed", "--contenders", "higher", "--tasks", "1", "--steps", "1", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "higher is not installed" in error
    assert not list(tmp_path.iterdir())
