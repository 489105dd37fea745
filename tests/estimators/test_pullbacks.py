"""Every estimator that pulls back through a chain, on explicit matrices, against sums over subsets of links."""

import math

import pytest
import torch

from matrix_chain import D, E, MatrixChain, Q, brute_force, cotangent, flatten
from metagrad import Binomial, Exact, FirstOrder, Grouped, Hybrid, Implicit, Parallel, Split, Truncated, tree
from metagrad.estimators import ConjugateGradient, Neumann

STEPS = 5
LINEAR = [
    Exact(),
    FirstOrder(),
    *(Truncated(window) for window in (0, 1, STEPS - 1, STEPS, STEPS + 1)),
    *(Binomial(order) for order in (0, 1, 2, 3, STEPS - 1, STEPS, STEPS + 1)),
    Binomial(2, scale="paper"),
    Binomial(3, scale=0.7, center=0.3),
    Binomial(0, center=0.3),
    *(Hybrid(window, 2) for window in (0, 1, STEPS - 1, STEPS, STEPS + 1)),
    Split(3, late=Exact(), early=Binomial(1)),
    Split(2, late=Binomial(1), early=Exact()),
]
# Linear in the links, but not in the cotangent: it chooses what is learned.
LEARNED = [
    *(Binomial(order, center="auto") for order in (0, 1, 2, 3, STEPS - 1, STEPS, STEPS + 1)),
    *(Parallel(rounds) for rounds in (0, 1, 2, STEPS - 1, STEPS, STEPS + 1)),
    *(Grouped(groups) for groups in (1, 2, STEPS - 1, STEPS, STEPS + 1)),
    Split(3, late=Binomial(2, center="auto"), early=Parallel(1)),
]
PULLBACKS = [*LINEAR, *LEARNED]


def pulled(estimator, chain, u):
    adjoint = estimator.pull(chain, u)
    zeros = torch.zeros(D + E, dtype=torch.float64)
    start = flatten(adjoint.start) if tree.leaves(adjoint.start) else zeros
    meta = adjoint.meta["rule"] if tree.leaves(adjoint.meta) else torch.zeros(Q, dtype=torch.float64)
    return torch.cat([start, meta])


def assert_close(actual, expected, tolerance=1e-12):
    size = torch.cat([e.flatten() for e in expected]).norm()
    error = torch.cat([(a - e).flatten() for a, e in zip(actual, expected, strict=True)]).norm()
    assert error <= tolerance * size, f"relative error {error / size:.2e}"


@pytest.mark.parametrize("estimator", LINEAR, ids=repr)
def test_is_linear_in_the_cotangent(estimator):
    chain = MatrixChain.random(STEPS)
    u, v = cotangent(1), cotangent(2)
    both = tree.add(tree.scale(u, 2.0), tree.scale(v, -3.0))
    expected = 2.0 * pulled(estimator, chain, u) - 3.0 * pulled(estimator, chain, v)
    assert_close([pulled(estimator, chain, both)], [expected], tolerance=1e-10)


@pytest.mark.parametrize("estimator", PULLBACKS, ids=repr)
class TestEveryPullback:
    @pytest.mark.parametrize("factor", [-3.0, 0.0, 1e-4])
    def test_is_homogeneous_in_the_cotangent(self, estimator, factor):
        chain = MatrixChain.random(STEPS)
        expected = factor * pulled(estimator, chain, cotangent())
        assert_close([pulled(estimator, chain, tree.scale(cotangent(), factor))], [expected], tolerance=1e-10)

    @pytest.mark.parametrize("steps", [1, 2, STEPS])
    def test_counted_products_and_rounds_equal_its_cost(self, estimator, steps):
        chain = MatrixChain.random(steps)
        estimator.pull(chain, cotangent())
        cost = estimator.cost(steps)
        assert chain.counter["products"] == cost.products
        assert chain.counter["rounds"] == cost.rounds
        assert cost.solves == 0

    def test_repr_is_its_constructor(self, estimator):
        names = {c.__name__: c for c in (Exact, FirstOrder, Truncated, Binomial, Parallel, Grouped, Hybrid, Split)}
        assert eval(repr(estimator), names) == estimator


@pytest.mark.parametrize("solver", [ConjugateGradient(3, damping=0.1), Neumann(4)], ids=repr)
def test_repr_of_implicit_is_its_constructor(solver):
    names = {c.__name__: c for c in (Implicit, ConjugateGradient, Neumann)}
    assert eval(repr(Implicit(solver)), names) == Implicit(solver)


@pytest.mark.parametrize("window", [0, 2, STEPS])
@pytest.mark.parametrize(
    ("late", "early"), [(Binomial(1), Exact()), (Exact(), Binomial(1)), (Binomial(2), Truncated(1))]
)
def test_split_is_its_parts_one_after_the_other(window, late, early):
    chain = MatrixChain.random(STEPS)
    behind = late.pull(chain.window(STEPS - window, STEPS), cotangent())
    front = early.pull(chain.window(0, STEPS - window), behind.start)
    adjoint = Split(window, late, early).pull(chain, cotangent())
    assert_close([flatten(adjoint.start)], [flatten(front.start)])
    assert_close([adjoint.meta["rule"]], [tree.add(behind.meta, front.meta)["rule"]])


@pytest.mark.parametrize("steps", range(7))
@pytest.mark.parametrize(("scale", "center"), [(1.0, 0.0), (0.6, 0.0), (1.0, 0.25), (0.8, -0.4), (1.0, 1.0)])
def test_binomial_equals_the_sum_over_subsets(steps, scale, center):
    chain = MatrixChain.random(steps)
    for order in range(steps + 2):
        adjoint = Binomial(order, scale, center).pull(chain, cotangent())
        start, meta = brute_force(chain, cotangent(), order, scale, center)
        assert_close([flatten(adjoint.start)], [start])
        if steps:
            # Absolute, because center 1 leaves nothing at order 0.
            got = adjoint.meta["rule"]
            assert (got - meta).norm() <= 1e-12 * (1 + meta.norm())


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_exact_is_the_product_of_all_links(steps):
    chain = MatrixChain.random(steps)
    vector, meta = flatten(cotangent()), torch.zeros(Q, dtype=torch.float64)
    for link in reversed(chain.links):
        meta = meta + link.R @ vector + link.M @ link.G @ vector
        vector = (link.direct_matrix() + link.curvature_matrix()) @ vector
    adjoint = Exact().pull(chain, cotangent())
    assert_close([flatten(adjoint.start), adjoint.meta["rule"]], [vector, meta])


@pytest.mark.parametrize("extra", [0, 1, 5])
@pytest.mark.parametrize(
    "make",
    [
        Truncated,
        Binomial,
        lambda n: Hybrid(n, n),
        lambda n: Binomial(n, scale="paper"),
        lambda n: Binomial(n, center="auto"),
        Parallel,
        Grouped,
    ],
)
def test_orders_and_windows_of_the_loop_or_more_are_exact(make, extra):
    chain = MatrixChain.random(STEPS)
    expected = pulled(Exact(), chain, cotangent())
    assert_close([pulled(make(STEPS + extra), chain, cotangent())], [expected])


@pytest.mark.parametrize("window", [0, 1, STEPS - 1])
def test_windows_and_orders_below_the_loop_are_not_exact(window):
    chain = MatrixChain.random(STEPS)
    expected = pulled(Exact(), chain, cotangent())
    for estimator in (Truncated(window), Binomial(window)):
        assert (pulled(estimator, chain, cotangent()) - expected).norm() > 1e-6 * expected.norm()


@pytest.mark.parametrize("window", range(STEPS + 1))
def test_truncated_and_hybrid_equal_their_definition(window):
    """First-order links in front, exact or binomial links behind, each by the sum over subsets."""
    chain = MatrixChain.random(STEPS)
    late, early = chain.window(STEPS - window, STEPS), chain.window(0, STEPS - window)
    for estimator, order in ((Truncated(window), window), (Hybrid(window, 2), 2)):
        late_start, late_meta = brute_force(late, cotangent(), order)
        middle = {"adapted": late_start[:D], "memory": late_start[D:]}
        start, early_meta = brute_force(early, middle, 0)
        adjoint = estimator.pull(chain, cotangent())
        assert_close([flatten(adjoint.start), adjoint.meta["rule"]], [start, late_meta + early_meta])


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_binomial_error_has_slope_order_plus_one_in_the_step_size(order):
    errors = []
    sizes = (1e-2, 1e-3) if order < 3 else (3e-2, 3e-3)
    for size in sizes:
        chain = MatrixChain.random(STEPS, step_size=size)
        exact = flatten(Exact().pull(chain, cotangent()).start)
        errors.append((flatten(Binomial(order).pull(chain, cotangent()).start) - exact).norm())
    slope = math.log10(errors[0] / errors[1])
    assert slope == pytest.approx(order + 1, abs=0.1)


@pytest.mark.parametrize("estimator", [Truncated(3), Hybrid(3, 2)], ids=repr)
def test_truncation_leaves_an_error_of_slope_one(estimator):
    errors = []
    for size in (1e-2, 1e-3):
        chain = MatrixChain.random(STEPS, step_size=size)
        exact = flatten(Exact().pull(chain, cotangent()).start)
        errors.append((flatten(estimator.pull(chain, cotangent()).start) - exact).norm())
    assert math.log10(errors[0] / errors[1]) == pytest.approx(1, abs=0.1)


def test_order_zero_is_first_order():
    chain = MatrixChain.random(STEPS)
    assert_close([pulled(Binomial(0), chain, cotangent())], [pulled(FirstOrder(), chain, cotangent())])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Binomial(-1), "order must be at least 0, got -1"),
        (lambda: Binomial(1.5), "order must be an integer, got 1.5"),
        (lambda: Binomial(True), "order must be an integer, got True"),
        (lambda: Binomial(1, scale="papper"), "scale .* must be a number, got 'papper'"),
        (lambda: Binomial(1, scale=math.nan), "scale .* must be finite, got nan"),
        (lambda: Binomial(1, center=math.inf), "center .* must be finite, got inf"),
        (lambda: Binomial(1, center="atuo"), "center .* must be a number, got 'atuo'"),
        (lambda: Binomial(1, scale="paper", center="auto"), 'scale must stay 1 with center "auto"'),
        (lambda: Binomial(1, scale=0.5, center="auto"), 'scale must stay 1 with center "auto"'),
        (lambda: Parallel(-1), "rounds must be at least 0, got -1"),
        (lambda: Parallel(2.0), "rounds must be an integer, got 2.0"),
        (lambda: Grouped(0), "groups must be at least 1, got 0"),
        (lambda: Grouped("2"), "groups must be an integer, got '2'"),
        (lambda: Truncated(-2), "window must be at least 0, got -2"),
        (lambda: Hybrid(-1, 2), "window must be at least 0"),
        (lambda: Hybrid(1, -2), "order must be at least 0"),
        (lambda: Split(1, late=Implicit()), "Split late must be an estimator that pulls back through a chain"),
        (lambda: Split(1, late=3), "Split late must be an estimator that pulls back through a chain"),
        (lambda: Implicit(solver="cg"), "solver must be ConjugateGradient"),
        (lambda: ConjugateGradient(0), "iterations must be at least 1"),
        (lambda: ConjugateGradient(1, damping=-1.0), "damping must be at least 0"),
        (lambda: Neumann(-1), "iterations must be at least 0"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
