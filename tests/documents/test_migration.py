"""The code of other libraries on the migration pages, and ours beside it, give the same meta-gradients."""

import importlib.util

import pytest
import torch
from torch.nn.functional import mse_loss

from documents.pages import DOCS, name, python
from metagrad import Batch, Task
from oracle import exact_meta_gradient

PEERS = {"from-higher.md": "higher", "from-torchopt.md": "torchopt", "from-learn2learn.md": "learn2learn"}
HOW_TO_GET = {
    "higher": "pip install -c constraints.txt '.[peers]'",
    "torchopt": "pip install -c constraints.txt '.[peers]'",
    "learn2learn": "its last release, 0.2.0, has no wheel and does not build with current compilers",
}
GUIDES = [DOCS / "how-to" / page for page in PEERS]
TOLERANCE = 1e-10


def gradient_after(code, names, page):
    """The mean meta-gradient that a block leaves in `.grad` of the page's model, by parameter name."""
    names["model"].zero_grad(set_to_none=True)
    exec(compile(code, name(page), "exec"), names)
    return {parameter: value.grad.clone() for parameter, value in names["model"].named_parameters()}


def assert_equal(first, second):
    assert set(first) == set(second)
    for parameter in first:
        scale = second[parameter].abs().max()
        assert (first[parameter] - second[parameter]).abs().max() <= TOLERANCE * scale, parameter


def prepared(page):
    names: dict[str, object] = {}
    problem, *pairs = python(page)
    exec(compile(problem, name(page), "exec"), names)
    return names, list(zip(pairs[::2], pairs[1::2], strict=True))


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_theirs_and_ours_are_equal(page):
    peer = PEERS[page.name]
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed: {HOW_TO_GET[peer]}")
    names, pairs = prepared(page)
    for theirs, ours in pairs:
        assert_equal(gradient_after(ours, names, page), gradient_after(theirs, names, page))


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_ours_is_plain_autograd_through_the_loop(page):
    """The first block of ours on each page is MAML; so it can be tested where the peer is missing."""
    names, ((_, ours), *_) = prepared(page)
    tasks = names["tasks"]
    each = [Task(*(Batch(*(leaf[t] for leaf in part)) for part in tasks)) for t in range(4)]
    gradients = [exact_meta_gradient(names["model"], mse_loss, task, lr=0.01, steps=5)[1] for task in each]
    mean = {parameter: torch.stack([g[parameter] for g in gradients]).mean(0) for parameter in gradients[0]}
    assert_equal(gradient_after(ours, names, page), mean)
