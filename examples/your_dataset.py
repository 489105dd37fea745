"""Few-shot episodes from any labelled dataset, and ANIL: only the head adapts.

The dataset here is made on the spot (striped images, one angle for each class); put your own map-style
`torch.utils.data.Dataset` of (image, label) pairs in its place.

Run: python examples/your_dataset.py
"""

import math

import torch
import torch.nn.functional as F
from torch.utils.data import Dataset, TensorDataset

import metagrad
from metagrad.data.images import ImageEpisodes
from metagrad.data.pools import ClassPool, split
from metagrad.networks import Conv4, accuracy

CLASSES, PER_CLASS, SIZE = 40, 12, 16
META_STEPS = 60


def striped_images() -> Dataset[tuple[torch.Tensor, ...]]:
    """Stripes at an angle that depends on the class, at a random phase, under noise. Images [1, SIZE, SIZE]."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    angle = math.pi * labels / CLASSES
    phase = 2 * math.pi * torch.rand(len(labels), generator=draws)
    grid = torch.linspace(-6, 6, SIZE)
    along = angle.cos()[:, None, None] * grid[:, None] + angle.sin()[:, None, None] * grid
    stripes = 0.5 + 0.5 * (along + phase[:, None, None]).sin()
    noise = 0.1 * torch.randn(stripes.shape, generator=draws)
    return TensorDataset((stripes + noise).clamp(0, 1).unsqueeze(1), labels)


def main(meta_steps: int = META_STEPS) -> float:
    torch.manual_seed(0)
    # Classes of one split never appear in another.
    pool = ClassPool.from_dataset(striped_images())
    order = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(1)).tolist()
    pools = split(pool, train=order[:28], validation=order[28:32], test=order[32:])
    train, test = (ImageEpisodes(part, ways=4, shots=1, queries=5) for part in (pools.train, pools.test))

    learner = metagrad.MetaLearner(
        Conv4(ways=4, filters=16, size=SIZE),
        F.cross_entropy,
        rule=metagrad.SGD(lr=0.5),
        num_steps=5,
        estimator=metagrad.Exact(),  # products of the head alone are cheap: no need to approximate
        adapts="head",
        metrics={"accuracy": accuracy},
    )
    optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
    draws = torch.Generator().manual_seed(2)
    for step in range(meta_steps):
        optimizer.zero_grad()
        result = learner.backward(train.sample(8, draws))
        optimizer.step()
        if step % 20 == 0:
            print(f"meta-step {step:3d}   accuracy after adaptation {result.metrics['accuracy'].mean():.2f}")

    held_out = learner.evaluate(test.sample(100, draws)).metrics["accuracy"].mean(dim=0)
    print("new classes, accuracy after 0…5 inner steps:", " ".join(f"{value:.2f}" for value in held_out))
    return held_out[-1].item()


if __name__ == "__main__":
    main()
