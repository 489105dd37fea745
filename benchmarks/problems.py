"""What is computed: data and initial weights from a seed, in numpy alone, the same to the bit for every contender.

Everything is rounded to float32 here, so that a float64 run differs from a float32 one by its arithmetic only.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Arrays(NamedTuple):
    """Tasks with leaves [T, N, ...]."""

    support_inputs: Array
    support_targets: Array
    query_inputs: Array
    query_targets: Array


@dataclass(frozen=True, kw_only=True)
class Sinusoid:
    """MAML's sine waves: y = a·sin(x − p), a in [0.1, 5], p in [0, π], x in [−5, 5]."""

    widths: tuple[int, ...] = (1, 40, 40, 1)
    support: int = 10
    query: int = 10

    def task(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """Support inputs and targets, query inputs and targets of one task."""
        amplitude, phase = rng.uniform(0.1, 5.0), rng.uniform(0.0, np.pi)
        inputs = rng.uniform(-5.0, 5.0, size=(self.support + self.query, 1))
        targets = amplitude * np.sin(inputs - phase)
        cut = self.support
        return inputs[:cut], targets[:cut], inputs[cut:], targets[cut:]

    def layers(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """Parameter name → (shape, fan-in), in the order of `metagrad.networks.MLP`; fan-in 0 for batch norm."""
        shapes: dict[str, tuple[tuple[int, ...], int]] = {}
        for i, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            shapes[f"layers.{2 * i}.weight"] = ((fan_out, fan_in), fan_in)
            shapes[f"layers.{2 * i}.bias"] = ((fan_out,), fan_in)
        return shapes


@dataclass(frozen=True, kw_only=True)
class Images:
    """One noisy Gaussian image per class; the network is `metagrad.networks.Conv4`."""

    size: int
    channels: int
    filters: int
    pooling: Literal["stride", "max"]
    ways: int = 5
    shots: int = 1
    queries: int

    def task(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """Support inputs and targets, query inputs and targets of one task."""
        shape = (self.channels, self.size, self.size)
        prototypes = rng.standard_normal((self.ways, *shape))
        parts: list[Array] = []
        for count in (self.shots, self.queries):
            targets = np.tile(np.arange(self.ways), count)
            parts += [prototypes[targets] + 0.5 * rng.standard_normal((len(targets), *shape)), targets]
        return tuple(parts)

    def layers(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """Parameter name → (shape, fan-in), in the order of `metagrad.networks.Conv4`; fan-in 0 for batch norm."""
        shapes: dict[str, tuple[tuple[int, ...], int]] = {}
        parts = 3 if self.pooling == "stride" else 4
        side = self.size
        for i in range(4):
            channels = self.channels if i == 0 else self.filters
            shapes[f"features.{parts * i}.weight"] = ((self.filters, channels, 3, 3), 9 * channels)
            shapes[f"features.{parts * i}.bias"] = ((self.filters,), 9 * channels)
            shapes[f"features.{parts * i + 1}.weight"] = ((self.filters,), 0)
            shapes[f"features.{parts * i + 1}.bias"] = ((self.filters,), 0)
            side = (side + 1) // 2 if self.pooling == "stride" else side // 2
        inputs = self.filters * side * side
        shapes["head.weight"], shapes["head.bias"] = ((self.ways, inputs), inputs), ((self.ways,), inputs)
        return shapes


# How much smaller than torch's default the head starts.
HEAD = 0.1
# name → (what the tasks and the network are, tasks of a meta-batch)
KINDS: dict[str, tuple[Sinusoid | Images, int]] = {
    "sinusoid": (Sinusoid(), 25),
    "conv28": (Images(size=28, channels=1, filters=64, pooling="stride", queries=5), 4),
    "conv84": (Images(size=84, channels=3, filters=32, pooling="max", queries=15), 4),
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mean meta-gradient: a network, T tasks, K inner steps of gradient descent.

    Args:
        name: one of `KINDS`.
        steps: K.
        tasks: T.
        first: the number of the first task.
        seed: of data and initial weights.
        lr: inner learning rate.
    """

    name: str
    steps: int = 5
    tasks: int
    first: int = 0
    seed: int = 0
    lr: float = 0.01

    @property
    def kind(self) -> Sinusoid | Images:
        """What the tasks and the network are."""
        return KINDS[self.name][0]

    @property
    def parameters(self) -> int:
        """How many numbers the network has."""
        return sum(int(np.prod(shape)) for shape, _ in self.kind.layers().values())

    def data(self) -> Arrays:
        """All tasks; task t depends on the seed and t alone."""
        each = [
            self.kind.task(np.random.default_rng([self.seed, 1, t])) for t in range(self.first, self.first + self.tasks)
        ]
        stacked = [np.stack(leaves) for leaves in zip(*each, strict=True)]
        return Arrays(*(leaf.astype(np.float32) if leaf.dtype.kind == "f" else leaf for leaf in stacked))

    def weights(self) -> dict[str, Array]:
        """As torch draws them by default, uniform in ±1/√(fan-in); the head a tenth of that.

        `MLP` and `Conv4` start their heads at zero, where the layers below have no gradient and the work degenerates.
        """
        rng = np.random.default_rng([self.seed, 0])
        head = list(self.kind.layers())[-2:]
        weights: dict[str, Array] = {}
        for name, (shape, fan_in) in self.kind.layers().items():
            if fan_in:
                reach = (HEAD if name in head else 1.0) / np.sqrt(fan_in)
                values = rng.uniform(-reach, reach, size=shape)
            else:
                values = np.full(shape, 1.0 if name.endswith("weight") else 0.0)
            weights[name] = values.astype(np.float32)
        return weights

    def described(self) -> dict[str, Any]:
        """For JSON: everything that fixes the numbers."""
        return {**asdict(self), "network_and_tasks": asdict(self.kind), "parameters": self.parameters}


def problem(name: str, *, steps: int = 5, tasks: int | None = None, seed: int = 0) -> Problem:
    """A problem by name, with its usual number of tasks unless told."""
    return Problem(name=name, steps=steps, tasks=KINDS[name][1] if tasks is None else tasks, seed=seed)
