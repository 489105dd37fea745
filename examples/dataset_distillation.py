"""Dataset distillation: one example a class is learned, such that ten steps on those alone train the network.

Run: python examples/dataset_distillation.py
"""

import torch
import torch.nn.functional as F
from torch import nn

import metagrad
from metagrad.networks import accuracy

CLASSES, FEATURES = 5, 16


class Distilled(nn.Module):
    """One example of each class."""

    def __init__(self):
        super().__init__()
        self.examples = nn.Parameter(torch.randn(CLASSES, FEATURES))


def on_distilled(model, batch, distilled):
    return F.cross_entropy(model(distilled.examples), torch.arange(CLASSES))


def on_real(model, batch, distilled):
    logits = model(batch.inputs)
    return F.cross_entropy(logits, batch.targets), {"accuracy": accuracy(logits, batch.targets)}


def main(meta_steps=60):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 32), nn.Tanh(), nn.Linear(32, CLASSES))
    labels = torch.arange(CLASSES).repeat(40)
    real = metagrad.Batch(torch.randn(CLASSES, FEATURES)[labels] + 0.8 * torch.randn(len(labels), FEATURES), labels)
    objective, rule = metagrad.Objective(on_distilled, outer=on_real), metagrad.SGD(lr=metagrad.Learned(0.1))
    learner = metagrad.MetaLearner(model, objective, rule, 10, metagrad.Exact(), hyper=Distilled(), learn_start=False)
    optimizer, results = torch.optim.Adam(learner.parameters(), lr=0.05), []
    for _ in range(meta_steps):
        optimizer.zero_grad()
        results.append(learner.backward([metagrad.Task(real, real)]))
        optimizer.step()
    losses, hits = [r.loss.item() for r in results], results[-1].metrics["accuracy"].item()
    print(f"loss on real data {losses[0]:.2f} → {losses[-1]:.2f}, accuracy {hits:.2f}")
    return losses


if __name__ == "__main__":
    main()
