"""Error bounds against measured errors: the estimators themselves, on explicit links within the ranges of the bound."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, hessian

from cases import make_tasks, one
from metagrad import SGD, Binomial, Exact, FirstOrder, Hybrid, MetaLearner, Reptile, Split, Truncated, tree
from metagrad.data.regression import Sinusoids
from metagrad.estimators import CurvatureRange, Pulled, error_bound, theorem_3_6, theorem_3_8, theorem_3_10


class LinkChain:
    """Links I − E_k of plain SGD, many chains at once: E_k is [chains, D, D], cotangents are [chains, D, columns]."""

    def __init__(self, factors):
        self.factors = factors

    def __len__(self):
        return len(self.factors)

    def window(self, start, stop):
        return LinkChain(self.factors[start:stop])

    def direct(self, k, cotangent):
        return Pulled(cotangent, tree.scale(cotangent["adapted"], -1.0), {})

    def curvature(self, k, direction):
        return {"adapted": self.factors[k] @ direction}, {}

    def curvature_everywhere(self, directions):
        return {"adapted": torch.stack([e @ d for e, d in zip(self.factors, directions, strict=True)])}, {}


def measured(estimator, factors):
    """Largest error relative to the outer gradient, over all outer gradients: [chains]."""
    identity = torch.eye(factors[0].shape[-1], dtype=torch.float64).expand_as(factors[0])
    exact = identity
    for factor in factors:
        exact = exact @ (identity - factor)
    estimate = estimator.pull(LinkChain(factors), {"adapted": identity}).start["adapted"]
    error = estimate - exact
    return torch.linalg.eigvalsh(error.mT @ error)[..., -1].clamp(min=1e-40).sqrt()


KINDS = ("ends", "within", "commuting", "number", "rotation")


def random_links(curvature, chains, size, kind, generator):
    """E_k within the range of link k, at its ends or anywhere, in one basis or in many, or not symmetric at all."""

    def basis():
        return torch.linalg.qr(torch.randn(chains, size, size, generator=generator, dtype=torch.float64))[0]

    shared, factors = basis(), []
    for low, high in zip(curvature.low, curvature.high, strict=True):
        values = torch.rand(chains, size, generator=generator, dtype=torch.float64)
        vectors = shared if kind == "commuting" else basis()
        if kind in ("ends", "commuting"):
            values = values.round()
        if kind == "number":
            values = values.round()[:, :1].expand(-1, size)
        if kind == "rotation":  # not symmetric: the middle and a turn of the radius
            middle = (low + high) / 2 * torch.eye(size, dtype=torch.float64)
            factors.append(middle + (high - low) / 2 * vectors)
        else:
            factors.append(vectors @ torch.diag_embed(low + (high - low) * values) @ vectors.mT)
    return factors


def numbers(*values):
    return [value * torch.eye(2, dtype=torch.float64) for value in values]


def ranges(steps, seed):
    """Ranges of all sorts, one and several curvatures, below and above 1."""
    generator = torch.Generator().manual_seed(seed)
    c = torch.rand(steps, generator=generator, dtype=torch.float64).tolist()
    return {
        "lipschitz": CurvatureRange.lipschitz([0.25] * steps),
        "lipschitz, per link": CurvatureRange.lipschitz([2.0 * x for x in c]),
        "convex": CurvatureRange.convex([0.7] * steps),
        "convex, per link": CurvatureRange.convex(c),
        "convex, one steep link": CurvatureRange.convex([2.5, *c[1:]]),
        "finally convex": CurvatureRange.finally_convex([0.9] * steps, smallest=0.2, steps=steps // 2),
        "measured": CurvatureRange([0.3 * x - 0.2 for x in c], [0.3 * x + 0.4 * x * x for x in c]),
    }


def estimators(steps):
    orders = sorted({0, 1, 2, steps - 1, steps, steps + 1})
    return [
        Exact(),
        FirstOrder(),
        *(Truncated(window) for window in orders),
        *(Binomial(order) for order in orders),
        *(Binomial(order, scale="paper") for order in orders),
        *(Binomial(order, center=center) for order in orders for center in (0.15, 0.35, 1.2, -0.1)),
        *(Binomial(order, scale=0.7, center=0.3) for order in orders),
        *(Binomial(order, scale=1.4) for order in orders),
        *(Hybrid(window, order) for window in orders for order in (1, 2)),
        Split(2, late=Binomial(1), early=Exact()),
        Split(2, late=Binomial(1, center=0.2), early=Binomial(1, scale=0.8)),
        Split(1, late=Truncated(1), early=Hybrid(2, 1)),
    ]


class TestNeverBelowTheMeasuredError:
    @pytest.mark.parametrize(("steps", "size"), [(1, 2), (2, 3), (3, 2), (4, 3), (5, 2), (5, 4), (6, 3), (7, 2)])
    def test_random_links(self, steps, size):
        generator = torch.Generator().manual_seed(100 * steps + size)
        known = ranges(steps, seed=steps)
        groups = [random_links(c, 20, size, kind, generator) for c in known.values() for kind in KINDS]
        factors = [torch.cat(links) for links in zip(*groups, strict=True)]
        for estimator in estimators(steps):
            errors = measured(estimator, factors).view(len(known), -1).amax(1).tolist()
            for (name, curvature), error in zip(known.items(), errors, strict=True):
                bound = error_bound(estimator, curvature)
                assert error <= bound * (1 + 1e-12) + 1e-13, f"{estimator} {name}: {error} above {bound}"

    @pytest.mark.parametrize("steps", [2, 4])
    def test_links_that_were_searched_for(self, steps):
        """Gradient ascent on the error over the planes of reflections: far from random links."""
        for curvature in (ranges(steps, 0)[name] for name in ("convex", "measured")):
            for estimator in (FirstOrder(), Truncated(1), Binomial(1), Binomial(1, "paper"), Binomial(1, center=0.3)):
                torch.manual_seed(steps)
                angles = torch.rand(steps, 30, dtype=torch.float64).mul_(2 * math.pi).requires_grad_()
                ascent = torch.optim.Adam([angles], lr=0.1)
                for _ in range(20):
                    factors = [
                        (low + high) / 2 * torch.eye(2, dtype=torch.float64) + (high - low) / 2 * reflections(angle)
                        for low, high, angle in zip(curvature.low, curvature.high, angles, strict=True)
                    ]
                    error = measured(estimator, factors)
                    ascent.zero_grad()
                    (-error.sum()).backward()
                    ascent.step()
                assert error.max().item() <= error_bound(estimator, curvature) * (1 + 1e-12)


def reflections(angle):
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cosine, sine], -1), torch.stack([sine, -cosine], -1)], -2)


class TestAttained:
    """Each range has links at which the error is the bound: no smaller number would do."""

    @pytest.mark.parametrize("steps", range(1, 8))
    def test_negative_curvature_for_lipschitz_gradients(self, steps):
        for c in ([0.25] * steps, [0.1 + 0.3 * k for k in range(steps)], [1e-3 * (k + 1) for k in range(steps)]):
            factors = numbers(*(-x for x in c))
            for estimator in estimators(steps):
                if isinstance(estimator, Binomial) and (not 0 <= estimator.center <= 1 or estimator.scale == 1.4):
                    continue  # terms of both signs
                error = measured(estimator, factors).item()
                bound = error_bound(estimator, CurvatureRange.lipschitz(c))
                assert bound == pytest.approx(error, rel=1e-10, abs=1e-14), estimator

    @pytest.mark.parametrize("steps", range(1, 8))
    @pytest.mark.parametrize("center", [0.0, 0.1, 0.4, 1.0])
    def test_the_low_end_for_a_center_in_the_middle(self, steps, center):
        radius = 0.3
        curvature = CurvatureRange([center - radius] * steps, [center + radius] * steps)
        for order in (0, 1, steps - 1, steps, steps + 1):
            estimator = Binomial(order, center=center)
            error = measured(estimator, numbers(*[center - radius] * steps)).item()
            assert error_bound(estimator, curvature) == pytest.approx(error, rel=1e-10, abs=1e-14)

    @pytest.mark.parametrize("steps", range(1, 8))
    def test_flat_directions_for_convex_losses_and_a_center_of_half_the_curvature(self, steps):
        for c in (0.05, 0.5, 1.0, 1.7):
            tail = binomial_tails(steps, Fraction(c) / 2)
            for order in range(steps + 2):
                estimator = Binomial(order, center=c / 2)
                bound = error_bound(estimator, CurvatureRange.convex([c] * steps))
                flat = measured(estimator, numbers(*[0.0] * steps)).item()
                assert flat == pytest.approx(float(tail[order]), rel=1e-10, abs=1e-14)
                assert bound == pytest.approx(flat, rel=1e-10, abs=1e-14)
                gentler = CurvatureRange.convex([c * (k + 1) / steps for k in range(steps)])
                assert error_bound(estimator, gentler) <= bound * (1 + 1e-12)

    @pytest.mark.parametrize("steps", [2, 3, 6])
    @pytest.mark.parametrize("name", ["convex", "convex, per link", "finally convex", "measured", "lipschitz"])
    @pytest.mark.parametrize("center", [0.0, 0.2])
    def test_turning_links_for_first_order(self, steps, name, center):
        curvature = ranges(steps, seed=steps)[name]
        bound = error_bound(Binomial(0, center=center), curvature)
        factors = turning_links(curvature, center)
        assert bound == pytest.approx(measured(Binomial(0, center=center), factors).max().item(), rel=1e-9, abs=1e-10)
        if name == "convex" and center == 0.0:  # Truncated: the same, and nothing after it
            late = CurvatureRange.convex([0.7, 0.7])
            longer = CurvatureRange(curvature.low + late.low, curvature.high + late.high)
            flat = [torch.zeros_like(factors[0])] * 2
            error = measured(Truncated(2), factors + flat).max().item()
            assert error_bound(Truncated(2), longer) == pytest.approx(error, rel=1e-9)

    def test_common_curvature_for_convex_losses_and_small_rates(self):
        for c in (0.01, 0.1, 0.25):
            error = measured(FirstOrder(), numbers(*[c] * 5)).item()
            assert error_bound(FirstOrder(), CurvatureRange.convex([c] * 5)) == pytest.approx(error, rel=1e-12)


def turning_links(curvature, center):
    """Symmetric 2 × 2 links that take first order far, found by ascent over one angle a link from many starts."""
    steps = len(curvature)
    low, high = (torch.tensor(x, dtype=torch.float64)[:, None] for x in (curvature.low, curvature.high))

    def distance(angles):
        product = (1 - (low + high) / 2 + (high - low) / 2 * torch.exp(1j * angles)).prod(0)
        return ((1 - center) ** steps - product).abs().square()

    def ascend(angles):
        angles = angles.clone().requires_grad_()
        search = torch.optim.LBFGS(
            [angles], max_iter=60, tolerance_grad=1e-13, tolerance_change=1e-15, line_search_fn="strong_wolfe"
        )

        def closure():
            search.zero_grad()
            value = -distance(angles).sum()
            value.backward()
            return value

        search.step(closure)
        return angles.detach()

    generator = torch.Generator().manual_seed(0)
    starts = torch.linspace(0, math.pi, 21, dtype=torch.float64).repeat(steps, 1)
    elsewhere = math.pi * torch.rand(steps, 40, generator=generator, dtype=torch.float64)
    angles = ascend(torch.cat([starts, elsewhere], dim=1))
    best = ascend(angles[:, distance(angles).topk(1).indices])[:, 0]
    factors, turn = [], torch.zeros((), dtype=torch.float64)
    for k in reversed(range(steps)):  # the last link is met first
        middle, radius = (low[k] + high[k]) / 2, (high[k] - low[k]) / 2
        # This reflection takes the direction at angle `turn` to that at `turn` + the angle of the link.
        factors.insert(0, (middle * torch.eye(2, dtype=torch.float64) - radius * reflections(2 * turn + best[k]))[None])
        z = 1 - middle + radius * torch.exp(1j * best[k])
        turn = turn + z.angle().squeeze()
    return factors


def binomial_tails(steps, p):
    """P[Binomial(K, p) > L], exactly, for L = 0 … K + 1."""
    masses = [math.comb(steps, b) * p**b * (1 - p) ** (steps - b) for b in range(steps + 1)]
    return [sum(masses[order + 1 :], Fraction(0)) for order in range(steps + 2)]


class TestClosedForms:
    """The formulas of the paper in rational arithmetic."""

    @pytest.mark.parametrize("steps", range(1, 8))
    @pytest.mark.parametrize("curvature", [1e-7, 0.25, 1.0])
    def test_theorem_3_6_is_the_bound_for_one_curvature(self, steps, curvature):
        c, known = Fraction(curvature), CurvatureRange.lipschitz([curvature] * steps)
        for order in range(steps + 2):
            kept = min(order, steps)
            expected = {
                FirstOrder(): (1 + c) ** steps - 1,
                Truncated(order): (1 + c) ** steps - (1 + c) ** kept,
                Binomial(order): sum(math.comb(steps, i) * c**i for i in range(kept + 1, steps + 1)),
            }
            for estimator, value in expected.items():
                assert theorem_3_6(estimator, steps, curvature) == pytest.approx(float(value), rel=1e-12, abs=0)
                assert error_bound(estimator, known) == pytest.approx(float(value), rel=1e-12, abs=0)

    @pytest.mark.parametrize("steps", range(1, 8))
    @pytest.mark.parametrize("curvature", [1e-7, 0.25, 0.9, 1.0])
    def test_theorem_3_8(self, steps, curvature):
        c, known = Fraction(curvature), CurvatureRange.convex([curvature] * steps)
        for order in range(steps + 2):
            kept = min(order, steps)
            expected = {
                FirstOrder(): 1 - (1 - c) ** steps,
                Truncated(order): 1 - (1 - c) ** (steps - kept),
                Binomial(order): math.comb(steps, kept + 1) * c ** (kept + 1),
            }
            for estimator, value in expected.items():
                printed = theorem_3_8(estimator, steps, curvature)
                assert printed == pytest.approx(float(value), rel=1e-12, abs=0)
                if isinstance(estimator, Binomial):
                    assert error_bound(estimator, known) <= printed * (1 + 1e-12)
                elif steps * curvature <= 1.25:
                    assert error_bound(estimator, known) == pytest.approx(printed, rel=1e-12, abs=0)

    @pytest.mark.parametrize("steps", [2, 5])
    @pytest.mark.parametrize(("curvature", "smallest"), [(0.25, 0.025), (0.25, 0.25), (1.0, 0.5), (1.0, 1.0)])
    def test_theorem_3_10(self, steps, curvature, smallest):
        c, h = Fraction(curvature), Fraction(smallest)
        for convex in range(steps + 1):
            known = CurvatureRange.finally_convex([curvature] * steps, smallest, convex)
            for order in range(steps + 2):
                kept, early = min(order, steps), steps - convex
                late = sum(math.comb(steps - i, kept) * (1 - h) ** (i - 1) for i in range(1, convex + 1))
                tail = sum(math.comb(early, i) * c**i for i in range(kept + 1, early + 1))
                value = float(c ** (kept + 1) * late + (1 - h) ** convex * tail)
                printed = theorem_3_10(Binomial(order), steps, curvature, smallest, convex)
                assert printed == pytest.approx(value, rel=1e-12, abs=0)
                assert error_bound(Binomial(order), known) <= printed * (1 + 1e-12)
                if kept >= convex:
                    value = float(((1 + c) ** early - (1 + c) ** (kept - convex)) * (1 - h) ** convex)
                    printed = theorem_3_10(Truncated(order), steps, curvature, smallest, convex)
                    assert printed == pytest.approx(value, rel=1e-12, abs=0)
                    assert error_bound(Truncated(order), known) == pytest.approx(printed, rel=1e-12, abs=1e-300)
                    attained = numbers(*[-curvature] * early, *[smallest] * convex)
                    assert measured(Truncated(order), attained).item() == pytest.approx(value, rel=1e-10, abs=1e-14)
            value = float(max((1 + c) ** early * (1 - h) ** convex - 1, 1 - (1 - c) ** steps))
            printed = theorem_3_10(FirstOrder(), steps, curvature, smallest, convex)
            assert printed == pytest.approx(value, rel=1e-12, abs=0)
            commuting = [
                measured(FirstOrder(), numbers(*ends)).item()
                for ends in itertools.product(*zip(known.low, known.high, strict=True))
            ]
            assert max(commuting) == pytest.approx(printed, rel=1e-10)
            assert printed <= error_bound(FirstOrder(), known) * (1 + 1e-12)

    def test_several_curvatures_are_elementary_symmetric_polynomials(self):
        c = [0.31, 1.7, 0.02, 0.6, 0.9]
        sums = [sum(math.prod(chosen) for chosen in itertools.combinations(c, count)) for count in range(7)]
        gentle = [x / 2 for x in c]
        for order in range(6):
            bound = error_bound(Binomial(order), CurvatureRange.lipschitz(c))
            assert bound == pytest.approx(sum(sums[order + 1 :]), rel=1e-12, abs=0)
            convex = error_bound(Binomial(order), CurvatureRange.convex(gentle))
            assert convex <= sums[order + 1] / 2 ** (order + 1) * (1 + 1e-12)

    def test_the_printed_theorem_for_convex_losses_fails_where_hessians_do_not_commute(self):
        """Two projections at an angle whose squared cosine is 1/3, within 0 ≤ E ≤ 1."""
        first = torch.tensor([1.0, 0.0], dtype=torch.float64)
        second = torch.tensor([math.sqrt(1 / 3), math.sqrt(2 / 3)], dtype=torch.float64)
        factors = [(torch.eye(2, dtype=torch.float64) - torch.outer(v, v))[None] for v in (first, second)]
        error = measured(FirstOrder(), factors).item()
        assert error == pytest.approx(2 / math.sqrt(3), rel=1e-12)
        assert theorem_3_8(FirstOrder(), 2, 1.0) == 1.0
        assert error_bound(FirstOrder(), CurvatureRange.convex([1.0, 1.0])) == pytest.approx(error, rel=1e-12)

    @pytest.mark.parametrize("steps", [2, 3, 6])
    def test_the_polynomial_view(self, steps):
        """For one E, term b of (I − E)^K is weighted by P[Binomial(K − b, s) ≤ L − b]."""
        e = 0.37
        for order, center in itertools.product(range(steps + 1), (0.0, 0.2, 0.5)):
            p = Fraction(center)
            weights = [
                1 - binomial_tails(steps - b, p)[order - b] if order >= b else Fraction(0) for b in range(steps + 1)
            ]
            value = sum(math.comb(steps, b) * (-Fraction(e)) ** b * weight for b, weight in enumerate(weights))
            lacking = abs(float(value - (1 - Fraction(e)) ** steps))
            error = measured(Binomial(order, center=center), numbers(*[e] * steps)).item()
            assert error == pytest.approx(lacking, rel=1e-9, abs=1e-14)


class TestStability:
    def test_small_curvature_loses_no_digits(self):
        c, steps = 1e-9, 10
        exact = sum(math.comb(steps, i) * Fraction(c) ** i for i in range(3, steps + 1))
        assert error_bound(Binomial(2), CurvatureRange.lipschitz([c] * steps)) == pytest.approx(float(exact), rel=1e-12)
        convex = CurvatureRange.convex([c] * steps)
        assert error_bound(FirstOrder(), convex) == pytest.approx(float(1 - (1 - Fraction(c)) ** steps), rel=1e-12)
        assert error_bound(Binomial(2), convex) == pytest.approx(math.comb(steps, 3) * c**3, rel=1e-7)

    def test_long_and_steep_loops_give_numbers(self):
        for steps, c in ((50, 0.5), (100, 1e200), (60, 30.0)):
            for estimator in (FirstOrder(), Truncated(2), Binomial(2), Binomial(2, "paper"), Binomial(2, center=0.2)):
                assert error_bound(estimator, CurvatureRange.convex([c] * steps)) > 0
        assert error_bound(Binomial(1), CurvatureRange.convex([2.0] * 1100)) > 0
        scalar = abs((1 - 0.5) ** 200 - (1 - 200 * 0.5 + math.comb(200, 2) * 0.25))
        bound = error_bound(Binomial(2), CurvatureRange.convex([0.5] * 200))
        assert scalar <= bound <= 1.1 * scalar

    def test_no_link_no_error(self):
        for estimator in (Exact(), FirstOrder(), Truncated(1), Binomial(1), Binomial(0, center=0.3), Hybrid(2, 1)):
            assert error_bound(estimator, CurvatureRange([], [])) == 0.0


def flat_loss(model, batch_loss):
    sizes = [p.numel() for p in model.parameters()]
    names, shapes = zip(*((n, p.shape) for n, p in model.named_parameters()), strict=True)

    def loss(vector, batch):
        pieces = vector.split(sizes)
        parameters = {n: piece.view(s) for n, piece, s in zip(names, pieces, shapes, strict=True)}
        return batch_loss(functional_call(model, parameters, (batch.inputs,)), batch.targets)

    return loss


class TestRealInnerLoops:
    """Hessians along the inner loop of a network, dense; errors measured through the public interface."""

    ESTIMATORS = (
        *(FirstOrder(), Truncated(1), Truncated(3), Binomial(1), Binomial(3), Binomial(2, "paper"), Hybrid(3, 1)),
        *(Binomial(order, center=center) for order in (0, 1, 3) for center in (0.05, 0.2)),
    )

    def check(self, model, batch_loss, tasks, rate, steps, known=None):
        loss, task = flat_loss(model, batch_loss), one(tasks, 0)
        phi = torch.cat([p.detach().flatten() for p in model.parameters()])
        low, high = [], []
        for _ in range(steps):
            spectrum = rate * torch.linalg.eigvalsh(hessian(loss)(phi, task.support))
            low.append(spectrum[0].item())
            high.append(spectrum[-1].item())
            phi = phi - rate * grad(loss)(phi, task.support)
        outer = grad(loss)(phi, task.query).norm().item()

        def meta_gradient(estimator):
            result = MetaLearner(model, batch_loss, SGD(rate), steps, estimator).meta_gradient(tasks)
            return torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])

        exact = meta_gradient(Exact())
        spectra = CurvatureRange(low, high)
        for estimator in self.ESTIMATORS:
            error = (meta_gradient(estimator) - exact).norm().item() / outer
            bounds = {
                "spectra": error_bound(estimator, spectra),
                "norms": error_bound(estimator, CurvatureRange.lipschitz(spectra.farthest_from(0.0))),
            }
            if known:
                bounds["known"] = error_bound(estimator, known)
            for name, bound in bounds.items():
                assert error <= bound * (1 + 1e-9) + 1e-12, f"{estimator} {name}: {error} above {bound}"
            assert bounds["spectra"] <= bounds["norms"] * (1 + 1e-9)
        return spectra

    @pytest.mark.parametrize("rate", [0.003, 0.02, 0.1])
    def test_sinusoid_regression(self, rate):
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(1, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).double()
        tasks = Sinusoids(dtype=torch.float64).sample(1, torch.Generator().manual_seed(5))
        spectra = self.check(model, F.mse_loss, tasks, rate, steps=5)
        assert min(spectra.low) < 0 < max(spectra.high)  # a network is not convex, or this would prove little

    @pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
    def test_logistic_regression_is_convex(self, share):
        torch.manual_seed(4)
        model = torch.nn.Linear(4, 3).double()
        tasks = make_tasks((4,), tasks=1)
        inputs = one(tasks, 0).support.inputs
        inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], dim=1)
        # Softmax with cross-entropy: its Hessian in the logits is at most ½, wherever they are.
        largest = 0.5 * torch.linalg.eigvalsh(inputs.T @ inputs / len(inputs))[-1].item()
        known = CurvatureRange.convex([share] * 6)
        spectra = self.check(model, F.cross_entropy, tasks, share / largest, steps=6, known=known)
        assert min(spectra.low) > -1e-12
        assert max(spectra.high) <= share


class TestErrors:
    @pytest.mark.parametrize("curvature", [0.0, -0.5, 1.5, math.nan])
    def test_curvature_outside_the_theorems(self, curvature):
        with pytest.raises(ValueError, match=r"alpha·H.*got"):
            theorem_3_8(FirstOrder(), 5, curvature)
        with pytest.raises(ValueError, match=r"alpha·H.*got"):
            theorem_3_10(FirstOrder(), 5, curvature, 0.1, 1)

    def test_the_way_out_is_named(self):
        with pytest.raises(ValueError, match=r"got 1.5; lower the inner learning rate, or use error_bound"):
            theorem_3_8(Binomial(1), 5, 1.5)
        with pytest.raises(ValueError, match=r"scale=1 and center=0, got Binomial.*use error_bound"):
            theorem_3_6(Binomial(1, center=0.2), 5, 0.2)
        with pytest.raises(ValueError, match=r"window of at least convex_steps = 3, got Truncated\(window=2\)"):
            theorem_3_10(Truncated(2), 5, 0.2, 0.1, 3)
        with pytest.raises(ValueError, match=r"smallest \(alpha·h\) must be at most .* 0.2, got 0.3"):
            theorem_3_10(FirstOrder(), 5, 0.2, 0.3, 1)
        with pytest.raises(TypeError, match=r"got Hybrid"):
            theorem_3_6(Hybrid(2, 1), 5, 0.2)

    def test_an_estimator_without_a_bound(self):
        with pytest.raises(TypeError, match=r"got Reptile\(\); measure its error"):
            error_bound(Reptile(), CurvatureRange.lipschitz([0.1]))

    def test_ranges(self):
        with pytest.raises(ValueError, match=r"low\[1\] = 0.5 is above high\[1\] = 0.2"):
            CurvatureRange((0.0, 0.5), (0.1, 0.2))
        with pytest.raises(ValueError, match="one number for each link, got 1 and 2"):
            CurvatureRange((0.0,), (0.1, 0.2))
        with pytest.raises(ValueError, match=r"norms\[0\] must be at least 0, got -0.1"):
            CurvatureRange.convex([-0.1])
        with pytest.raises(ValueError, match=r"high\[0\] must be finite, got inf"):
            CurvatureRange([0.0], [math.inf])
        with pytest.raises(ValueError, match="steps must be at most 2, got 3"):
            CurvatureRange.finally_convex([0.1, 0.2], 0.0, 3)
        with pytest.raises(TypeError, match=r"norms\[0\] must be a number, got '0.1'"):
            CurvatureRange.lipschitz(["0.1"])
