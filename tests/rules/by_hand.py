"""Update rules as plain code: steps of (values by name, gradients, k), which start anew at k = 0.

A setting is a number, or a function (name of the parameter, k) ↦ number or tensor.
"""

import torch


def _at(setting, name, k):
    return setting(name, k) if callable(setting) else setting


def _root(x):
    """√x; at zero it has no derivative, and gets none."""
    return torch.where(x > 0, torch.where(x > 0, x, 1.0).sqrt(), 0.0)


def _by_parameter(one, names):
    """Each parameter moved by itself: `one` takes (setting ↦ its number, value, gradient, k, state before)."""
    kept = {}

    def step(phi, slopes, k):
        after = {}
        for n, p in phi.items():
            before = [torch.zeros_like(p)] * names if k == 0 else kept[n]
            after[n], *kept[n] = one(lambda setting, n=n: _at(setting, n, k), p, slopes[n], k, *before)
        return after

    return step


def sgd(lr, momentum=0.0, nesterov=False, decay=0.0):
    def one(at, p, g, k, v):
        g = g + at(decay) * p
        v = at(momentum) * v + g
        return p - at(lr) * (g + at(momentum) * v if nesterov else v), v

    return _by_parameter(one, 1)


def adam(lr, betas=(0.9, 0.999), eps=1e-8, decay=0.0, root=0.0, decoupled=False):
    def one(at, p, g, k, m, v):
        if decoupled:
            p = p * (1 - at(lr) * at(decay))
        else:
            g = g + at(decay) * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2
        lead, lag = m / (1 - betas[0] ** (k + 1)), v / (1 - betas[1] ** (k + 1))
        return p - at(lr) * lead / (_root(lag + at(root)) + at(eps)), m, v

    return _by_parameter(one, 2)


def adamw(lr, decay=0.01, **options):
    return adam(lr, decay=decay, decoupled=True, **options)


def rmsprop(lr, alpha=0.99, eps=1e-8, decay=0.0, momentum=0.0, centered=False):
    def one(at, p, g, k, v, m, b):
        g = g + at(decay) * p
        v = at(alpha) * v + (1 - at(alpha)) * g**2
        m = at(alpha) * m + (1 - at(alpha)) * g if centered else m
        b = at(momentum) * b + g / (_root(v - m**2) + at(eps))
        return p - at(lr) * b, v, m, b

    return _by_parameter(one, 3)


def clipped(max_norm, step):
    """Another step on gradients whose norm over all parameters is at most that."""

    def shortened(phi, slopes, k):
        norm = _root(sum(g.square().sum() for g in slopes.values()))
        factor = (_at(max_norm, None, k) / (norm + 1e-6)).clamp(max=1.0)
        return step(phi, {n: factor * g for n, g in slopes.items()}, k)

    return shortened
