"""Learned centers beside an independent implementation that carries out their plan link by link."""

import pytest
import torch

from matrix_chain import MatrixChain, cotangent, flatten
from metagrad import Binomial, Parallel
from plan_oracle import band, by_cosine, carried_out, of_the_largest, triangle


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("inverse", [of_the_largest, by_cosine])
def test_a_plan_carried_out_link_by_link_is_that_of_the_estimator(inverse, order):
    chain, u = MatrixChain.random(5, step_size=0.1), cotangent()
    for estimator, plan in ((Binomial(order, center="auto"), band), (Parallel(order), triangle)):
        torch.testing.assert_close(
            carried_out(chain, u, plan(5, order), inverse), flatten(estimator.pull(chain, u).start)
        )


def test_curvature_that_is_hardly_met_is_left_out_by_its_cosine():
    # One direction, whose product is nearly all across it: of the largest it is the largest itself.
    inner, answers = torch.tensor([[0.05]], dtype=torch.float64), torch.tensor([[0.05, 1.0]], dtype=torch.float64)
    assert by_cosine(inner, answers).item() == 0.0
    assert of_the_largest(inner, answers).item() == pytest.approx(20.0)
    assert by_cosine(inner, answers * torch.tensor([1.0, 0.3])).item() == pytest.approx(20.0)
