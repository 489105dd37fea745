"""LoRA: low-rank adapters adapt to each task, and their start is meta-learned; the network below them is frozen.

Run: python examples/lora.py
"""

import torch
import torch.nn.functional as F
from torch import nn

import metagrad

TOKENS, LENGTH, RANK = 12, 24, 2


class LoRA(nn.Module):
    """base(x) + x·A·B with a frozen base."""

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(base.in_features, RANK) / base.in_features**0.5)
        self.lora_b = nn.Parameter(torch.zeros(RANK, base.out_features))

    def forward(self, x):
        return self.base(x) + x @ self.lora_a @ self.lora_b


def next_token(model, batch):
    return F.cross_entropy(model(batch["ids"][:-1]), batch["ids"][1:])


def draw(count, draws):
    """Two texts a task; each token is the one before plus a number that belongs to the task."""
    step = torch.randint(1, 4, (count, 1), generator=draws)
    texts = [(torch.randint(TOKENS, (count, 1), generator=draws) + step * torch.arange(LENGTH)) % TOKENS for _ in "sq"]
    return metagrad.Task(*({"ids": text} for text in texts))


def main(meta_steps=100):
    torch.manual_seed(0)
    embed = nn.Embedding(TOKENS, 16).requires_grad_(False)
    model = nn.Sequential(embed, LoRA(nn.Linear(16, 64)), nn.Tanh(), LoRA(nn.Linear(64, TOKENS)))
    learner = metagrad.MetaLearner(
        model, metagrad.Objective(next_token), metagrad.SGD(lr=1.0), 5, metagrad.Exact(), adapts="*lora*"
    )
    optimizer, draws, losses = torch.optim.Adam(learner.parameters(), lr=0.02), torch.Generator().manual_seed(0), []
    for _ in range(meta_steps):
        optimizer.zero_grad()
        losses.append(learner.backward(draw(8, draws)).loss.mean().item())
        optimizer.step()
    print(f"loss on the second text {losses[0]:.2f} → {losses[-1]:.2f}")
    return losses


if __name__ == "__main__":
    main()
