"""The benchmark of what a learned center could know: its chains against what they must be, and a small table."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import limits  # noqa: E402 -- not a package that is installed

from matrix_chain import MatrixChain  # noqa: E402
from metagrad import Binomial, Exact  # noqa: E402
from metagrad.experiments.presets import PRESETS  # noqa: E402


def cotangent():
    generator = torch.Generator().manual_seed(9)
    return {
        "adapted": torch.randn(4, generator=generator, dtype=torch.float64),
        "memory": torch.randn(2, generator=generator, dtype=torch.float64),
    }


def start(estimator, chain):
    return estimator.pull(chain, cotangent()).start


def test_moving_the_mean_curvature_of_others_changes_no_exact_pullback():
    chains = [MatrixChain.random(4, seed=seed) for seed in range(3)]
    torch.testing.assert_close(start(Exact(), limits.about_the_mean(chains, 1)), start(Exact(), chains[1]))


def test_where_all_tasks_are_alike_one_round_about_their_mean_is_exact():
    chains = [MatrixChain.random(4, seed=5) for _ in range(3)]
    exact, one = start(Exact(), chains[0]), Binomial(1)
    torch.testing.assert_close(start(one, limits.about_the_mean(chains, 0)), exact)
    assert not torch.allclose(start(one, chains[0])["adapted"], exact["adapted"])


def test_the_mean_is_that_of_the_other_chains():
    chains = [MatrixChain.random(3, seed=seed) for seed in range(3)]
    direction = cotangent()["adapted"]
    mean = limits.MeanCurvature(chains[1:], 2).product(direction)
    torch.testing.assert_close(mean, (chains[1].links[2].H + chains[2].links[2].H) @ direction / 2)


def test_a_link_asked_along_the_loop_is_known_there_and_nothing_exact_changes():
    chain = MatrixChain.random(3, seed=2)
    direction = cotangent()["adapted"]
    moved = limits.asked_along(chain, direction)
    torch.testing.assert_close(start(Exact(), moved), start(Exact(), chain))
    for k in range(3):
        left, _ = moved.curvature(k, direction)
        assert left["adapted"].norm() < 1e-12 * (chain.links[k].H @ direction).norm()


@pytest.mark.parametrize("steps", [3, 5, 10])
def test_plans_have_two_rounds_and_end_with_the_first_link(steps):
    for plan in limits.plans(steps).values():
        assert len(plan) == 2
        assert plan[-1][0] == 0
        assert {link for links in plan for link in links} <= set(range(steps))


@pytest.mark.slow
def test_a_table_has_a_row_for_each_estimate():
    config = PRESETS["mnist1d-5way-1shot"]()
    machine = replace(config.machine, device="cpu", capture="off")
    config = replace(config, num_steps=3, meta_batch=2, estimator=Exact(), machine=machine)
    said = []
    limits.table(config, (0, 1), 2, said.append)
    rows = len(limits.SHIPPED) + 2 * len(limits.AUTO) + len(limits.plans(3))
    assert len(said) == 2 * (1 + rows)
    assert all("nan" not in line for line in said)
