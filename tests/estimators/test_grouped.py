"""`Grouped`: the same as nested `Split`, in groups of nearly equal size."""

import pytest
import torch

from matrix_chain import MatrixChain, cotangent, flatten
from metagrad import Binomial, Exact, Grouped, Split, tree

ONE = Binomial(order=1, center="auto")


def nested(sizes):
    """Groups of these sizes, the last links first."""
    late, *early = sizes
    return Split(late, late=ONE, early=nested(early)) if early else ONE


@pytest.mark.parametrize(
    ("steps", "groups", "sizes"),
    [
        (5, 1, [5]),
        (5, 2, [2, 3]),
        (5, 3, [1, 2, 2]),
        (5, 4, [1, 1, 1, 2]),
        (6, 3, [2, 2, 2]),
        (10, 4, [2, 2, 3, 3]),
        (10, 7, [1, 1, 1, 1, 2, 2, 2]),
        (3, 9, [1, 1, 1]),
    ],
)
def test_equals_nested_splits_with_the_smaller_groups_late(steps, groups, sizes):
    chain = MatrixChain.random(steps, step_size=0.1)
    found, expected = (estimator.pull(chain, cotangent()) for estimator in (Grouped(groups), nested(sizes)))
    assert torch.equal(flatten(found.start), flatten(expected.start))
    torch.testing.assert_close(found.meta["rule"], expected.meta["rule"], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.diagnostics["error_estimate"], expected.diagnostics["error_estimate"])
    assert Grouped(groups).cost(steps) == nested(sizes).cost(steps)


def test_more_groups_are_closer():
    errors = []
    for groups in (1, 2, 3, 6):
        each = []
        for seed in range(9):
            chain = MatrixChain.random(6, step_size=0.1, seed=seed)
            exact = Exact().pull(chain, cotangent()).start
            gap = tree.subtract(Grouped(groups).pull(chain, cotangent()).start, exact)
            each.append((tree.norm(gap) / tree.norm(exact)).item())
        errors.append(sorted(each)[4])
    assert errors == sorted(errors, reverse=True)
    assert errors[2] <= 0.5 * errors[0]
    assert errors[-1] <= 1e-14


def test_a_loop_without_steps_is_left_as_it_is():
    found = Grouped(2).pull(MatrixChain.random(0), cotangent())
    assert torch.equal(flatten(found.start), flatten(cotangent()))
    assert found.diagnostics == {}
