"""The meta-gradient by plain autograd through the whole inner loop: nothing of the library but the task tuples."""

import copy

import torch
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel


def exact_meta_gradient(model, loss, task, *, lr, steps, adapts=None, proximal=0.0, momentum=0.0, nesterov=False):
    """One task. `lr` is a number, a tensor, or a dict of tensors; returns (query loss, {name: grad}, [grads of lr])."""
    theta = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters() if p.requires_grad}
    adapted_names = [n for n in theta if adapts is None or adapts(n)]
    rates = {n: lr[n] if isinstance(lr, dict) else lr for n in adapted_names}
    phi = {n: theta[n] for n in adapted_names}
    velocity = {n: torch.zeros_like(p) for n, p in phi.items()}

    def value(phi, batch):
        with sdpa_kernel(SDPBackend.MATH):
            # A fresh copy: torch does not restore a module that is registered under two names.
            predictions = functional_call(copy.deepcopy(model), theta | phi, (batch.inputs,))
            return loss(predictions, batch.targets)

    for _ in range(steps):
        inner = value(phi, task.support)
        inner = inner + proximal / 2 * sum(((phi[n] - theta[n]) ** 2).sum() for n in phi)
        gradients = dict(zip(phi, torch.autograd.grad(inner, list(phi.values()), create_graph=True), strict=True))
        velocity = {n: momentum * velocity[n] + gradients[n] for n in phi}
        move = {n: gradients[n] + momentum * velocity[n] for n in phi} if nesterov else velocity
        phi = {n: phi[n] - rates[n] * move[n] for n in phi}
    query = value(phi, task.query)
    learned = [r for r in (lr.values() if isinstance(lr, dict) else [lr]) if isinstance(r, torch.Tensor)]
    wanted = [*theta.values(), *learned]
    gradients = torch.autograd.grad(query, wanted, allow_unused=True)
    gradients = [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, gradients, strict=True)]
    return query.detach(), dict(zip(theta, gradients, strict=False)), gradients[len(theta) :]
