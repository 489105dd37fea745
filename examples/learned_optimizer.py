"""A learned optimizer: a small network makes every inner step, and is trained by the losses along the way.

Run: python examples/learned_optimizer.py
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import metagrad
from metagrad.data.regression import Sinusoids


@dataclass(frozen=True)
class LearnedOptimizer(metagrad.UpdateRule):
    """φ⁺ = φ − 0.01·(m⁺ + net(g, m⁺)), number by number, with m⁺ = 0.9·m + g."""

    net: nn.Module

    def initial_meta(self, adapted, num_steps):
        return dict(self.net.named_parameters())

    def initial_state(self, adapted):
        return {"adapted": adapted, "momentum": metagrad.tree.scale(adapted, 0.0)}

    def step(self, state, gradient, meta, k):
        momentum = metagrad.tree.map(lambda m, g: 0.9 * m + g, state["momentum"], gradient)

        def moved(p, g, m):
            return p - 0.01 * (m + functional_call(self.net, meta, (torch.stack([g, m], dim=-1),)).squeeze(-1))

        return {"adapted": metagrad.tree.map(moved, state["adapted"], gradient, momentum), "momentum": momentum}


def main(meta_steps=100):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 1))
    rule = LearnedOptimizer(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)))
    rule.net[2].load_state_dict({name: torch.zeros_like(p) for name, p in rule.net[2].named_parameters()})
    learner = metagrad.MetaLearner(model, F.mse_loss, rule, 10, metagrad.Exact(), learn_start=False)
    optimizer, draws = torch.optim.Adam(learner.parameters(), lr=0.03), torch.Generator().manual_seed(0)
    held_out = Sinusoids().sample(100, torch.Generator().manual_seed(1))
    before = learner.evaluate(held_out).loss[:, -1].mean().item()
    for _ in range(meta_steps):
        support, query = Sinusoids().sample(1, draws).take(0)
        adapted = learner.unroll(support, stops=[5])
        optimizer.zero_grad()
        sum(F.mse_loss(adapted.at(k)(query.inputs), query.targets) for k in (5, 10)).backward()
        optimizer.step()
    after = learner.evaluate(held_out).loss[:, -1].mean().item()
    print(f"error on new tasks after ten steps of momentum {before:.2f}, of the learned optimizer {after:.2f}")
    return before, after


if __name__ == "__main__":
    main()
