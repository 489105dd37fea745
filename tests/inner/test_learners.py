import pytest
import torch
import torch.nn.functional as F

from cases import LOSS, make_mlp
from metagrad import Batch, PartOfModel, Proximal, WholeModel, tree
from metagrad.functional import trainable

BODY = ["layers.0.weight", "layers.0.bias"]
HEAD = ["layers.2.weight", "layers.2.bias"]


def meta_of(model):
    return {"model": {**trainable(model)}}


@pytest.mark.parametrize(
    "adapts",
    ["layers.2", ["layers.2.weight", "layers.2.bias"], lambda name: name.startswith("layers.2.")],
    ids=["prefix", "names", "predicate"],
)
def test_part_of_model_splits_parameters(adapts):
    model = make_mlp()
    learner = PartOfModel(model, LOSS, adapts)
    assert list(learner.start(meta_of(model))) == HEAD
    assert list(learner.context(meta_of(model))["model"]) == BODY
    assert list(learner.initial(meta_of(model))["model"]) == HEAD


def test_a_prefix_ends_at_a_dot():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.head2 = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    model = Two()
    assert list(PartOfModel(model, LOSS, "head").start(meta_of(model))) == ["head.weight", "head.bias"]


def test_a_part_that_is_everything_leaves_no_context():
    model = make_mlp()
    learner = PartOfModel(model, LOSS, lambda name: True)
    assert learner.context(meta_of(model)) == {}


def test_proximal_adds_the_anchor_to_the_inner_loss_only():
    model = make_mlp()
    plain, meta = WholeModel(model, LOSS), meta_of(model)
    anchored = Proximal(plain, strength=3.0)
    batch = Batch(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
    away = tree.map(lambda p: p + 0.5, plain.start(meta))
    count = sum(p.numel() for p in model.parameters())
    difference = anchored.support_loss(away, meta, batch) - plain.support_loss(away, meta, batch)
    assert difference.item() == pytest.approx(1.5 * 0.25 * count, rel=1e-5)
    assert anchored.query_loss(away, meta, batch)[0] == plain.query_loss(away, meta, batch)[0]
    assert tree.absent(anchored.context(meta), meta) == []


def test_metrics_are_measured_on_predictions_and_targets():
    model = make_mlp()
    learner = WholeModel(model, LOSS, metrics={"mse": lambda p, t: F.mse_loss(p, F.one_hot(t, 3).float())})
    batch = Batch(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
    loss, metrics = learner.query_loss(learner.start(meta_of(model)), meta_of(model), batch)
    assert torch.allclose(loss, LOSS(model(batch.inputs), batch.targets))
    assert torch.allclose(metrics["mse"], F.mse_loss(model(batch.inputs), F.one_hot(batch.targets, 3).float()))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: PartOfModel(m, LOSS, "tail"), ValueError, "adapts='tail' matches no trainable parameter of MLP"),
        (lambda m: PartOfModel(m, LOSS, lambda name: False), ValueError, "adapts selects no trainable parameter"),
        (lambda m: PartOfModel(m, LOSS, []), ValueError, "adapts selects no trainable parameter"),
        (lambda m: Proximal(WholeModel(m, LOSS), 0.0), ValueError, "strength must be greater than 0"),
        (lambda m: WholeModel("mlp", LOSS), TypeError, "model must be a torch.nn.Module, got str"),
        (lambda m: WholeModel(m, "mse"), TypeError, "loss must be a function"),
        (lambda m: PartOfModel(m.requires_grad_(False), LOSS, "layers.2"), ValueError, "no trainable parameter"),
    ],
)
def test_arguments_that_make_no_sense(make, error, message):
    with pytest.raises(error, match=message):
        make(make_mlp())
