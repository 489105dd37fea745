"""Held-out tasks: the same for everyone, whole intervals, pairs."""

import math
from types import SimpleNamespace

import pytest
import torch

from metagrad.data.regression import Sinusoids
from metagrad.task import Task
from metagrad.training.evaluation import HeldOut, evaluate, fixed_tasks, interval, paired

CPU = torch.device("cpu")


class Echo:
    """A learner whose loss after k steps is the task's first query target plus k."""

    def evaluate(self, tasks, num_steps=None):
        first = tasks.query.targets[:, 0, 0].unsqueeze(1)
        return SimpleNamespace(loss=first + torch.arange(num_steps + 1, dtype=first.dtype), metrics={"first": first})


def test_interval_is_the_textbook_one():
    values = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    mean, half_width = interval(values)
    assert mean == 2.5
    assert half_width == pytest.approx(1.96 * math.sqrt(5 / 3) / 2)
    assert math.isnan(interval(values[:1]).half_width)


def test_fixed_tasks_depend_on_the_seed_alone_and_fewer_are_the_first_of_more():
    source = Sinusoids(3, 4)
    few, many = fixed_tasks(source, 2, seed=5), fixed_tasks(source, 4, seed=5)
    assert all(torch.equal(a.query.targets, b.query.targets) for a, b in zip(few, many, strict=False))
    other = fixed_tasks(source, 2, seed=6)
    assert not torch.equal(few[0].query.targets, other[0].query.targets)


@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_evaluation_is_the_same_in_chunks_of_any_size(chunk):
    tasks = fixed_tasks(Sinusoids(3, 4), 5, seed=0)
    result = evaluate(Echo(), tasks, 2, chunk=chunk, device=CPU, dtype=torch.float32)
    expected = Task.join(tasks).query.targets[:, 0, 0].double()
    assert (result.tasks, result.steps) == (5, 2)
    assert torch.equal(result.values["loss"][:, 0], expected)
    assert torch.allclose(result.values["loss"][:, 2], expected + 2)
    assert result.record()["loss"]["mean"][1] == pytest.approx(expected.mean().item() + 1)
    assert len(result.record()["loss"]["tasks"]) == 5


def test_evaluation_refuses_nothing_to_do():
    with pytest.raises(ValueError, match="0 tasks"):
        evaluate(Echo(), [], 1, chunk=1, device=CPU, dtype=torch.float32)


def test_pairs_are_narrower_than_the_difference_of_means():
    base = torch.randn(50, 1, dtype=torch.float64) * 10
    noise = torch.randn(50, 1, dtype=torch.float64) * 0.1
    first, second = HeldOut({"loss": base + 1 + noise}), HeldOut({"loss": base})
    (gap,) = paired(first, second, "loss")
    assert abs(gap.mean - 1) < 0.1
    assert gap.half_width < 0.05 < first.intervals("loss")[0].half_width


def test_pairs_need_the_same_tasks():
    with pytest.raises(ValueError, match="3 tasks with 1 steps and 2 tasks"):
        paired(HeldOut({"loss": torch.zeros(3, 2)}), HeldOut({"loss": torch.zeros(2, 2)}), "loss")
