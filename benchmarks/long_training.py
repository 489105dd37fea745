"""1,000 steps of AdamW on fresh minibatches, differentiated with respect to a weight of every example of every step.

A causal transformer is trained once by plain PyTorch, then once more with its validation loss differentiated through
the whole training run. Printed: both times, their ratio, and the states that are held.

Run: python -m benchmarks.long_training [--steps 1000] [--width 128] [--layers 4] [--batch 4] [--tokens 128]
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metagrad import AdamW, Exact, Logarithmic, MetaLearner, Objective, SquareRoot, Stored
from metagrad.inner.trajectory import Trajectory

LR, DECAY = 1e-3, 0.01
TRAJECTORIES: dict[str, Trajectory] = {"stored": Stored(), "square-root": SquareRoot(), "logarithmic": Logarithmic()}


@dataclass(frozen=True)
class Sizes:
    """Of the model and of its training."""

    steps: int = 1000
    width: int = 128
    layers: int = 4
    batch: int = 4
    tokens: int = 128
    vocabulary: int = 64


class Causal(nn.Module):
    """Tokens [N, L] to logits of the next one [N, L, vocabulary]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embed = nn.Embedding(sizes.vocabulary, sizes.width)
        self.at = nn.Parameter(0.1 * torch.randn(sizes.tokens, sizes.width))
        layer = nn.TransformerEncoderLayer(
            sizes.width, 4, 4 * sizes.width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, sizes.layers, enable_nested_tensor=False)
        self.head = nn.Linear(sizes.width, sizes.vocabulary)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(sizes.tokens))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits."""
        length = tokens.shape[1]
        hidden = self.embed(tokens) + self.at[:length]
        return self.head(self.blocks(hidden, mask=self.mask[:length, :length], is_causal=True))


class Weights(nn.Module):
    """A log weight for every example of every step."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.zeros(sizes.steps, sizes.batch))


def each_loss(model: nn.Module, text: Tensor) -> Tensor:
    """The loss of every example [N]."""
    logits = model(text[:, :-1])
    return F.cross_entropy(logits.transpose(1, 2), text[:, 1:], reduction="none").mean(dim=1)


def weighted(model: nn.Module, batch: Any, weights: Weights) -> Tensor:
    """What a step descends."""
    return (weights.log[batch["step"]].exp() * each_loss(model, batch["text"])).mean()


def text_of(sizes: Sizes, step: int) -> Tensor:
    """The minibatch of a step: counting with a random stride, with noise."""
    draw = torch.Generator().manual_seed(step)
    start, stride = (torch.randint(sizes.vocabulary, (sizes.batch, 1), generator=draw) for _ in range(2))
    text = (start + stride * torch.arange(sizes.tokens + 1)) % sizes.vocabulary
    noise = torch.rand(text.shape, generator=draw) < 0.1
    return torch.where(noise, torch.randint(sizes.vocabulary, text.shape, generator=draw), text)


def train(model: nn.Module, sizes: Sizes) -> float:
    """One plain training run; seconds of work."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY)
    began = time.process_time()
    for k in range(sizes.steps):
        optimizer.zero_grad()
        each_loss(model, text_of(sizes, k)).mean().backward()
        optimizer.step()
    return time.process_time() - began


def differentiate(model: nn.Module, sizes: Sizes, trajectory: Trajectory) -> tuple[float, Tensor]:
    """The same run with the gradient of the validation loss on every weight; seconds of work, and that gradient."""
    weights = Weights(sizes)
    learner = MetaLearner(
        model,
        Objective(weighted),
        AdamW(lr=LR, weight_decay=DECAY),
        sizes.steps,
        Exact(),
        hyper=weights,
        learn_start=False,
        trajectory=trajectory,
    )
    began = time.process_time()
    trained = learner.unroll(lambda k: {"step": torch.tensor(k), "text": text_of(sizes, k)})
    each_loss(trained.model, text_of(sizes, sizes.steps)).mean().backward()
    return time.process_time() - began, weights.log.grad  # pyright: ignore[reportReturnType]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in vars(Sizes()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--trajectory", choices=TRAJECTORIES, default="square-root")
    given = vars(parser.parse_args())
    trajectory, sizes = TRAJECTORIES[given.pop("trajectory")], Sizes(**given)
    torch.manual_seed(0)
    start = Causal(sizes)
    copy = Causal(sizes)
    copy.load_state_dict(start.state_dict())
    count = sum(p.numel() for p in start.parameters())
    plain = train(copy, sizes)
    print(f"plain training of {count:,} parameters, {sizes.steps:,} steps: {plain:.1f} s")
    through, _ = differentiate(start, sizes, trajectory)
    cost = trajectory.cost(sizes.steps)
    print(
        f"with the gradient through it, {trajectory!r}: {through:.1f} s, {through / plain:.2f} times as long; "
        f"{cost.states} states and {cost.gradients} gradients held, {cost.recomputed} steps taken again"
    )


if __name__ == "__main__":
    main()
