"""`Binomial(center="auto")` and `Parallel`: what models reproduce, how wrong they are, and what must not trip them."""

import math

import pytest
import torch
from torch.func import vmap

from cases import HEAD, LOSS, MODELS, RULES, captured, make_tasks
from matrix_chain import MatrixChain, cotangent, flatten
from metagrad import Binomial, Exact, FirstOrder, Grouped, MetaLearner, Parallel, Truncated, tree
from metagrad.estimators import CurvatureRange, Pulled, error_bound
from metagrad.estimators.link_models import Answers, LinkModels

SIZE, STEPS = 30, 5


class Bowls:
    """Steps of SGD on quadratics ½ φᵀ H_k φ, with a parameter m that enters as φᵀ B_k m: mixed terms Bᵀ d."""

    def __init__(self, hessians, mixed, rate):
        self.hessians, self.mixed, self.rate = hessians, mixed, rate

    @classmethod
    def drifting(cls, steepness, seed=0, dtype=torch.float64, steps=STEPS):
        """Joint Hessians that are positive semidefinite, of falling spectrum, different at each link but related."""
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        spectrum = 0.7 ** torch.arange(SIZE + 3, dtype=torch.float64)
        base, joint = draw(SIZE + 3, SIZE + 3), []
        for _ in range(steps):
            basis = torch.linalg.qr(base + 0.3 * draw(SIZE + 3, SIZE + 3))[0]
            joint.append(((basis * spectrum) @ basis.T).to(dtype))
        return cls(
            torch.stack([h[:SIZE, :SIZE] for h in joint]), torch.stack([h[:SIZE, SIZE:] for h in joint]), steepness
        )

    def __len__(self):
        return len(self.hessians)

    def window(self, start, stop):
        return Bowls(self.hessians[start:stop], self.mixed[start:stop], self.rate)

    def direct(self, k, cotangent):
        return Pulled(cotangent, tree.scale(cotangent["adapted"], -self.rate), {})

    def curvature(self, k, direction):
        return {"adapted": self.hessians[k] @ direction}, {"m": direction @ self.mixed[k]}

    def curvature_everywhere(self, directions):
        products = (self.hessians @ directions.unsqueeze(2)).squeeze(2)
        return {"adapted": products}, {"m": (directions.unsqueeze(1) @ self.mixed).squeeze(1)}


def outer(seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return {"adapted": torch.randn(SIZE, generator=generator, dtype=torch.float64).to(dtype)}


def error(estimator, chain, u, part="start"):
    exact, estimate = (getattr(e.pull(chain, u), part) for e in (Exact(), estimator))
    return (tree.norm(tree.subtract(estimate, exact)) / tree.norm(exact)).item()


def auto(order):
    return Binomial(order, center="auto")


both = pytest.mark.parametrize("make", [auto, Parallel], ids=["auto", "Parallel"])


def median(values):
    return torch.tensor(values, dtype=torch.float64).median().item()


@pytest.mark.parametrize("order", range(1, STEPS))
@pytest.mark.parametrize("steepness", [0.1, 1.0, 3.0])
def test_is_closer_than_plain_and_truncated(steepness, order):
    cases = [(Bowls.drifting(steepness, seed), outer(seed)) for seed in range(9)]
    learned = median([error(auto(order), *case) for case in cases])
    assert learned <= 0.5 * median([error(Binomial(order), *case) for case in cases])
    assert learned <= 0.8 * median([error(Truncated(order), *case) for case in cases])
    meta = median([error(auto(order), *case, "meta") for case in cases])
    assert meta <= 0.96 * median([error(Binomial(order), *case, "meta") for case in cases])


@both
@pytest.mark.parametrize("order", [1, 2, 3])
def test_error_has_slope_order_plus_one_or_more_in_the_step_size(order, make):
    errors = [error(make(order), Bowls.drifting(rate), outer()) for rate in (1e-2, 1e-3)]
    assert errors[0] / errors[1] >= 0.8 * 10 ** (order + 1)


@both
def test_order_zero_is_first_order(make):
    chain = MatrixChain.random(STEPS)
    learned, first = (e.pull(chain, cotangent()) for e in (make(0), FirstOrder()))
    assert torch.equal(flatten(learned.start), flatten(first.start))
    assert torch.equal(learned.meta["rule"], first.meta["rule"])


@pytest.mark.parametrize("rank", [1, 2])
def test_curvature_of_low_rank_is_learned_whole(rank):
    """As many rounds as the rank: by then every positive semidefinite link is known, though L < K."""
    generator = torch.Generator().manual_seed(3)
    roots = torch.randn(rank, SIZE, generator=generator, dtype=torch.float64) / SIZE**0.5
    hessians = torch.stack(
        [(roots.T * torch.rand(rank, generator=generator, dtype=torch.float64)) @ roots for _ in range(STEPS)]
    )
    models = None
    for low in reversed(range(rank)):
        band = hessians[low : low + 4]
        # Not at right angles to what curves, as at random they would be: such a curvature is not clearly positive.
        directions = torch.randn(4, rank, generator=generator, dtype=torch.float64) @ roots
        directions = directions + 0.1 * torch.randn(4, SIZE, generator=generator, dtype=torch.float64)
        answers = Answers.of(directions, {"adapted": (band @ directions.unsqueeze(2)).squeeze(2)}, {})
        models = LinkModels.first(answers) if models is None else models.after(answers)
    direction = torch.randn(SIZE, generator=generator, dtype=torch.float64)
    for k in range(rank - 1, 4):  # those below were asked less often
        change = direction - models.last.directions[k]
        basis = models.rows[k, :rank]
        rest = models.rest * (change - change @ basis.T @ basis)
        assert torch.allclose(models.product(k, direction).curved - rest, hessians[k] @ direction, atol=1e-10)


@both
@pytest.mark.parametrize("order", [1, 2, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_links_without_curvature(order, dtype, make):
    flat = Bowls(torch.zeros(STEPS, SIZE, SIZE, dtype=dtype), torch.zeros(STEPS, SIZE, 3, dtype=dtype), 0.1)
    adjoint = make(order).pull(flat, outer(dtype=dtype))
    assert torch.equal(adjoint.start["adapted"], outer(dtype=dtype)["adapted"])
    assert adjoint.start["adapted"].dtype == dtype
    assert adjoint.diagnostics["error_estimate"] == 0


@both
@pytest.mark.parametrize("order", [1, 2, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_directions_that_vanish_or_repeat_or_curve_down(order, dtype, make):
    chain = Bowls.drifting(1.0, dtype=dtype)
    nothing = make(order).pull(chain, tree.scale(outer(dtype=dtype), 0.0))
    assert not nothing.start["adapted"].any()
    assert nothing.diagnostics["error_estimate"] == 0
    identity = torch.eye(SIZE, dtype=dtype).expand(STEPS, SIZE, SIZE)
    alike = Bowls(identity, chain.mixed, 0.3)  # every adjoint is a multiple of the same vector
    assert error(make(order), alike, outer(dtype=dtype)) <= 10 * torch.finfo(dtype).eps
    down = Bowls(-chain.hessians, chain.mixed, 0.3)
    assert error(make(order), down, outer(dtype=dtype)) <= 0.3


@both
@pytest.mark.parametrize("order", range(1, STEPS + 1))
def test_single_precision_is_as_close_as_its_rounding_allows(order, make):
    precise, single = (
        make(order).pull(Bowls.drifting(1.0, dtype=dtype), outer(dtype=dtype)).start["adapted"].double()
        for dtype in (torch.float64, torch.float32)
    )
    assert (single - precise).norm() <= 1e-4 * precise.norm()


@both
def test_mapped_over_tasks_equals_a_loop(make):
    chain, us = Bowls.drifting(1.0), torch.stack([outer(seed)["adapted"] for seed in range(3)])
    mapped = vmap(lambda u: make(3).pull(chain, {"adapted": u}).start["adapted"])(us)
    looped = torch.stack([make(3).pull(chain, {"adapted": u}).start["adapted"] for u in us])
    assert torch.allclose(mapped, looped, rtol=1e-10)


@both
@pytest.mark.parametrize("learner", [{}, {"adapts": True}, {"adapts": True, "proximal": 0.7}], ids=str)
@pytest.mark.parametrize("rule", ["sgd", "nesterov", "rates-per-element"])
@pytest.mark.parametrize("model", ["mlp", "tied-and-frozen", pytest.param("batch-norm", marks=pytest.mark.slow)])
def test_exact_from_the_order_of_the_loop_on(model, rule, learner, make):
    new, features = MODELS[model]
    network, tasks, options = new().double(), make_tasks(features), dict(learner)
    if options.pop("adapts", False):
        options["adapts"] = HEAD[model]

    def gradient(estimator):
        result = MetaLearner(network, LOSS, RULES[rule], 3, estimator, **options).meta_gradient(tasks)
        return result.gradient

    exact = gradient(Exact())
    for order in (3, 4):
        assert tree.norm(tree.subtract(gradient(make(order)), exact)) <= 1e-10 * tree.norm(exact)
    below, first = (tree.norm(tree.subtract(gradient(e), exact)) for e in (make(2), FirstOrder()))
    assert 0 < below <= 0.2 * first


@pytest.mark.parametrize("mode", [pytest.param("whole", marks=pytest.mark.slow), "pieces"])
@pytest.mark.parametrize(
    "estimator", [auto(2), *(pytest.param(e, marks=pytest.mark.slow) for e in (Parallel(3), Grouped(2)))], ids=repr
)
def test_captured_equals_uncaptured(mode, estimator):
    make, features = MODELS["mlp"]
    network, tasks = make().double(), make_tasks(features)
    arguments = (network, LOSS, RULES["sgd"], 4, estimator)
    expected = MetaLearner(*arguments).meta_gradient(tasks)
    result = captured(mode)(*arguments).meta_gradient(tasks)
    assert tree.norm(tree.subtract(result.gradient, expected.gradient)) <= 1e-10 * tree.norm(expected.gradient)
    estimates = [r.diagnostics["error_estimate"] for r in (result, expected)]
    assert torch.allclose(*estimates, rtol=1e-8)
    assert estimates[0].shape == (2,)


def test_there_is_no_bound():
    with pytest.raises(TypeError, match=r"no bound for Binomial.*center depends on the task"):
        error_bound(auto(2), CurvatureRange.lipschitz([0.1, 0.2, 0.3]))
    for estimator in (Parallel(2), Grouped(2)):
        with pytest.raises(TypeError, match=rf"got {type(estimator).__name__}\(.*; measure its error"):
            error_bound(estimator, CurvatureRange.lipschitz([0.1, 0.2, 0.3]))


def test_one_round_is_the_same_for_all():
    chain = Bowls.drifting(1.0)
    one, *others = (e.pull(chain, outer()) for e in (auto(1), Parallel(1), Grouped(1)))
    for other in others:
        assert torch.equal(other.start["adapted"], one.start["adapted"])
        assert torch.equal(other.meta["m"], one.meta["m"])
        torch.testing.assert_close(other.diagnostics["error_estimate"], one.diagnostics["error_estimate"])


@pytest.mark.parametrize("steepness", [0.1, 1.0])
def test_asking_every_link_in_every_round_is_closer(steepness):
    """Ten steps: from a few rounds on each of the links is known where it matters, and the band forgets the first."""
    cases = [(Bowls.drifting(steepness, seed, steps=10), outer(seed)) for seed in range(5)]
    shares = [
        median([error(Parallel(rounds), *case) / error(auto(rounds), *case) for case in cases])
        for rounds in range(2, 10)
    ]
    assert max(shares) <= 1.05
    assert shares[4] <= 0.3  # six rounds
    assert median([error(Parallel(8), *case) for case in cases]) <= 1e-4


def test_two_of_three_estimates_of_the_error_are_within_a_factor_of_three():
    ratios = []
    for rounds in (2, 3, 4, 5):
        for seed in range(5):
            chain, u = Bowls.drifting(1.0, seed, steps=8), outer(seed)
            told = Parallel(rounds).pull(chain, u).diagnostics["error_estimate"].item()
            ratios.append(told / error(Parallel(rounds), chain, u))
    assert sum(1 / 3 <= ratio <= 3 for ratio in ratios) >= 2 / 3 * len(ratios), ratios


@pytest.mark.parametrize("rate", [0.3, 1.0, 3.0])
def test_the_error_is_what_the_models_get_wrong_of_changes(rate):
    """Equations 9 and 10 of docs/explanation/derivation-learned-center.md, with every model written out as a matrix."""
    steps, u = 6, outer()
    chain = Bowls.drifting(rate, steps=steps)
    curved, unit = rate * chain.hessians, torch.eye(SIZE, dtype=torch.float64)

    def pulled(link):
        adjoints = [u["adapted"]]
        for k in reversed(range(steps)):
            adjoints.append(link(k, adjoints[-1]))
        return torch.stack(adjoints[::-1])  # before link 0, …, behind the last

    exact = pulled(lambda k, adjoint: adjoint - curved[k] @ adjoint)
    before = u["adapted"].expand(steps + 1, -1)
    first, most, epsilon, models = (before - exact).norm(dim=1), 1.0, 0.0, None
    for r in range(1, steps):
        asked = steps - r + 1
        directions = -rate * before[1 : asked + 1]
        answers = Answers.of(directions, chain.window(0, asked).curvature_everywhere(directions)[0], {})
        models = LinkModels.first(answers) if models is None else models.after(answers)
        known = rate * (models.rows.mT @ models.core @ models.rows + models.rest * unit)
        off = torch.zeros_like(curved)  # of links that are not asked any more their direction does not change
        off[:asked] = curved[:asked] - known
        now = pulled(lambda k, a, off=off, was=before: a - curved[k] @ a + off[k] @ (a - was[k + 1]))
        torch.testing.assert_close(now[0], Parallel(r).pull(chain, u).start["adapted"], rtol=1e-9, atol=1e-11)
        told, through = torch.zeros(SIZE, dtype=torch.float64), unit
        for k in range(steps):
            told = told + through @ off[k] @ (now[k + 1] - before[k + 1])
            through = through @ (unit - curved[k])
        torch.testing.assert_close(now[0] - exact[0], told, rtol=1e-8, atol=1e-12)
        most = max(most, torch.linalg.matrix_norm(unit - known, 2).max().item())
        epsilon = max(epsilon, torch.linalg.matrix_norm(off, 2).max().item())
        bound = math.comb(steps - 1, r) * epsilon**r * most ** (steps - 1 - r) * first.max()
        assert 1e-12 < (now[0] - exact[0]).norm() <= bound
        before = now
