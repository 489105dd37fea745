"""The expansion's own error estimate: the next order where all links are alike, and never far off where it is small."""

import math

import pytest
import torch

from matrix_chain import D, E, MatrixChain, cotangent, flatten
from metagrad import Binomial, Exact, FirstOrder, Hybrid, Split, Truncated, tree
from metagrad.estimators import Pulled
from metagrad.estimators.link_models import CLEAR, REST
from metagrad.estimators.remainder import SHORT, TRUSTED, Round, rebuilt

K = 5


class Alike:
    """K steps of SGD with rate `rate` on h/2·‖φ‖²: every link is the number 1 − rate·h."""

    def __init__(self, rate, curvature, steps=K):
        self.rate, self.h, self.steps = rate, curvature, steps

    def __len__(self):
        return self.steps

    def window(self, start, stop):
        return Alike(self.rate, self.h, stop - start)

    def direct(self, k, cotangent):
        return Pulled(cotangent, -self.rate * cotangent["adapted"], {})

    def curvature(self, k, direction):
        return {"adapted": self.h * direction}, {}

    def curvature_everywhere(self, directions):
        return {"adapted": self.h * directions}, {}


def table(order, x, scale, center):
    """Adjoints of every order before every link, [order + 1][K + 1], of links that are all the number 1 + x."""
    orders = [[(1 - center) ** (K - k) for k in range(K + 1)]]
    for _ in range(order):
        row, below = [1.0], orders[-1]
        for k in reversed(range(K)):
            row.append((1 - center) * row[-1] + (center + scale * x) * below[k + 1])
        orders.append(row[::-1])
    return orders


def told(missing, estimate, again):
    """What is told of an estimate that leaves out `missing`, where the last round's links make `again` of it."""
    ratio = abs(missing / estimate)
    if ratio <= TRUSTED:
        return ratio
    return abs(estimate - again) / (abs(again) ** (1 - SHORT) * max(abs(again), abs(estimate)) ** SHORT)


@pytest.mark.parametrize("order", [1, 2, 3, K - 1])
@pytest.mark.parametrize("x", [-0.02, -0.3, -1.7, 0.4])
def test_equal_links_leave_out_the_next_order(order, x):
    adjoint = Binomial(order).pull(Alike(0.1, -10 * x), {"adapted": torch.ones(3, dtype=torch.float64)})
    kept = sum(math.comb(K, j) * x**j for j in range(order + 1))
    following = math.comb(K, order + 1) * x ** (order + 1)
    expected = told(following, kept, (1 + x) ** K)
    assert adjoint.diagnostics["error_estimate"].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("scale", "center"), [(0.4, 0.0), ("paper", 0.0), (1.0, 0.2), (0.5, 0.1)])
@pytest.mark.parametrize("order", [1, 2, K - 1, K])
@pytest.mark.parametrize("x", [-0.02, -0.2, -0.7])
def test_scale_and_center_leave_out_what_their_recursion_says(order, scale, center, x):
    c = order / K if scale == "paper" else scale
    adjoint = Binomial(order, scale, center).pull(Alike(0.1, -10 * x), {"adapted": torch.ones(2, dtype=torch.float64)})
    orders = table(order, x, c, center)
    last, below = orders[order], orders[order - 1]
    # Link k should have made (1 + x)·last[k + 1], and made last[k].
    missing = sum((1 + x) * last[k + 1] - last[k] for k in range(K))
    assert adjoint.start["adapted"][0].item() == pytest.approx(last[0], rel=1e-12)
    if order == K:  # above the band nothing is left to change, but a scale still damps
        missing = sum((1 - c) * x * below[k + 1] for k in range(K))
    # What the last round's links are given: the links above them, and what their scale took from each.
    entering = below[K - order + 1] + sum((1 - c) * x * orders[level][K - level] for level in range(order - 1))
    expected = told(missing, last[0], entering * (1 + x) ** (K - order + 1))
    assert adjoint.diagnostics["error_estimate"].item() == pytest.approx(expected, rel=1e-9, abs=1e-14)


def steep(length):
    """SGD's links, with one direction of curvature αλ = 6 at the first that halves link by link, and little else."""
    chain = MatrixChain.random(length, seed=3)
    generator = torch.Generator().manual_seed(4)
    for k, link in enumerate(chain.links):
        link.S, link.G = torch.eye(D + E, dtype=torch.float64), -0.1 * torch.eye(D, D + E, dtype=torch.float64)
        outlier = torch.ones(D, dtype=torch.float64) + 0.2 * torch.randn(D, generator=generator, dtype=torch.float64)
        outlier /= outlier.norm()
        link.H = link.H + 60.0 * 0.5**k * torch.outer(outlier, outlier)
    return chain


def test_an_expansion_that_diverges_says_by_how_much():
    """As on trained networks, whose first links are steep; relative to itself it always leaves out some 1 or 2."""
    chain = steep(8)
    exact = flatten(Exact().pull(chain, cotangent()).start)
    for order, least in {1: 2, 2: 5, 3: 20, 4: 20}.items():
        adjoint = Binomial(order).pull(chain, cotangent())
        error = (flatten(adjoint.start) - exact).norm() / exact.norm()
        assert error > least
        assert 1 / 5 < adjoint.diagnostics["error_estimate"] / error < 5


@pytest.mark.parametrize("size", [0.003, 0.03, 0.1])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_within_a_factor_of_three_on_random_links(order, size):
    """Links with a state beside what adapts, an asymmetric direct map, and curvature that differs from link to link."""
    ratios = []
    for seed in range(5):
        chain = MatrixChain.random(6, step_size=size, seed=seed)
        exact = flatten(Exact().pull(chain, cotangent()).start)
        adjoint = Binomial(order).pull(chain, cotangent())
        error = (flatten(adjoint.start) - exact).norm() / exact.norm()
        ratios.append((adjoint.diagnostics["error_estimate"] / error).item())
    assert all(1 / 3 < ratio < 3 for ratio in ratios), ratios


def test_nothing_is_left_out_at_full_order_and_nothing_known_without_a_round():
    chain = MatrixChain.random(4)
    assert Binomial(4).pull(chain, cotangent()).diagnostics["error_estimate"] == 0
    assert Binomial(9).pull(chain, cotangent()).diagnostics["error_estimate"] == 0
    assert Binomial(0).pull(chain, cotangent()).diagnostics == {}


def test_a_cotangent_of_zeros_has_no_error():
    zeros = {"adapted": torch.zeros(4, dtype=torch.float64)}
    assert Binomial(2).pull(MatrixChain.random(4), zeros).diagnostics["error_estimate"] == 0


def test_parts_of_a_split_add_their_errors():
    chain = MatrixChain.random(6, step_size=0.1)
    late = Binomial(1).pull(chain.window(3, 6), cotangent())
    early = Binomial(1, scale=0.5).pull(chain.window(0, 3), late.start)
    both = Split(3, Binomial(1), Binomial(1, scale=0.5)).pull(chain, cotangent()).diagnostics["error_estimate"]
    parts = [part.diagnostics["error_estimate"].item() for part in (late, early)]
    assert min(parts) > 0
    assert both.item() == pytest.approx(parts[0] + parts[1] + parts[0] * parts[1], rel=1e-12)


def test_an_exact_part_adds_none_and_a_part_that_knows_nothing_hides_all():
    chain = MatrixChain.random(6, step_size=0.1)
    late = Binomial(1).pull(chain.window(4, 6), cotangent()).diagnostics["error_estimate"]
    with_exact = Split(2, Binomial(1), Exact()).pull(chain, cotangent()).diagnostics["error_estimate"]
    assert with_exact.item() == pytest.approx(late.item(), rel=1e-12)
    assert "error_estimate" not in Split(2, Binomial(1), FirstOrder()).pull(chain, cotangent()).diagnostics
    assert "error_estimate" not in Hybrid(2, 1).pull(chain, cotangent()).diagnostics
    assert "error_estimate" not in Truncated(2).pull(chain, cotangent()).diagnostics
    whole = Binomial(1).pull(chain, cotangent()).diagnostics["error_estimate"]
    assert Hybrid(6, 1).pull(chain, cotangent()).diagnostics["error_estimate"].item() == pytest.approx(whole.item())


def test_where_the_adjoint_built_again_overflows_the_remainder_is_told():
    x = -1e40
    adjoint = Binomial(2).pull(Alike(0.1, -10 * x), {"adapted": torch.ones(2, dtype=torch.float64)})
    expected = math.comb(K, 3) / math.comb(K, 2) * abs(x)
    assert adjoint.diagnostics["error_estimate"].item() == pytest.approx(expected, rel=1e-10)


def test_where_the_adjoint_built_again_is_zero_the_remainder_is_told():
    """A step of 1/λ: the links annihilate what reaches them, and no error is relative to an exact 0."""
    adjoint = Binomial(2).pull(Alike(0.5, 2.0), {"adapted": torch.ones(2, dtype=torch.float64)})
    expected = math.comb(K, 3) / (1 - K + math.comb(K, 2))
    assert adjoint.diagnostics["error_estimate"].item() == pytest.approx(expected, rel=1e-12)


def dense_model(direction, product, rest):
    """S of one link as a matrix, from its definition."""
    d, p = direction.unsqueeze(1), product.unsqueeze(1)
    squared, bend = d.T @ d, d.T @ p
    beside = rest * (torch.eye(D, dtype=torch.float64) - d @ d.T / squared)
    if bend > CLEAR * d.norm() * p.norm():
        return p @ p.T / bend + beside
    return (p @ d.T + d @ p.T) / squared - d @ (d.T @ p) @ d.T / squared**2 + beside


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_built_again_is_what_the_models_make_as_matrices(sign):
    """One link of three has curvature of the other sign; with more negative than positive no rest is taken."""
    chain = MatrixChain.random(5, seed=2)
    chain.links[2].H = -chain.links[2].H
    generator = torch.Generator().manual_seed(7)
    directions = torch.randn(3, D, generator=generator, dtype=torch.float64)
    products = sign * torch.stack([link.H @ d for link, d in zip(chain.links[1:4], directions, strict=True)])
    rest = REST * max(0.0, ((directions * products).sum() / directions.square().sum()).item())
    expected = cotangent()
    for k in (3, 2, 1):
        pulled = chain.direct(k, expected)
        model = dense_model(directions[k - 1], products[k - 1], rest)
        expected = tree.add(pulled.state, {"adapted": model @ pulled.gradient})
    found = rebuilt(chain, cotangent(), Round(1, directions, products))
    torch.testing.assert_close(flatten(found), flatten(expected), rtol=1e-12, atol=1e-14)


def test_a_link_reached_by_what_it_was_asked_is_built_again_exactly():
    chain = MatrixChain.random(3)
    direction = chain.direct(2, cotangent()).gradient
    last = Round(2, direction.unsqueeze(0), (chain.links[2].H @ direction).unsqueeze(0))
    exact = Exact().pull(chain.window(2, 3), cotangent()).start
    torch.testing.assert_close(flatten(rebuilt(chain, cotangent(), last)), flatten(exact), rtol=1e-12, atol=0)


def test_a_link_that_was_asked_nothing_is_direct():
    chain = MatrixChain.random(1)
    nothing = torch.zeros(1, D, dtype=torch.float64)
    found = rebuilt(chain, cotangent(), Round(0, nothing, nothing))
    torch.testing.assert_close(flatten(found), flatten(chain.direct(0, cotangent()).state), rtol=0, atol=0)
