"""Meta-train your own module: any torch model, any torch optimizer, one argument for the estimator.

Run: python examples/your_model.py
"""

import torch
import torch.nn.functional as F
from torch import nn

import metagrad
from metagrad.tasks.regression import Sinusoids

META_STEPS = 300


class TwoLayers(nn.Module):
    """Stands for your own model: one input tensor in, predictions out."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(1, 64), nn.Linear(64, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.hidden(inputs)))


def main(meta_steps: int = META_STEPS) -> tuple[float, float]:
    torch.manual_seed(0)
    learner = metagrad.MetaLearner(
        TwoLayers(),
        F.mse_loss,
        rule=metagrad.LearnedRates(lr=0.02, per="tensor"),  # Meta-SGD, one rate for each tensor
        num_steps=5,
        estimator=metagrad.Binomial(order=2),  # or Exact(), FirstOrder(), Truncated(window=2), …
    )
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    tasks, draws = Sinusoids(), torch.Generator().manual_seed(1)
    for step in range(meta_steps):
        optimizer.zero_grad()
        result = learner.backward(tasks.sample(16, draws))
        optimizer.step()
        if step % 100 == 0:
            print(f"meta-step {step:4d}   query loss after adaptation {result.loss.mean():.3f}")

    held_out = learner.evaluate(tasks.sample(200, draws)).loss.mean(dim=0)
    print("held-out mean squared error after 0…5 inner steps:", " ".join(f"{value:.2f}" for value in held_out))
    print("learned rates:", {name: round(rate.item(), 4) for name, rate in learner.learned_rates().items()})
    return held_out[0].item(), held_out[-1].item()


if __name__ == "__main__":
    main()
