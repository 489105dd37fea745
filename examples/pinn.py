"""A physics-informed network: the inner loss differentiates the network with respect to its inputs.

The equations u′ = −a·u with u(0) = 1 are a family of tasks, one for each a. Run: python examples/pinn.py
"""

import torch
from torch import nn

import metagrad


def residual(model, batch):
    """How far u is from its equation at the points x, and from its value at 0; no solution is looked at."""
    x, a = batch["x"], batch["a"]
    u, slope = torch.func.jvp(model, (x,), (torch.ones_like(x),))
    return (slope + a * u).square().mean() + (model(torch.zeros(1, 1)) - 1).square().mean()


def error(model, batch):
    return (model(batch["x"]) - torch.exp(-batch["a"] * batch["x"])).square().mean()


def draw(count, draws):
    x = torch.rand(count, 20, 1, generator=draws) * 2
    a = 0.5 + 1.5 * torch.rand(count, 1, generator=draws)
    return metagrad.Task({"x": x, "a": a}, {"x": x, "a": a})


def main(meta_steps=100):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 1))
    learner = metagrad.MetaLearner(
        model, metagrad.Objective(residual, outer=error), metagrad.SGD(lr=0.05), 5, metagrad.Exact()
    )
    optimizer, draws = torch.optim.Adam(learner.parameters(), lr=0.01), torch.Generator().manual_seed(0)
    losses = []
    for _ in range(meta_steps):
        optimizer.zero_grad()
        losses.append(learner.backward(draw(8, draws)).loss.mean().item())
        optimizer.step()
    print(f"squared error after five steps {losses[0]:.3f} → {losses[-1]:.4f}")
    return losses


if __name__ == "__main__":
    main()
