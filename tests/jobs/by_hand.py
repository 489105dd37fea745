"""What a user would write without the library: plain autograd through the inner loop, its graph kept whole."""

import copy
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel


class _Both(nn.Module):
    """Calls a function of (model, batch[, hyper]) with parameters of model and hyper module exchanged."""

    def __init__(self, function, net, hyper):
        super().__init__()
        self.function, self.net, self.hyper = function, copy.deepcopy(net), copy.deepcopy(hyper)

    def forward(self, batch):
        result = self.function(self.net, batch, *([] if self.hyper is None else [self.hyper]))
        return result[0] if isinstance(result, tuple) else result


def unrolled(net, inner, support, steps, step, *, hyper=None, adapts=None, around=None):
    """The inner loop on the tape.

    Args:
        net, hyper: modules, left alone.
        inner: function of (model, batch[, hyper]).
        support: the batch, or a function k ↦ batch.
        steps: K.
        step: (values of what adapts, their gradients, k) ↦ values after step k.
        adapts: predicate on names; None for all.
        around: k ↦ context in which step k is evaluated.

    Returns:
        ({name: start and all else that may be learned}, {name: value after the steps}, function ↦ its value there).
    """
    theta = {f"net.{n}": p.detach().clone().requires_grad_() for n, p in net.named_parameters() if p.requires_grad}
    if hyper is not None:
        theta |= {f"hyper.{n}": p.detach().clone().requires_grad_() for n, p in hyper.named_parameters()}
    around = around or (lambda k: nullcontext())

    def value(function, phi, batch, k):
        with around(k):
            return functional_call(_Both(function, net, hyper), theta | phi, (batch,))

    chosen = (n for n in theta if n.startswith("net."))
    phi = {n: theta[n] for n in chosen if adapts is None or adapts(n.removeprefix("net."))}
    for k in range(steps):
        batch = support(k) if callable(support) else support
        slopes = torch.autograd.grad(
            value(inner, phi, batch, k), list(phi.values()), create_graph=True, allow_unused=True
        )
        slopes = {n: torch.zeros_like(p) if s is None else s for (n, p), s in zip(phi.items(), slopes, strict=True)}
        phi = step(phi, slopes, k)
    return theta, phi, lambda function, batch: value(function, phi, batch, -1)


def by_hand(net, inner, outer, support, query, steps, step, *, also=(), **options):
    """(query loss, {"net.…", "hyper.…" and number in `also`: its gradient}) of one task; arguments as `unrolled`."""
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative, in plain PyTorch neither
        theta, _, measure = unrolled(net, inner, support, steps, step, **options)
        loss, wanted = measure(outer, query), theta | dict(enumerate(also))
        slopes = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    return loss.detach(), {
        n: torch.zeros_like(p) if s is None else s for (n, p), s in zip(wanted.items(), slopes, strict=True)
    }


def check(result, expected, tolerance=1e-9):
    """Require a `MetaGradient` to equal the mean of what `by_hand` gave for each task, relatively as one vector."""
    torch.testing.assert_close(result.loss, torch.stack([loss for loss, _ in expected]), rtol=tolerance, atol=1e-12)
    learned = {
        f"{branch}.{name}": leaf
        for key, branch in (("model", "net"), ("hyper", "hyper"))
        for name, leaf in result.gradient.get(key, {}).items()
    }
    assert learned
    wanted = {n: sum(slopes[n] for _, slopes in expected) / len(expected) for n in learned}
    scale = torch.cat([leaf.flatten() for leaf in wanted.values()]).norm()
    assert scale > 0
    for name, leaf in learned.items():
        error = (leaf - wanted[name]).norm() / scale
        assert error <= tolerance, f"{name}: {error}"


@contextmanager
def one_warning(match):
    """Exactly one warning, which says so."""
    with pytest.warns(RuntimeWarning, match=match) as caught:
        yield
    assert len(caught) == 1
