"""Weights of training examples, learned through 20 steps of training: wrong labels lose theirs.

Run: python examples/data_weights.py
"""

import torch
import torch.nn.functional as F
from torch import nn

import metagrad

EXAMPLES, WRONG = 60, 20


class Weights(nn.Module):
    """A weight in (0, 1) for each training example, at first 1/2."""

    def __init__(self):
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(EXAMPLES))


def weighted(model, batch, weights):
    return (weights.logit.sigmoid() * F.cross_entropy(model(batch["x"]), batch["y"], reduction="none")).mean()


def clean(model, batch, weights):
    return F.cross_entropy(model(batch["x"]), batch["y"])


def main(meta_steps=40):
    torch.manual_seed(0)
    model, weights = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)), Weights()
    x = torch.randn(EXAMPLES + 40, 2)
    y = (x[:, 0] * x[:, 1] > 0).long()
    given = torch.cat([1 - y[:WRONG], y[WRONG:EXAMPLES]])  # the first labels are wrong
    task = metagrad.Task({"x": x[:EXAMPLES], "y": given}, {"x": x[EXAMPLES:], "y": y[EXAMPLES:]})
    objective, rule = metagrad.Objective(weighted, outer=clean), metagrad.SGD(lr=1.0, momentum=0.9)
    learner = metagrad.MetaLearner(model, objective, rule, 20, metagrad.Exact(), hyper=weights, learn_start=False)
    optimizer, losses = torch.optim.Adam(learner.parameters(), lr=0.3), []
    for _ in range(meta_steps):
        optimizer.zero_grad()
        losses.append(learner.backward([task]).loss.item())
        optimizer.step()
    wrong, right = weights.logit.sigmoid().detach().split([WRONG, EXAMPLES - WRONG])
    print(f"validation loss {losses[0]:.2f} → {losses[-1]:.2f}")
    print(f"mean weight {wrong.mean():.2f} where the label is wrong, {right.mean():.2f} where it is right")
    return losses, wrong.mean().item(), right.mean().item()


if __name__ == "__main__":
    main()
