"""The benchmark of ideas beyond one center: its parts against explicit matrices, and a run that leaves its files."""

import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import cli  # noqa: E402 -- not a package that is installed
from benchmarks.frontier_chains import Log, Moved, Watched, completed, krylov, mean  # noqa: E402
from benchmarks.frontier_plans import band, by_cosine, carried_out, first_again, of_the_largest  # noqa: E402
from benchmarks.frontier_terms import (  # noqa: E402
    Terms,
    center_by_norms,
    centers_between,
    chebyshev_weights,
    fitted,
    order_weights,
    orders,
    per_link_centers,
)
from benchmarks.frontier_variants import grouped  # noqa: E402

from matrix_chain import D, MatrixChain, cotangent, flatten  # noqa: E402
from metagrad import Binomial, Exact, Parallel, tree  # noqa: E402


def curvatures(chain, count, seed=3):
    """Some directions and their products with the curvature of each link."""
    directions = torch.randn(count, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return {k: (directions, directions @ link.H) for k, link in enumerate(chain.links)}


def test_a_completed_model_agrees_on_what_was_asked_and_is_positive():
    chain = MatrixChain.random(1)
    directions, products = curvatures(chain, 2)[0]
    model = completed(directions, products)
    for direction, product in zip(directions, products, strict=True):
        torch.testing.assert_close(model.product(direction), product)
    dense = torch.stack([model.product(row) for row in torch.eye(D, dtype=torch.float64)])
    assert torch.linalg.eigvalsh((dense + dense.T) / 2).min() > -1e-12
    everything = completed(*curvatures(chain, D)[0])
    torch.testing.assert_close(mean([everything, everything]).product(directions[0]), products[0])


def test_moving_a_model_changes_no_exact_pullback():
    chain, u = MatrixChain.random(4), cotangent()
    models = {k: completed(*pair) for k, pair in curvatures(chain, 2).items() if k != 1}
    plain, moved = Exact().pull(chain, u), Exact().pull(Moved(chain, models), u)
    torch.testing.assert_close(flatten(moved.start), flatten(plain.start))
    torch.testing.assert_close(moved.meta, plain.meta)
    whole = Moved(chain, {k: completed(*pair) for k, pair in curvatures(chain, D).items()})
    nothing_left = Binomial(1).pull(whole, u)
    torch.testing.assert_close(flatten(nothing_left.start), flatten(plain.start))


def test_a_log_counts_what_estimators_say_they_cost():
    for estimator in (Exact(), Binomial(2), Binomial(2, center="auto"), *(e for _, e in grouped(5))):
        log = Log()
        estimator.pull(Watched(MatrixChain.random(5), log), cotangent())
        cost = estimator.cost(5)
        assert (log.products, log.rounds) == (cost.products, cost.rounds)
        assert sum(map(len, log.pairs.values())) == cost.products


def test_groups_cover_the_loop_and_those_of_one_are_exact():
    labels = [label for label, _ in grouped(5)]
    assert len(labels) == len(set(labels))
    assert dict(grouped(5))["1 + 1 + 1 + 1 + 1"].cost(5) == Exact().cost(5)
    for label, estimator in grouped(10):
        assert sum(map(int, label.split(" + "))) == 10
        assert estimator.cost(10).products == 10
        assert estimator.cost(10).rounds == len(label.split(" + "))


def test_the_first_link_again_is_between_binomial_and_parallel():
    assert [list(links) for links in first_again(5, 3)] == [[0, 2, 3, 4], [0, 1, 2, 3], [0, 1, 2]]
    chain, u = MatrixChain.random(5, step_size=0.1), cotangent()
    exact = flatten(Exact().pull(chain, u).start)

    def off(estimate):
        return (estimate - exact).norm()

    below, above = (off(flatten(e.pull(chain, u).start)) for e in (Binomial(3, center="auto"), Parallel(3)))
    counted = MatrixChain.random(5, step_size=0.1)
    assert above <= off(carried_out(counted, u, first_again(5, 3))) <= below
    assert counted.counter["products"] == 11


@pytest.mark.parametrize("inverse", [of_the_largest, by_cosine])
def test_a_plan_carried_out_link_by_link_is_that_of_the_estimator(inverse):
    """An implementation without stacks, windows and updates, from all pairs anew, at every round."""
    chain, u = MatrixChain.random(5, step_size=0.1), cotangent()
    for order in (1, 2, 3, 4):
        for estimator, plan in (
            (Binomial(order, center="auto"), band(5, order)),
            (Parallel(order), [range(6 - r) for r in range(1, order + 1)]),
        ):
            torch.testing.assert_close(carried_out(chain, u, plan, inverse), flatten(estimator.pull(chain, u).start))


def test_curvature_that_is_hardly_met_is_left_out_by_its_cosine():
    # One direction, whose product is nearly all across it: of the largest it is the largest itself.
    inner, answers = torch.tensor([[0.05]], dtype=torch.float64), torch.tensor([[0.05, 1.0]], dtype=torch.float64)
    assert by_cosine(inner, answers).item() == 0.0
    assert of_the_largest(inner, answers).item() == pytest.approx(20.0)
    assert by_cosine(inner, answers * torch.tensor([1.0, 0.3])).item() == pytest.approx(20.0)


def test_krylov_directions_are_orthonormal_and_end_in_the_whole_curvature():
    chain = MatrixChain.random(1)
    start = torch.randn(D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions, products = krylov(chain, 0, start, D)
    torch.testing.assert_close(directions @ directions.T, torch.eye(D, dtype=torch.float64))
    torch.testing.assert_close(products, directions @ chain.links[0].H)


@pytest.mark.parametrize("center", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_equal_centers_are_those_of_binomial(order, center):
    chain, u = MatrixChain.random(4), cotangent()
    exact = flatten(Exact().pull(chain, u).start)
    off = flatten(Binomial(order, center=center).pull(chain, u).start) - exact
    coefficients = per_link_centers(4, order)(torch.full((4,), center, dtype=torch.float64))
    found = Terms.of(chain, u).squared_error(coefficients)
    assert found.item() == pytest.approx((off.norm() / exact.norm()).square().item(), rel=1e-9)


def test_a_fit_is_better_than_where_it_began():
    terms = Terms.of(MatrixChain.random(4), cotangent())
    for family, start in ((per_link_centers(4, 2), torch.zeros(4)), (order_weights(4, 2), torch.ones(3))):
        before = terms.squared_error(family(start.double()))
        after = terms.squared_error(family(fitted([terms], family, [start.double()], 30)))
        assert after < 0.5 * before


@pytest.mark.parametrize("order", [1, 2, 4])
def test_where_links_are_alike_norms_of_the_orders_tell_the_eigenvalue(order):
    # Every term is a power of one number: order l has C(4, l) of them.
    powers = (-0.7) ** orders(4).double()
    terms = Terms(4, powers[:, None] * powers)
    assert center_by_norms(terms, order).item() == pytest.approx(0.35)


def test_centers_go_evenly_from_the_first_link_to_the_last():
    first, last = torch.tensor(4.0), torch.tensor(1.0)
    torch.testing.assert_close(centers_between(first, last, 4), torch.tensor([2.0, 1.5, 1.0, 0.5]))


def test_chebyshev_weights_interpolate_and_are_one_at_full_order():
    torch.testing.assert_close(chebyshev_weights(4, 4, 2.5), torch.ones(5, dtype=torch.float64))
    weights, binomial = chebyshev_weights(4, 2, 1.5), torch.tensor([1.0, 4.0, 6.0], dtype=torch.float64)
    points = 0.75 * (1 + torch.cos(torch.pi * torch.tensor([1.0, 3.0, 5.0], dtype=torch.float64) / 6))
    fitted_there = sum(weights[order] * binomial[order] * (-points) ** order for order in range(3))
    torch.testing.assert_close(fitted_there, (1 - points) ** 4)


@pytest.mark.slow
def test_frontier_leaves_json_and_a_figure(tmp_path):
    sizes = ["--tasks", "2", "--steps", "3", "--meta-steps", "1", "2", "--threads", "1"]
    assert cli.main(["frontier", *sizes, "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "frontier-sinusoid.json").read_text())
    rows = {(r["meta_steps"], r["family"], r["label"]): r for r in record["rows"]}
    for stage in (1, 2):
        plain, hindsight = (rows[stage, f, "L = 2"] for f in ("Binomial", "center of each link, in hindsight"))
        assert all(b <= a * (1 + 1e-9) for a, b in zip(plain["errors"], hindsight["errors"], strict=True))
        assert (plain["products"], plain["rounds"]) == (4, 2)
    assert (tmp_path / "frontier-sinusoid.png").read_bytes().startswith(b"\x89PNG")


def test_frontier_says_what_it_misses(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("METAGRAD_DATA", raising=False)
    assert cli.main(["frontier", "--problem", "omniglot", "--out", str(tmp_path)]) == 2
    assert "set METAGRAD_DATA" in capsys.readouterr().err


def test_trees_of_a_log_are_flat():
    log = Log()
    chain = Watched(MatrixChain.random(2), log)
    pulled = chain.direct(1, cotangent())
    curved, _ = chain.curvature(1, pulled.gradient)
    [(direction, product)] = log.pairs[1]
    torch.testing.assert_close(direction, pulled.gradient)
    torch.testing.assert_close(product, tree.leaves(curved)[0])
