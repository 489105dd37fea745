"""Every plain estimator from one table of products, against the estimators themselves and dense products."""

import pytest
import torch

from cases import one
from metagrad.estimators import Binomial, FirstOrder, Truncated
from metagrad.experiments.problems import SinusoidRegression
from metagrad_studies.instruments import sinusoid
from metagrad_studies.instruments.task_errors import estimates, expansion, of_batches, plain_estimates, relative
from oracle import exact_meta_gradient
from studies.test_spectra import DenseChain, first, symmetric

PROBLEM = SinusoidRegression(
    support=6, query=5, amplitude=(0.1, 5.0), phase=(0.0, 3.0), inputs=(-5.0, 5.0), hidden=(7,)
)


class OneByOne(DenseChain):
    def curvature(self, k, direction):
        return {"adapted": {"w": 2.0 * self.factors[k] @ direction["w"]}}, {}


def test_terms_are_the_sums_of_products_of_factors():
    factors = [symmetric(seed) for seed in range(3)]
    g = first()
    rows = expansion(OneByOne(factors), {"adapted": g})
    a, b, c = factors
    expected = [g["w"], -(a + b + c) @ g["w"], (a @ b + a @ c + b @ c) @ g["w"], -(a @ b @ c) @ g["w"]]
    assert [len(row) for row in rows] == [1, 2, 3, 4]
    for term, value in zip(rows[-1], expected, strict=True):
        torch.testing.assert_close(term["adapted"]["w"], value)
    torch.testing.assert_close(rows[1][1]["adapted"]["w"], -c @ g["w"])


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("head", ["zero", "random"])
def test_every_estimator_of_the_table_is_the_estimator(steps, head):
    loop, meta = sinusoid.start(PROBLEM, head, 0.05, steps, seed=0)
    tasks = sinusoid.draw(PROBLEM, 6, seed=1)
    table = plain_estimates(loop, meta, tasks, chunk=4)
    orders = range(1, steps)
    below_exact = [FirstOrder(), *map(Truncated, orders), *map(Binomial, orders)]
    each = estimates(loop, below_exact, meta, tasks, chunk=6)
    assert list(table.others) == below_exact
    torch.testing.assert_close(table.exact, each.exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(table.outer_norm, each.outer_norm)
    for estimator in below_exact:
        torch.testing.assert_close(table.others[estimator], each.others[estimator], rtol=1e-12, atol=1e-12)


def test_exact_is_the_gradient_by_autograd():
    loop, meta = sinusoid.start(PROBLEM, "random", 0.05, 3, seed=0)
    tasks = sinusoid.draw(PROBLEM, 2, seed=1)
    table = plain_estimates(loop, meta, tasks, chunk=2)
    for t in range(2):
        _, gradients, _ = exact_meta_gradient(loop.learner.model, PROBLEM.loss(), one(tasks, t), lr=0.05, steps=3)
        torch.testing.assert_close(table.exact[t], torch.cat([g.flatten() for g in gradients.values()]))


def test_mini_batches_are_means_of_their_own_tasks():
    values = torch.arange(12.0, dtype=torch.float64).reshape(6, 2)
    torch.testing.assert_close(of_batches(values, 3), torch.stack([values[:3].mean(0), values[3:].mean(0)]))
    torch.testing.assert_close(relative(2 * values[1:], values[1:]), torch.ones(5, dtype=torch.float64))


def test_hidden_layers_and_tasks_depend_on_their_seeds_alone():
    zero, drawn = (sinusoid.start(PROBLEM, head, 0.1, 2, seed=3)[1]["model"] for head in ("zero", "random"))
    names = list(zero)
    for name in names[:2]:
        torch.testing.assert_close(zero[name], drawn[name], rtol=0, atol=0)
    assert not zero[names[2]].any()
    assert drawn[names[2]].any()
    assert zero[names[2]].dtype == torch.float64
    again = sinusoid.draw(PROBLEM, 3, seed=5)
    assert torch.equal(again.query.targets, sinusoid.draw(PROBLEM, 3, seed=5).query.targets)
    assert not torch.equal(again.query.targets, sinusoid.draw(PROBLEM, 3, seed=6).query.targets)
