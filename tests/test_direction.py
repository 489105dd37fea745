"""The benchmark of direction and norm: its parts against hand-made numbers, and small runs of both tables."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import direction  # noqa: E402 -- not a package that is installed
from benchmarks.direction import Beside, Recombined, contenders  # noqa: E402

from metagrad import Exact, FirstOrder, Truncated  # noqa: E402
from metagrad.estimators.base import Cost  # noqa: E402
from metagrad.experiments.config import build_learner  # noqa: E402
from metagrad.experiments.presets import PRESETS  # noqa: E402
from metagrad.training.evaluation import moved  # noqa: E402
from metagrad_studies.spectra import flat  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def config():
    """MNIST-1D with a loop of three steps, in float64."""
    found = PRESETS["mnist1d-5way-1shot"]()
    machine = replace(found.machine, device="cpu", dtype="float64", capture="off")
    return replace(found, num_steps=3, meta_batch=2, estimator=Exact(), machine=machine)


def flat_gradient(config, estimator, task):
    result = build_learner(replace(config, estimator=estimator)).meta_gradient(task)
    return flat(result.gradient)


def test_error_cosine_and_norm_of_known_vectors():
    exact = torch.tensor([[2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    beside = Beside.of(torch.tensor([[0.0, 2.0], [1.0, 0.0]], dtype=torch.float64), exact)
    torch.testing.assert_close(beside.error, torch.tensor([2.0**0.5, 0.5], dtype=torch.float64))
    torch.testing.assert_close(beside.cosine, torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(beside.norm, torch.tensor([1.0, 0.5], dtype=torch.float64))
    # The law of cosines, which ties the three together.
    torch.testing.assert_close(beside.error**2, 1 + beside.norm**2 - 2 * beside.norm * beside.cosine)


def test_a_recombined_estimate_has_the_direction_of_one_and_the_norm_of_the_other(config):
    task = moved(config.problem.sources(CPU).train.sample(1, torch.Generator().manual_seed(0)), CPU, torch.float64)
    exact, first = flat_gradient(config, Exact(), task), flat_gradient(config, FirstOrder(), task)
    both = flat_gradient(config, Recombined(direction=FirstOrder(), norm=Exact()), task)
    torch.testing.assert_close(both, first * (exact.norm() / first.norm()))
    assert not torch.allclose(exact.norm(), first.norm())


def test_it_is_done_task_by_task_and_costs_both(config):
    tasks = moved(config.problem.sources(CPU).train.sample(3, torch.Generator().manual_seed(0)), CPU, torch.float64)
    one = Recombined(direction=Exact(), norm=Truncated(1))
    together = flat_gradient(config, one, tasks)
    alone = [
        flat_gradient(config, one, type(tasks)(*(type(part)(*(leaf[t : t + 1] for leaf in part)) for part in tasks)))
        for t in range(3)
    ]
    torch.testing.assert_close(together, torch.stack(alone).mean(0))
    assert one.cost(3) == Cost(products=4, rounds=4)


def test_every_estimator_is_trained_whole_and_in_both_halves():
    found = contenders()
    assert next(iter(found)) == "Exact()"
    assert len(found) == 1 + 3 * len(direction.TRAINED)
    halves = [one for one in found.values() if isinstance(one, Recombined)]
    assert all(isinstance(one.direction, Exact) != isinstance(one.norm, Exact) for one in halves)


def test_tables_of_both_parts(config, monkeypatch):
    monkeypatch.setattr(direction, "TASKS", 2)
    monkeypatch.setattr(direction, "TESTED", 3)
    config = replace(config, machine=replace(config.machine, dtype="float32"))
    said = []
    direction.measured(config, (0, 1), said.append)
    assert sum("meta-steps" in line for line in said) == 2
    assert len(said) == 2 * (1 + len(direction.MEASURED))
    said.clear()
    direction.trained(config, 1, (40, 41), said.append)
    assert [line.split(" | ")[0].removeprefix("| ") for line in said] == list(contenders())
    assert said[0].endswith("+0.0 ± 0.0 |")


def test_without_data_it_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv(direction.DATA, raising=False)
    monkeypatch.setattr(sys, "argv", ["direction", "measured"])
    with pytest.raises(SystemExit, match=f"set {direction.DATA}"):
        direction.main()
    monkeypatch.setenv(direction.DATA, str(tmp_path))
    with pytest.raises(SystemExit, match="has no omniglot"):
        direction.main()


def test_training_takes_as_many_meta_steps_as_asked(config, monkeypatch):
    seen = []
    monkeypatch.setattr(direction, "TESTED", 2)
    monkeypatch.setattr(direction, "contenders", lambda: {"Exact()": Exact()})
    real = direction.evaluate

    def watching(learner, *rest, **named):
        seen.append(flat(learner.meta()))
        return real(learner, *rest, **named)

    monkeypatch.setattr(direction, "evaluate", watching)
    config = replace(config, machine=replace(config.machine, dtype="float32"))
    direction.trained(config, 2, (40,), lambda _: None)
    [(_, one), (_, two)] = [
        (step, flat(learner.meta()).clone()) for step, learner in direction.stages(replace(config, seed=40), (1, 2))
    ]
    assert torch.equal(seen[0], two)
    assert not torch.equal(one, two)
