"""MAML with TorchOpt, as in its own few-shot example: `MetaSGD`, start extracted once and recovered for each task."""

import torchopt

from benchmarks.contenders.base import Setup
from benchmarks.contenders.on_torch import OnTorch


class WithTorchOpt(OnTorch):
    """One task after another, the whole inner loop in one graph."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.inner = torchopt.MetaSGD(self.model, lr=setup.problem.lr)

    def run(self) -> None:
        """One mean meta-gradient."""
        self.forget()
        start = torchopt.extract_state_dict(self.model, by="reference", detach_buffers=True)
        fresh = torchopt.extract_state_dict(self.inner, by="reference")
        for support_inputs, support_targets, query_inputs, query_targets in self.each:
            for _ in range(self.problem.steps):
                self.inner.step(self.loss(self.model(support_inputs), support_targets))
            (self.loss(self.model(query_inputs), query_targets) / self.problem.tasks).backward()
            torchopt.recover_state_dict(self.model, start)
            torchopt.recover_state_dict(self.inner, fresh)


def prepare(setup: Setup) -> WithTorchOpt:
    return WithTorchOpt(setup)
