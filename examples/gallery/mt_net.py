"""MT-net: learned square layers stay fixed within a task, and a random mask says which units adapt.

Lee and Choi 2018, arXiv:1801.05558. The gradient of a hard mask is
taken to be that of the soft one (straight through).
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from problem import WAYS, WIDTH, transformed

import metagrad


@dataclass(frozen=True)
class Masked(metagrad.UpdateRule):
    """φ⁺ = φ − α·mask∘g, one entry of the mask a unit; the noise stays the same for all steps of a task."""

    noise: dict[str, torch.Tensor] = field(default_factory=lambda: {"0": torch.zeros(WIDTH), "3": torch.zeros(WAYS)})
    lr: float = 0.4

    def initial_meta(self, adapted, num_steps):
        return {"logit": {layer: torch.zeros_like(noise).double() for layer, noise in self.noise.items()}}

    def step(self, state, gradient, meta, k):
        soft = {layer: torch.sigmoid(logit + self.noise[layer]) for layer, logit in meta["logit"].items()}
        mask = {layer: (s > 0.5).to(s) - s.detach() + s for layer, s in soft.items()}
        move = {name: torch.einsum("i,i...->i...", mask[name[0]], g) for name, g in gradient.items()}
        return {"adapted": {name: p - self.lr * move[name] for name, p in state["adapted"].items()}}


def make(estimator):
    return metagrad.MetaLearner(transformed(), F.cross_entropy, Masked(), 5, estimator, adapts=["0", "3"])


def backward(learner, tasks):
    for support, query in map(tasks.take, range(tasks.count)):
        for noise in learner.rule.noise.values():
            noise.uniform_().logit_()  # one mask a task
        loss = F.cross_entropy(learner.unroll(support)(query.inputs), query.targets) / tasks.count
        loss.backward()
