"""Threads: one where tensors are too small to share, the user's own where there is a choice, with a note."""

import importlib
import logging
from dataclasses import replace

import pytest
import torch

from metagrad import cli
from metagrad.experiments import threads
from metagrad.experiments.presets import PRESETS
from metagrad.experiments.threads import one_unless_chosen, operations, running_on, with_threads
from metagrad.training import Run

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch):
    """A machine on which torch takes three threads of its own, and no environment says otherwise."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_AT_IMPORT", 3)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield monkeypatch
    torch.set_num_threads(before)


def sinusoid(**problem):
    config = PRESETS["sinusoid"]()
    machine = replace(config.machine, threads=None, device="cpu")
    return replace(config, machine=machine, problem=replace(config.problem, **problem))


def chosen(config):
    return with_threads(config, config.problem.sources(CPU).train).machine.threads


def test_operations_are_those_of_a_pass():
    """With the query sets at least; with the support sets too where they are looked at before any step."""
    config = sinusoid(hidden=(30, 20), query=7)
    weights = 1 * 30 + 30 * 20 + 20 * 1
    counted = operations(config, config.problem.sources(CPU).train)
    a_task = 2 * weights * 7
    assert config.meta_batch * a_task <= counted <= 4 * config.meta_batch * a_task
    chunked = replace(config, machine=replace(config.machine, task_chunk=2))
    assert operations(chunked, config.problem.sources(CPU).train) == counted * 2 / config.meta_batch


def test_tiny_work_gets_one_thread_and_large_work_those_of_torch(machine):
    assert chosen(sinusoid()) == 1
    assert chosen(sinusoid(hidden=(40,))) == 1
    assert chosen(sinusoid(hidden=(1000, 1000), query=100)) == 3


def test_what_the_configuration_says_stays(machine):
    config = sinusoid()
    assert chosen(replace(config, machine=replace(config.machine, threads=2))) == 2


CHOICES = {
    "OMP_NUM_THREADS=2": lambda machine: (machine.setenv("OMP_NUM_THREADS", "2"), torch.set_num_threads(2)),
    "MKL_NUM_THREADS=2": lambda machine: (machine.setenv("MKL_NUM_THREADS", "2"), torch.set_num_threads(2)),
    "torch.set_num_threads(2)": lambda machine: torch.set_num_threads(2),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_users_choice_stays_with_a_note(choice, machine, caplog):
    caplog.set_level(logging.INFO, logger="metagrad.experiments")
    CHOICES[choice](machine)
    assert chosen(sinusoid()) == 2
    assert f"{choice} gives 2 threads to tensors that are too small to share" in caplog.text
    caplog.clear()
    assert chosen(sinusoid(hidden=(1000, 1000), query=100)) == 2
    assert caplog.text == ""


def test_one_thread_is_no_choice_to_speak_of(machine, caplog):
    caplog.set_level(logging.INFO, logger="metagrad.experiments")
    machine.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    assert one_unless_chosen() == 1
    assert caplog.text == ""


def test_threads_are_given_back(machine):
    with running_on(2):
        assert torch.get_num_threads() == 2
    with running_on(None):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 3


SMALL = (
    *("--problem.hidden", "8", "--meta_batch", "3", "--validation.tasks", "4", "--num_steps", "2"),
    *("--test.tasks", "5", "--test.steps", "3", "--machine.device", "cpu", "--machine.threads", "none"),
)


def test_commands_run_tiny_work_on_one_thread(machine, tmp_path):
    """What torch was told while a run trained, was tested again, and estimators were compared."""
    told = []
    for module in ("metagrad.training.trainer", "metagrad.experiments.session"):
        machine.setattr(f"{module}.evaluate", recorded(module, "evaluate", told))
    run = tmp_path / "run"
    assert cli.main(["train", "sinusoid", "--out", str(run), "--meta-steps", "1", *SMALL]) == 0
    assert Run(run).config()["machine"]["threads"] == 1
    torch.set_num_threads(3)
    assert cli.main(["evaluate", str(run)]) == 0
    torch.set_num_threads(3)
    assert told
    assert set(told) == {1}
    machine.setattr("metagrad.experiments.compare._spent", recorded("metagrad.experiments.compare", "_spent", told))
    words = ["compare", "sinusoid", "--out", str(tmp_path / "c"), "--tasks", "1", "--repeats", "1", *SMALL]
    assert cli.main(words) == 0
    assert set(told) == {1}


def recorded(module, name, told):
    """The function, noting how many threads there are when it is called."""
    function = getattr(importlib.import_module(module), name)

    def call(*arguments, **named):
        told.append(torch.get_num_threads())
        return function(*arguments, **named)

    return call


def test_studies_of_tiny_tensors_take_one(machine, tmp_path):
    told = []
    machine.setattr("metagrad_studies.fig2.Bounds.measure", recorded_method(told))
    with pytest.raises(RuntimeError, match="measured"):
        cli.main(["reproduce", "fig2", "--out", str(tmp_path / "s")])
    with pytest.raises(RuntimeError, match="measured"):
        cli.main(["reproduce", "fig2", "--out", str(tmp_path / "s"), "--threads", "2"])
    assert told == [1, 2]


def recorded_method(told):
    def measure(*_):
        told.append(torch.get_num_threads())
        raise RuntimeError("measured")

    return measure
