"""MAML as learn2learn does it: clone the parameters, step with `autograd.grad(create_graph=True)`, call functionally.

In float64 this is the reference that every contender must agree with.
"""

import torch
from torch.func import functional_call

from benchmarks.contenders.base import Setup
from benchmarks.contenders.on_torch import OnTorch


class PlainLoop(OnTorch):
    """One task after another, the whole inner loop in one graph."""

    def run(self) -> None:
        """One mean meta-gradient."""
        self.forget()
        for support_inputs, support_targets, query_inputs, query_targets in self.each:
            fast = {name: parameter.clone() for name, parameter in self.parameters.items()}
            for _ in range(self.problem.steps):
                loss = self.loss(functional_call(self.model, fast, support_inputs), support_targets)
                gradients = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
                fast = {
                    name: value - self.problem.lr * gradient
                    for (name, value), gradient in zip(fast.items(), gradients, strict=True)
                }
            query_loss = self.loss(functional_call(self.model, fast, query_inputs), query_targets)
            (query_loss / self.problem.tasks).backward()


def prepare(setup: Setup) -> PlainLoop:
    return PlainLoop(setup)
