"""Only the head adapts: errors against dense Hessians, verdicts, and a tiny study from end to end."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from metagrad.estimators import Binomial, FirstOrder, Implicit, Truncated
from metagrad.experiments.config import Experiment, build_learner
from metagrad.rules import SGD
from metagrad.training.evaluation import fixed_tasks
from metagrad_studies.anil import Anil
from metagrad_studies.anil.errors import head_errors
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Request
from studies.made_accuracies import made, tiny

GENERATED = Request(scale="small")
STEPS, RATE = 5, 0.3


class Tiny(Anil):
    def settings(self, request):
        settings = super().settings(request)
        labels = tuple(method.label for method in settings.methods)
        config = settings.data_sets[0].config
        reduced = tiny(settings, labels)
        adapts = {"adapts": ["layers.2"]}  # of a network with one hidden layer
        data = replace(reduced.data_sets[0], config={**reduced.data_sets[0].config, **adapts})
        assert config["adapts"] == ["layers.4"]
        return replace(reduced, data_sets=(data,), error_tasks=2)


@pytest.fixture
def case():
    config = Experiment.from_json(Tiny().settings(GENERATED).data_sets[0].config)
    config = replace(config, rule=SGD(lr=RATE), num_steps=STEPS)
    weights = {name: torch.randn_like(value) / 2 for name, value in build_learner(config).state_dict().items()}
    tasks = fixed_tasks(config.problem.sources(torch.device("cpu")).train, 2, 5)
    return config, weights, tasks


def dense(weights, task):
    """Links I − αH of the head along its own descent, the outer gradient, and the largest α times curvature."""
    weights = {name.removeprefix("model."): value.double() for name, value in weights.items()}

    def features(inputs):
        return F.linear(inputs.double(), weights["layers.0.weight"], weights["layers.0.bias"]).relu()

    def loss(flat, batch):
        matrix, shift = flat[:-5].reshape(5, -1), flat[-5:]
        return F.cross_entropy(features(batch.inputs[0]) @ matrix.T + shift, batch.targets[0])

    flat = torch.cat([weights["layers.2.weight"].flatten(), weights["layers.2.bias"]])
    links = []
    for _ in range(STEPS):
        links.append(RATE * torch.func.hessian(loss)(flat, task.support))
        flat = flat - RATE * torch.func.grad(loss)(flat, task.support)
    return links, torch.func.grad(loss)(flat, task.query), max(torch.linalg.eigvalsh(link)[-1].item() for link in links)


def test_errors_on_the_head_are_those_of_dense_hessians(case):
    config, weights, tasks = case
    rows = head_errors(config, weights, tasks, [repr(FirstOrder()), repr(Truncated(2)), repr(Binomial(1))])
    for number, task in enumerate(tasks):
        links, outer, largest = dense(weights, task)
        exact = truncated = outer
        for k in reversed(range(STEPS)):
            exact = exact - links[k] @ exact
            truncated = exact if k >= STEPS - 2 else truncated
        expected = {
            repr(FirstOrder()): outer,
            repr(Truncated(2)): truncated,
            repr(Binomial(1)): outer - sum(links) @ outer,
        }
        found = {row["estimator"]: row for row in rows if row["task"] == number}
        for name, estimate in expected.items():
            assert found[name]["head_error"] == pytest.approx(
                ((estimate - exact).norm() / outer.norm()).item(), rel=1e-9
            )
            assert found[name]["head_error"] <= found[name]["bound"]
        assert found[repr(Truncated(2))]["curvature"] >= largest


def test_estimators_that_no_theorem_knows_have_no_bound(case):
    config, weights, tasks = case
    (row,) = head_errors(config, weights, tasks[:1], [repr(Binomial(2, center="auto"))])
    assert row["bound"] is None
    assert row["error"] > 0


@pytest.mark.parametrize(
    "change", [{"adapts": ()}, {"adapts": ("layers.0", "layers.2")}, {"rule": SGD(lr=0.1, momentum=0.9)}]
)
def test_what_is_no_linear_head_is_refused(case, change):
    config, weights, tasks = case
    with pytest.raises(ValueError, match="the head must be one linear layer that SGD adapts"):
        head_errors(replace(config, **change), weights, tasks[:1], [repr(FirstOrder())])


def test_rows():
    settings = Anil().settings(GENERATED)
    assert [method.label for method in settings.methods] == [
        "FOMAML",
        "FO-B-MAML",
        "iMAML, L = 2",
        "Truncated, L = 2",
        "Binomial L/K, L = 2",
        "Binomial plain, L = 2",
        "Binomial auto, L = 2",
        "MAML",
        "MAML, whole network",
    ]
    assert settings.methods[-1].adapts == ()
    assert settings.methods[2].estimator.startswith(Implicit.__name__)


def records(binomial, bound, head, whole_seconds):
    settings = Anil().settings(GENERATED)
    found = made(settings, {method.label: 0.5 for method in settings.methods} | {"MAML": head})
    for record in found:
        record["seconds_per_meta_step"] = whole_seconds if "whole" in record["method"] else 0.02
    title = settings.data_sets[0].title
    for text in settings.error_estimators:
        error = binomial if text.startswith("Binomial") else 0.1
        common = {"data_set": title, "method": "MAML", "order": 5, "seed": 10, "task": 0, "curvature": 0.5}
        found.append(common | {"estimator": text, "error": error, "head_error": error, "bound": bound})
    return settings, found


@pytest.mark.parametrize(
    ("made_of", "held"),
    [((0.01, 0.2, 0.5, 0.04), [True, True, True, True]), ((0.15, 0.12, 0.4, 0.01), [False, False, False, False])],
)
def test_the_claims(made_of, held):
    settings, found = records(*made_of)
    assert [finding.held for finding in Anil().findings(settings, Records(found))] == held


@pytest.mark.slow
def test_a_tiny_study_from_end_to_end(tmp_path):
    findings = carry_out(Tiny(), GENERATED, tmp_path / "s", "command", Watcher())
    assert findings[0].held is True  # theory holds at any size
    assert "| Truncated(window=2) |" in (tmp_path / "s" / "summary.md").read_text()
