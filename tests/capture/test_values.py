"""Losses whose sizes, numbers or branches depend on data: captured and as written agree on one batch after another."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from cases import captured, make_conv, make_mlp, make_tasks
from metagrad import SGD, Exact, MetaLearner, tree
from metagrad.capture import Capture

SCALE = torch.tensor(2.0, dtype=torch.float64)


def of_classes(predictions, targets):
    return [predictions[targets == c].square().sum() for c in targets[targets >= 0].unique()]


def assigned(predictions, targets):
    changed = predictions.clone()
    changed[targets < 0] = 0.0
    return changed.square().sum()


# Name → loss, and whether a trace can follow it.
LOSSES = {
    "length": (lambda p, t: F.cross_entropy(p, t, reduction="sum") / len(t[t >= 0]), False),
    "mask": (lambda p, t: p[t >= 0].square().mean(), False),
    "nonzero": (lambda p, t: p[(t >= 0).nonzero()[:, 0]].square().mean(), False),
    "where": (lambda p, t: p[torch.where(t >= 0)[0]].square().mean(), False),
    "masked-select": (lambda p, t: p.masked_select((t >= 0).unsqueeze(1)).square().mean(), False),
    "unique": (lambda p, t: p.square().mean() * t.unique().numel(), False),
    "classes": (lambda p, t: sum(of_classes(p, t)), False),
    "bincount": (lambda p, t: p.square().mean() * len(t.clamp(min=0).bincount()), False),
    "repeated": (lambda p, t: p.repeat_interleave(t.clamp(min=0), dim=0).square().mean(), False),
    "item": (lambda p, t: F.cross_entropy(p, t, reduction="sum") / (t >= 0).sum().item(), False),
    "slice": (lambda p, t: p[: int((t >= 0).sum())].square().mean(), False),
    "list": (lambda p, t: p.square().mean() * max(t.tolist().count(-100), 1), False),
    "found": (lambda p, t: p.square().mean() * torch.argwhere(t >= 0).shape[0], False),
    "branch": (lambda p, t: F.cross_entropy(p, t) if (t >= 0).sum() > 6 else p.square().mean(), False),
    "constant": (lambda p, t: F.cross_entropy(p, t) * SCALE.item(), False),
    "whole-constant": (lambda p, t: F.cross_entropy(p, t) if SCALE else p.sum(), False),
    "weighted": (lambda p, t: F.cross_entropy(p, t, reduction="sum") / (t >= 0).sum(), True),
    "two-armed-where": (lambda p, t: torch.where((t >= 0).unsqueeze(1), p, 0.0).square().sum(), True),
    "positions": (lambda p, t: -p.log_softmax(1)[torch.arange(len(t)), t.clamp(min=0)].mean(), True),
    "assigned": (assigned, True),
    "literal": (lambda p, t: F.cross_entropy(p, t) * torch.tensor(0.5).item(), True),
}


def batch(labelled, seed, features=(4,)):
    tasks = make_tasks(features, tasks=1, support=8, query=8, seed=seed)
    for part in tasks:
        part.targets[:, labelled:] = -100
    return tasks


def agree(learner, plain, tasks):
    actual, expected = learner.meta_gradient(tasks), plain.meta_gradient(tasks)
    pairs = zip(tree.leaves(actual.gradient), tree.leaves(expected.gradient), strict=True)
    return all(torch.allclose(a, b, rtol=1e-10, atol=1e-13) for a, b in pairs)


@pytest.mark.parametrize("mode", ["whole", "pieces"])
@pytest.mark.parametrize("name", LOSSES)
def test_captured_and_as_written_agree(name, mode):
    loss, followed = LOSSES[name]
    options = {"task_chunk": 1, "link_chunk": 1}
    model = make_mlp().double()
    learner = captured(mode)(model, loss, SGD(0.1), 2, Exact(), **options)
    plain = MetaLearner(model, loss, SGD(0.1), 2, Exact(), **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for labelled, seed in ((8, 0), (5, 1), (3, 2)):
            assert agree(learner, plain, batch(labelled, seed))
    assert len(caught) == (0 if followed else 1)
    assert learner.capture.mode == (mode if followed else "off")
    for warning in caught:
        assert "cannot be captured" in str(warning.message)


def test_a_changed_constant_is_read():
    scale = torch.tensor(2.0, dtype=torch.float64)
    model = make_mlp().double()
    learner = captured("whole")(model, lambda p, t: F.cross_entropy(p, t) * scale.item(), SGD(0.1), 1, Exact())
    with pytest.warns(RuntimeWarning, match="cannot be captured"):
        before = learner.meta_gradient(batch(8, 0))
    scale.mul_(3)
    after = learner.meta_gradient(batch(8, 0))
    assert after.loss / before.loss > 1.5


@pytest.mark.parametrize("name", ["length", "mask"])
def test_on_a_convolutional_net_with_capture_auto(name):
    loss, _ = LOSSES[name]
    model = make_conv().double()
    learner = MetaLearner(model, loss, SGD(0.1), 2, Exact(), task_chunk=1, link_chunk=1)
    learner.capture = Capture("auto", compiler=lambda graph, inputs: graph)
    plain = MetaLearner(model, loss, SGD(0.1), 2, Exact(), task_chunk=1, link_chunk=1)
    with pytest.warns(RuntimeWarning, match="the size of what aten.index returns depends on values"):
        assert agree(learner, plain, batch(8, 0, (1, 16, 16)))
    for labelled, seed in ((5, 1), (3, 2)):
        assert agree(learner, plain, batch(labelled, seed, (1, 16, 16)))
