"""MAML with `higher`, as in its own few-shot example: one `innerloop_ctx` for each task."""

import higher
import torch

from benchmarks.contenders.base import Setup
from benchmarks.contenders.on_torch import OnTorch


class WithHigher(OnTorch):
    """One task after another, the whole inner loop in one graph."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.inner = torch.optim.SGD(self.model.parameters(), lr=setup.problem.lr)

    def run(self) -> None:
        """One mean meta-gradient."""
        self.forget()
        for support_inputs, support_targets, query_inputs, query_targets in self.each:
            with higher.innerloop_ctx(self.model, self.inner, copy_initial_weights=False, track_higher_grads=True) as (
                model,
                inner,
            ):
                for _ in range(self.problem.steps):
                    inner.step(self.loss(model(support_inputs), support_targets))
                (self.loss(model(query_inputs), query_targets) / self.problem.tasks).backward()


def prepare(setup: Setup) -> WithHigher:
    return WithHigher(setup)
