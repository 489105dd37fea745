"""Each method of the gallery against plain autograd through a loop written by hand, and the table of its page."""

import importlib
import re
from pathlib import Path

import pytest
import torch
from torch.autograd import grad
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from code_lines import lines_of_code
from documents.pages import DOCS, text
from metagrad import Binomial, Exact, FirstOrder, Implicit
from metagrad.estimators.implicit import ConjugateGradient

GALLERY = Path(__file__).parents[1] / "examples" / "gallery"
PAGE = DOCS / "how-to" / "gallery.md"
MOST_LINES = 25
WAYS, SHOTS = 3, 2


@pytest.fixture(autouse=True)
def _on_path(monkeypatch):
    monkeypatch.syspath_prepend(GALLERY)


def model_part(theta):
    return {name.removeprefix("model."): p for name, p in theta.items() if name.startswith("model.")}


def rates(theta):
    return [p for name, p in theta.items() if name.startswith("rates.")]


def loss_of(learner, phi, batch):
    return cross_entropy(functional_call(learner.model, phi, (batch.inputs,)), batch.targets)


def descended(loss, phi, steps, move):
    """φ after each of some steps φ ← φ − move(k, name, gradient), the first one included."""
    path = [phi]
    for k in range(steps):
        slopes = grad(loss(phi), list(phi.values()), create_graph=True)
        phi = {name: p - move(k, name, g) for (name, p), g in zip(phi.items(), slopes, strict=True)}
        path.append(phi)
    return path


def split(theta, learner, names):
    """What adapts, and how to measure it beside what does not."""
    model = {**dict(learner.model.named_parameters()), **model_part(theta)}
    return {n: model[n] for n in names}, lambda phi, batch: loss_of(learner, {**model, **phi}, batch)


def meta_sgd(theta, learner, support, query):
    phi = model_part(theta)
    alpha = dict(zip(phi, rates(theta), strict=True))
    path = descended(lambda p: loss_of(learner, p, support), phi, 5, lambda k, n, g: alpha[n] * g)
    return loss_of(learner, path[-1], query)


def maml_plus_plus(theta, learner, support, query):
    phi = model_part(theta)
    alpha = dict(zip(phi, rates(theta), strict=True))
    path = descended(lambda p: loss_of(learner, p, support), phi, 5, lambda k, n, g: alpha[n][k] * g)
    return sum(w * loss_of(learner, p, query) for w, p in zip((0.1, 0.1, 0.2, 0.2, 0.4), path[1:], strict=True))


def meta_curvature(theta, learner, support, query):
    phi, matrices = model_part(theta), rates(theta)
    left, right = (dict(zip(("0.weight", "2.weight"), pair, strict=True)) for pair in (matrices[:2], matrices[2:4]))
    scale = dict(zip(("0.bias", "2.bias"), matrices[4:], strict=True))

    def move(k, name, g):
        return 0.4 * (left[name] @ g @ right[name] if name in left else scale[name] * g)

    return loss_of(learner, descended(lambda p: loss_of(learner, p, support), phi, 5, move)[-1], query)


def mt_net(theta, learner, support, query):
    phi, measure = split(theta, learner, ("0.weight", "0.bias", "3.weight", "3.bias"))
    masks = []
    for logit in rates(theta):
        soft = torch.sigmoid(logit + torch.empty(len(logit)).uniform_().logit())
        masks.append((soft > 0.5).double() - soft.detach() + soft)

    def move(k, name, g):
        mask = masks[0 if name.startswith("0") else 1]
        return 0.4 * (mask[:, None] * g if g.ndim == 2 else mask * g)

    return measure(descended(lambda p: measure(p, support), phi, 5, move)[-1], query)


def cavia(theta, learner, support, query):
    phi, measure = split(theta, learner, ("context",))
    phi = {"context": torch.zeros(5, dtype=torch.float64, requires_grad=True)}
    return measure(descended(lambda p: measure(p, support), phi, 5, lambda k, n, g: g)[-1], query)


def leo(theta, learner, support, query):
    weight, bias = theta["0.model.encoder.weight"], theta["0.model.encoder.bias"]
    statistics = (support.inputs @ weight.T + bias).reshape(WAYS, SHOTS, 4).mean(dim=1)
    mean, log_std = statistics[:, :2], statistics[:, 2:]
    start = mean + log_std.exp() * torch.randn(WAYS, 2, dtype=torch.float64)

    def decoded(code):
        return code @ theta["0.model.decoder.weight"].T + theta["0.model.decoder.bias"]

    def measure(weights, batch):
        return cross_entropy(batch.inputs @ weights.T, batch.targets)

    def stage(loss, at, rate):
        return descended(lambda phi: loss(phi["at"]), {"at": at}, 5, lambda k, n, g: rate * g)[-1]["at"]

    code = stage(lambda code: measure(decoded(code), support), start, theta["0.rates.0"])
    weights = stage(lambda weights: measure(weights, support), decoded(code), theta["1.rates.0"])
    normal = torch.distributions.Normal
    divergence = torch.distributions.kl_divergence(normal(mean, log_std.exp()), normal(0.0, 1.0)).sum()
    return measure(weights, query) + 1e-3 * divergence + 1e-9 * ((code.detach() - start) ** 2).sum()


def proto_maml(theta, learner, support, query):
    phi = model_part(theta)
    features = torch.tanh(support.inputs @ phi["0.weight"].T + phi["0.bias"])
    means = torch.stack([features[support.targets == label].mean(dim=0) for label in range(WAYS)])
    # Copies, so that an inner gradient does not go through the means, which are made of the same parameters.
    phi = {**{n: p.clone() for n, p in phi.items()}, "2.weight": 2 * means, "2.bias": -(means**2).sum(dim=1)}
    path = descended(lambda p: loss_of(learner, p, support), phi, 5, lambda k, n, g: 0.1 * g)
    return loss_of(learner, path[-1], query)


def warp_grad(theta, learner, support, query):
    phi, measure = split(theta, learner, ("0.weight", "0.bias", "3.weight", "3.bias"))
    total = 0.0
    for _ in range(5):
        phi = {name: p.detach().requires_grad_() for name, p in phi.items()}
        phi = descended(lambda p: measure(p, support), phi, 1, lambda k, n, g: 0.4 * g)[-1]
        total = total + measure(phi, query) / 5
    return total


def anchored(theta, learner, support, query, nudge=0.0):
    """The end of the inner loop on support loss + nudge·query loss + an anchor at θ."""
    start = {name: p.detach() for name, p in model_part(theta).items()}

    def loss(phi):
        away = sum(((phi[n] - start[n]) ** 2).sum() for n in phi)
        return loss_of(learner, phi, support) + nudge * loss_of(learner, phi, query) + away

    free = {name: p.clone().requires_grad_() for name, p in start.items()}
    return {n: p.detach() for n, p in descended(loss, free, 16, lambda k, n, g: 0.2 * g)[-1].items()}


def imaml(theta, learner, support, query):
    """(I + H/λ)⁻¹ of the query gradient at the last state, by a dense matrix."""
    end = anchored(theta, learner, support, query)
    shapes = {name: p.shape for name, p in end.items()}

    def named(flat):
        parts = flat.split([shape.numel() for shape in shapes.values()])
        return {name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)}

    flat = torch.cat([p.flatten() for p in end.values()]).requires_grad_()
    slope = grad(loss_of(learner, named(flat), query), flat)[0]
    hessian = torch.autograd.functional.hessian(lambda at: loss_of(learner, named(at), support), flat)
    return named(torch.linalg.solve(torch.eye(len(flat)) + hessian / 2.0, slope))


def fo_b_maml(theta, learner, support, query):
    """λ(φ_{−ν} − φ_ν)/(2ν)."""
    below, above = (anchored(theta, learner, support, query, nudge) for nudge in (-0.01, 0.01))
    return {name: 2.0 * (below[name] - above[name]) / 0.02 for name in below}


BY_LOSS = [meta_sgd, maml_plus_plus, meta_curvature, mt_net, cavia, leo, proto_maml, warp_grad]
BY_SOLUTION = [imaml, fo_b_maml]
OWN = {"imaml": Implicit(ConjugateGradient(iterations=60))}


def prepared(oracle, estimator):
    """Method, learner, tasks, and the parameters as leaves of another graph."""
    method, tasks = importlib.import_module(oracle.__name__), importlib.import_module("problem").draw(3)
    learner = method.make(estimator)
    theta = {name: p.detach().clone().requires_grad_() for name, p in learner.named_parameters()}
    random = torch.get_rng_state()
    method.backward(learner, tasks)
    torch.set_rng_state(random)
    gradients = {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}
    return learner, [tasks.take(t) for t in range(tasks.count)], theta, gradients


def assert_close(actual, expected):
    for name, value in expected.items():
        scale = max(p.abs().max() for p in expected.values())
        given = actual.get(name)
        given = torch.zeros_like(value) if given is None else given
        assert (given - value).abs().max() <= 1e-9 * scale, name
    assert set(actual) <= set(expected)


@pytest.mark.parametrize("oracle", BY_LOSS, ids=lambda oracle: oracle.__name__)
def test_exact_equals_autograd_through_the_loop(oracle):
    learner, tasks, theta, gradients = prepared(oracle, Exact())
    loss = sum(oracle(theta, learner, *task) for task in tasks) / len(tasks)
    slopes = grad(loss, list(theta.values()), allow_unused=True)
    expected = {n: torch.zeros_like(theta[n]) if g is None else g for n, g in zip(theta, slopes, strict=True)}
    assert_close(gradients, expected)
    assert len(gradients) >= 2


@pytest.mark.parametrize("oracle", BY_SOLUTION, ids=lambda oracle: oracle.__name__)
def test_gradients_at_a_solution(oracle):
    own = OWN.get(oracle.__name__, importlib.import_module(oracle.__name__).OWN)
    learner, tasks, theta, gradients = prepared(oracle, own)
    each = [oracle(theta, learner, *task) for task in tasks]
    assert_close(gradients, {f"model.{n}": torch.stack([g[n] for g in each]).mean(dim=0) for n in each[0]})


def test_the_table_of_the_page_is_what_the_command_prints():
    table = importlib.import_module("table")
    rows = dict(re.findall(r"^\| \[?([\w+-]+)[^|]*\|.*\| (\S+ \| \S+) \|$", text(PAGE), flags=re.MULTILINE))
    assert set(table.METHODS.values()) == set(rows)
    assert set(table.METHODS) == {path.stem for path in GALLERY.glob("*.py")} - {"problem", "table"}
    for method, title in table.METHODS.items():
        measured = table.errors(method, [FirstOrder(), Binomial(2, center="auto")])
        for error, printed in zip(measured, rows[title].split(" | "), strict=True):
            assert error == pytest.approx(float(printed), rel=0.06, abs=1e-12), title


@pytest.mark.parametrize("path", sorted(GALLERY.glob("*.py")), ids=lambda path: path.stem)
def test_a_method_takes_few_lines(path):
    if path.stem not in ("problem", "table"):
        assert len(lines_of_code(path)) <= MOST_LINES
