"""Weights of examples through 1,000 steps of AdamW on fresh minibatches, with a few states in memory.

Run: python examples/long_training.py
"""

import torch
from torch import nn

import metagrad

STEPS, EXAMPLES, BATCH = 1000, 64, 8


class Weights(nn.Module):
    """A weight in (0, 2) for each training example, at first 1."""

    def __init__(self):
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(EXAMPLES))


def weighted(model, batch, weights):
    gap = (model(batch["x"]) - batch["y"]).square().squeeze(-1)
    return (2 * weights.logit[batch["index"]].sigmoid() * gap).mean()


def main(meta_steps=3):
    torch.manual_seed(0)
    x = torch.randn(2 * EXAMPLES, 10)
    y = x.sum(dim=-1, keepdim=True) + torch.randn(2 * EXAMPLES, 1) * 3
    order = torch.randint(EXAMPLES, (STEPS, BATCH))
    rule, kept = metagrad.AdamW(lr=0.02, weight_decay=0.01), metagrad.Logarithmic()
    learner = metagrad.MetaLearner(
        nn.Linear(10, 1), metagrad.Objective(weighted), rule, STEPS, metagrad.Exact(), hyper=Weights(),
        learn_start=False, trajectory=kept,
    )  # fmt: skip
    optimizer, losses = torch.optim.Adam(learner.parameters(), lr=1.0), []
    for _ in range(meta_steps):
        trained = learner.unroll(lambda k: {"x": x[order[k]], "y": y[order[k]], "index": order[k]})
        loss = (trained(x[EXAMPLES:]) - y[EXAMPLES:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"validation loss {losses[0]:.3f} → {losses[-1]:.3f}, {kept.cost(STEPS).states} of {STEPS + 1} states held")
    return losses


if __name__ == "__main__":
    main()
