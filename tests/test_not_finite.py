"""The message about a meta-gradient that is not finite names the first number that is not, and its own cure."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cases import LOSS, WAYS, make_mlp, make_tasks
from metagrad import SGD, Binomial, Exact, FirstOrder, MetaLearner, UpdateRule, tree
from metagrad.capture import Capture
from metagrad.prepared import NonFiniteError

LAST = torch.finfo(torch.float64).max


def zeroed():
    """Predicts nothing at the start."""
    model = make_mlp()
    nn.init.zeros_(model.layers[2].weight)
    nn.init.zeros_(model.layers[2].bias)
    return model


class Rooted(UpdateRule):
    """Divides by a root that has no derivative where the gradient is zero, as Adam without a root epsilon."""

    def step(self, state, gradient, meta, k):
        moved = tree.map(lambda p, g: p - 0.1 * g / ((g * g).sqrt() + 1e-8), state["adapted"], gradient)
        return {"adapted": moved}


def root(predictions, targets):
    return predictions.square().sum(dim=1).sqrt().sum()


def on_the_second_set(loss):
    """The cross-entropy on support sets, and `loss` on query sets, which have more examples here."""
    return lambda p, t: LOSS(p, t) if len(t) == 6 else loss(p, t)


AT_ZERO = "the derivative of a root, norm or logarithm is infinite at zero"
DIVERGING = ("diverging", "overflowing-step", "query-loss", "overshooting-estimate")
ROWS = {
    "logarithm": (
        make_mlp,
        lambda p, t: -p.clamp(max=0, min=0).log().mean(),
        {},
        "the support loss became inf at inner step 0: nothing has adapted yet: look for a logarithm",
    ),
    "root": (zeroed, root, {}, rf"the inner gradient of layers.0.weight is not finite at inner step 0.*{AT_ZERO}"),
    "norm-once-more": (
        zeroed,
        lambda p, t: p.norm(dim=1).sum() + p.sum(),
        {"steps": 1},
        rf"the curvature on layers\.\d\.\w+ is not finite at inner step 0, while the gradient is: {AT_ZERO}",
    ),
    "cosine": (
        zeroed,
        lambda p, t: (p / p.norm(dim=1, keepdim=True)).square().mean(),
        {},
        "the support loss became nan at inner step 0: nothing has adapted yet.*quotient of zero",
    ),
    "diverging": (
        make_mlp,
        lambda p, t: p.square().mean(),
        {"rule": SGD(1e100)},
        r"the support loss became (inf|nan) at inner step [12]: the inner loop diverges there; a smaller inner lr",
    ),
    "overflowing-step": (
        make_mlp,
        LOSS,
        {"rule": SGD(LAST), "steps": 4},
        r"layers\.\d\.\w+ is not finite after inner step \d: the inner loop diverges|the support loss became",
    ),
    "query-loss": (
        make_mlp,
        on_the_second_set(lambda p, t: (p - p).log().sum()),
        {},
        "the query loss after adaptation is -inf: .*unless it has a logarithm of zero",
    ),
    "query-gradient": (
        make_mlp,
        on_the_second_set(lambda p, t: (p - p).square().sum().sqrt()),
        {},
        rf"the gradient of the query loss on layers\.0\.weight is not finite, while the loss is: {AT_ZERO}",
    ),
    "rule": (
        make_mlp,
        lambda p, t: F.relu(p[:, :1]).square().mean(),
        {"rule": Rooted(), "steps": 1},
        r"the derivative of inner step 0 on layers\.2\.\w+ is not finite: a root or quotient in the update rule",
    ),
    "overshooting-estimate": (
        make_mlp,
        lambda p, t: p.square().mean(),
        {"rule": SGD(1e49), "steps": 3, "estimator": Binomial(1)},
        r"task 0 of 2: ",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_first_that_is_not_finite_is_named_with_its_own_cure(name):
    make, loss, options, message = ROWS[name]
    options = {"rule": SGD(0.1), "steps": 2, "estimator": Exact(), **options}
    learner = MetaLearner(make().double(), loss, options["rule"], options["steps"], options["estimator"])
    with pytest.raises(NonFiniteError, match=rf"task 0 of 2: {message.removeprefix('task 0 of 2: ')}") as caught:
        learner.meta_gradient(make_tasks((4,)))
    assert caught.value.task == 0
    assert ("smaller inner lr" in str(caught.value)) == (name in DIVERGING)


@pytest.mark.parametrize("capture", ["off", "whole"])
def test_a_task_whose_labels_are_all_ignored_is_named(capture):
    tasks = make_tasks((4,), tasks=3)
    tasks.support.targets[1] = -100
    learner = MetaLearner(make_mlp().double(), LOSS, SGD(0.1), 2, FirstOrder())
    learner.capture = Capture(capture, compiler=lambda graph, inputs: graph)
    with pytest.raises(NonFiniteError, match="task 1 of 3: all its support targets are -100, which the loss ignores"):
        learner.meta_gradient(tasks)


def test_the_task_of_an_unequal_list_is_found():
    listed = [make_tasks((4,), 1, support, seed=i).take(0) for i, support in enumerate([3, 6, 3])]
    listed[2].query.targets[:] = -100
    learner = MetaLearner(make_mlp().double(), LOSS, SGD(0.1), 2, Exact())
    with pytest.raises(NonFiniteError, match="task 2 of 3: all its query targets are -100") as caught:
        learner.meta_gradient(listed)
    assert caught.value.task == 2


def dense(labels):
    inputs = torch.randn(2, 6, 1, 4, 4, dtype=torch.float64)
    tasks = make_tasks((1, 4, 4))
    return type(tasks)(*(batch._replace(inputs=inputs, targets=labels.clone()) for batch in tasks))


def test_dense_labels_are_held_against_the_classes():
    """A kernel reads past the end of the logits otherwise, and a GPU loses its context."""
    labels = torch.randint(0, WAYS, (2, 6, 4, 4))
    learner = MetaLearner(nn.Conv2d(1, WAYS, 1).double(), LOSS, SGD(0.1), 2, Exact())
    learner.meta_gradient(dense(labels))
    labels[1, 2, 3, 0] = 255
    with pytest.raises(ValueError, match=r"support targets must lie in 0\.\.2, .* got 255"):
        learner.meta_gradient(dense(labels))
    ignoring = nn.CrossEntropyLoss(ignore_index=255)
    MetaLearner(nn.Conv2d(1, WAYS, 1).double(), ignoring, SGD(0.1), 2, Exact()).meta_gradient(dense(labels))
    with pytest.raises(ValueError, match=r"targets are torch.uint8, .* convert them with .long\(\)"):
        learner.meta_gradient(dense(labels.to(torch.uint8)))


def test_shares_of_classes_are_no_class_numbers():
    tasks = make_tasks((4,))
    shares = type(tasks)(
        *(batch._replace(targets=F.one_hot(batch.targets, WAYS).double() * 0.9 + 0.1 / WAYS) for batch in tasks)
    )
    MetaLearner(make_mlp().double(), LOSS, SGD(0.1), 2, Exact()).meta_gradient(shares)
