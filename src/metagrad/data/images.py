"""N-way K-shot episodes, drawn from a pool of classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metagrad import checks
from metagrad.data.pools import ClassPool
from metagrad.task import Batch, Task


@dataclass(frozen=True)
class ImageEpisodes:
    """N-way K-shot classification episodes: each task has `ways` different classes of the pool, labelled at random.

    Inputs are [T, ways·shots, C, H, W] and [T, ways·queries, C, H, W], on `device`; uint8 images are divided
    by 255, floating ones left as they are, and then (x − mean)/std is taken of either. Targets are int64
    [T, ways·shots] and [T, ways·queries], in 0 … ways − 1, way after way. No image is both in support and in query.

    Args:
        pool: where classes come from.
        ways: N, classes of a task.
        shots: K, support images of a class.
        queries: query images of a class.
        mean: subtracted from every input, or from each channel.
        std: divided by after that; positive.
        dtype: floating dtype of inputs.
        device: where episodes are put, and their images converted; None for the pool's device.

    Raises:
        TypeError: a count is not an integer, or `dtype` is not floating.
        ValueError: `ways` is below 2 or more than the pool's classes, a class has fewer than shots + queries images, or
            `mean` and `std` do not fit the channels.

    Example:
        >>> pool = ClassPool(torch.rand(60, 1, 28, 28), labels=torch.arange(60) % 6)  # 6 classes of 10 images
        >>> task = ImageEpisodes(pool, ways=5, shots=1, queries=3).sample(4, torch.Generator().manual_seed(0))
        >>> task.support.inputs.shape, task.query.targets.shape
        (torch.Size([4, 5, 1, 28, 28]), torch.Size([4, 15]))
    """

    pool: ClassPool
    ways: int
    shots: int
    queries: int
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    dtype: torch.dtype = torch.float32
    device: torch.device | None = None

    def __post_init__(self) -> None:
        checks.integer("ways", self.ways, least=2)
        checks.integer("shots", self.shots, least=1)
        checks.integer("queries", self.queries, least=1)
        if self.ways > len(self.pool):
            raise ValueError(
                f"{self.ways} ways need {self.ways} classes, and there are {len(self.pool)}; take fewer ways"
            )
        smallest = int(self.pool.counts.argmin())
        images = int(self.pool.counts[smallest])
        if self.shots + self.queries > images:
            raise ValueError(
                f"shots={self.shots} and queries={self.queries} need {self.shots + self.queries} images of a class, "
                f"and class {self.pool.names[smallest]!r} has {images}; take fewer, or leave the class out"
            )
        if not self.dtype.is_floating_point:
            raise TypeError(f"dtype must be a floating dtype such as torch.float32, got {self.dtype}")
        for name, values, above in (("mean", self.mean, None), ("std", self.std, 0)):
            channels = values if isinstance(values, tuple) else (values,)
            for value in channels:
                checks.number(name, value, above=above)
            if len(channels) not in (1, self.pool.image_shape[0]):
                raise ValueError(
                    f"{name} must be one number or one for each of {self.pool.image_shape[0]} channels, "
                    f"got {len(channels)}"
                )

    def sample(self, count: int, generator: torch.Generator) -> Task:
        """Draw `count` episodes; the draws depend on the generator alone, wherever the pool is.

        Cost: a fixed number of tensor operations, whatever `count`; besides the episodes, `count` · (classes of the
        pool + ways · images of its largest class) random numbers.

        Raises:
            TypeError: `count` is not an integer.
            ValueError: `count` is below 1.
        """
        checks.integer("count", count, least=1)
        device = generator.device
        # The largest of independent uniforms are a uniform draw without replacement, for all tasks and classes at once.
        order = torch.rand(count, len(self.pool), generator=generator, device=device)
        classes = order.topk(self.ways, dim=-1).indices.cpu()
        sizes = self.pool.counts[classes].unsqueeze(-1)
        largest = int(self.pool.counts.max())
        priority = torch.rand(count, self.ways, largest, generator=generator, device=device).cpu()
        priority = priority.masked_fill(torch.arange(largest) >= sizes, -1.0)
        positions = priority.topk(self.shots + self.queries, dim=-1).indices
        images = self.pool.take(classes, positions).to(self.device or self.pool.device)
        return Task(support=self._batch(images[:, :, : self.shots]), query=self._batch(images[:, :, self.shots :]))

    def _batch(self, images: Tensor) -> Batch:
        count, ways, examples = images.shape[:3]
        inputs = images.to(self.dtype)
        if images.dtype == torch.uint8:
            inputs /= 255  # in place: the conversion has made a copy
        if (self.mean, self.std) != (0.0, 1.0):
            inputs = (inputs - self._per_channel(self.mean, inputs)) / self._per_channel(self.std, inputs)
        targets = torch.arange(ways, device=images.device).repeat_interleave(examples)
        return Batch(inputs.flatten(1, 2), targets.repeat(count, 1))

    def _per_channel(self, values: float | tuple[float, ...], like: Tensor) -> Tensor:
        channels = torch.as_tensor(values, dtype=like.dtype, device=like.device)
        return channels.reshape(-1, *[1] * (len(self.pool.image_shape) - 1))
