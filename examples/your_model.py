"""Meta-train your own module: any torch model, any torch optimizer, one argument for the estimator.

Run: python examples/your_model.py
"""

import torch
import torch.nn.functional as F
from torch import nn

import metagrad
from metagrad.data.regression import Sinusoids

META_STEPS = 500


class YourModel(nn.Module):
    """Stands for your own model: one input tensor in, predictions out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(1, 40), nn.Linear(40, 40), nn.Linear(40, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.out(F.relu(self.second(F.relu(self.first(inputs)))))


def main(meta_steps: int = META_STEPS) -> tuple[float, float]:
    torch.manual_seed(0)
    learner = metagrad.MetaLearner(
        YourModel(),
        F.mse_loss,
        rule=metagrad.SGD(lr=0.01, momentum=0.5),  # or SGD(lr=0.01), or SGD(lr=Learned(0.01, "element")) for Meta-SGD
        num_steps=5,
        estimator=metagrad.Exact(),  # or FirstOrder(), Truncated(window=2), Binomial(order=2), …
    )
    optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
    tasks, draws = Sinusoids(), torch.Generator().manual_seed(1)
    held_out = tasks.sample(200, torch.Generator().manual_seed(2))
    for step in range(meta_steps):
        optimizer.zero_grad()
        learner.backward(tasks.sample(16, draws))
        optimizer.step()
        if step % 100 == 0:
            error = learner.evaluate(held_out).loss[:, -1].mean()
            print(f"meta-step {step:4d}   held-out error after adaptation {error:.3f}")

    errors = learner.evaluate(held_out).loss.mean(dim=0)
    print("held-out mean squared error after 0…5 inner steps:", " ".join(f"{error:.2f}" for error in errors))
    return errors[0].item(), errors[-1].item()


if __name__ == "__main__":
    main()
