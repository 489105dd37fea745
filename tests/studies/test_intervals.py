"""Intervals over seeds and tasks: against tables of Student's distribution, by hand, and how often they hold."""

import math

import pytest
import torch

from metagrad.training.evaluation import interval
from metagrad_studies.core.verdicts import over_seeds_and_tasks, student


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.70620), (2, 4.30265), (3, 3.18245), (10, 2.22814), (99, 1.98422), (1000, 1.96234), (1e6, 1.95997)],
)
def test_quantiles_are_those_of_the_tables(freedom, quantile):
    assert student(freedom) == pytest.approx(quantile, abs=6e-6)


def test_one_seed_gives_the_interval_of_tasks():
    values = torch.rand(400, dtype=torch.float64)
    found, plain = over_seeds_and_tasks([values]), interval(values)
    assert found.mean == pytest.approx(plain.mean, abs=1e-15)
    assert found.half_width == pytest.approx(plain.half_width * student(399) / 1.96, rel=1e-12)


def test_one_task_gives_the_interval_of_seeds():
    found = over_seeds_and_tasks([torch.tensor([v]) for v in (1.0, 2.0, 3.0)])
    assert found == (2.0, pytest.approx(4.30265 / math.sqrt(3), abs=1e-5))


def test_equal_seeds_add_nothing():
    values = torch.rand(50, dtype=torch.float64)
    once, thrice = over_seeds_and_tasks([values]), over_seeds_and_tasks([values] * 3)
    assert thrice.half_width == pytest.approx(once.half_width, rel=1e-9)


def test_two_seeds_and_two_tasks_by_hand():
    # Means of seeds 1 and 3, of tasks 0 and 4: V = 2/2 + 8/2 = 5, freedom 25/(1 + 16).
    found = over_seeds_and_tasks([torch.tensor([-1.0, 3.0]), torch.tensor([1.0, 5.0])])
    assert found == (2.0, pytest.approx(student(25 / 17) * math.sqrt(5), rel=1e-12))


def test_seeds_that_differ_by_constants_decide_alone():
    # Tasks all alike: the three means are all that is known.
    found = over_seeds_and_tasks([torch.full((50,), value) for value in (1.0, 2.0, 3.0)])
    assert found == (2.0, pytest.approx(4.30265 / math.sqrt(3), abs=1e-5))


def test_no_spread_is_no_width():
    assert over_seeds_and_tasks([torch.ones(4)] * 2) == (1.0, 0.0)
    assert math.isnan(over_seeds_and_tasks([torch.ones(1)]).half_width)


@pytest.mark.parametrize(
    ("seed_spread", "task_spread", "rest"), [(0.02, 0.1, 0.05), (0.0, 0.1, 0.1), (0.05, 0.05, 0.1), (0.0, 0.0, 0.1)]
)
def test_they_hold_as_often_as_they_say(seed_spread, task_spread, rest):
    generator = torch.Generator().manual_seed(1)
    held = 0
    repeats = 600
    for _ in range(repeats):
        table = (
            seed_spread * torch.randn(3, 1, generator=generator)
            + task_spread * torch.randn(1, 60, generator=generator)
            + rest * torch.randn(3, 60, generator=generator)
        )
        mean, half = over_seeds_and_tasks(list(table))
        held += abs(mean) <= half
    assert 0.91 <= held / repeats <= 0.995  # at most: where the remainder, counted twice, is all there is


def test_other_tasks_for_another_seed_are_refused():
    with pytest.raises(ValueError, match=r"the same tasks, got shapes \[3\], \[4\]"):
        over_seeds_and_tasks([torch.ones(3), torch.ones(4)])
    with pytest.raises(ValueError, match="got shapes of no seed"):
        over_seeds_and_tasks([])
