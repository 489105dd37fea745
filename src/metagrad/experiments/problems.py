"""What is learned: the task distribution, the model that fits it, its loss and its metrics."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metagrad import checks
from metagrad.models import MLP, Conv4, accuracy
from metagrad.tasks.images import ImageEpisodes
from metagrad.tasks.omniglot import load_omniglot
from metagrad.tasks.pools import MetaSplit
from metagrad.tasks.regression import Sinusoids
from metagrad.tasks.task import TaskSource

DATA_VARIABLE = "METAGRAD_DATA"
"""Environment variable that names the data directory where a configuration does not."""

Measure = Callable[[Tensor, Tensor], Tensor]


def mean_squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean of squared differences, as a 0-d tensor."""
    # Written out: F.mse_loss inside jvp inside two vmaps mistakes the batch axes (torch 2.13).
    return (predictions - targets).square().mean()


class Sources(NamedTuple):
    """Where the tasks of meta-training, validation and test come from."""

    train: TaskSource
    validation: TaskSource
    test: TaskSource


class Problem(Protocol):
    """A task distribution with the model, loss and metrics that go with it; a frozen dataclass of plain values."""

    def model(self) -> nn.Module:
        """A fresh model, initialised from torch's global generator."""
        ...

    def loss(self) -> Measure:
        """Support and query loss, the mean over examples."""
        ...

    def metrics(self) -> Mapping[str, Measure]:
        """What else to measure on the query set."""
        ...

    def sources(self, device: torch.device) -> Sources:
        """Task sources, their data on `device`; ValueError where data are missing or too small."""
        ...


@dataclass(frozen=True, kw_only=True)
class SinusoidRegression:
    """Regression of y = A·sin(x + φ) with a small MLP; needs no files."""

    support: int = field(metadata={"help": "support points of a task"})
    query: int = field(metadata={"help": "query points of a task"})
    amplitude: tuple[float, float] = field(metadata={"help": "range of A"})
    phase: tuple[float, float] = field(metadata={"help": "range of φ (radians)"})
    inputs: tuple[float, float] = field(metadata={"help": "range of x"})
    hidden: tuple[int, ...] = field(metadata={"help": "widths of the hidden layers"})

    def __post_init__(self) -> None:
        self._source()
        for width in self.hidden:
            checks.integer("hidden widths", width, least=1)

    def model(self) -> nn.Module:
        """A ReLU network from x to y."""
        return MLP([1, *self.hidden, 1])

    def loss(self) -> Measure:
        """Mean squared error."""
        return mean_squared_error

    def metrics(self) -> Mapping[str, Measure]:
        """None: the loss says it all."""
        return {}

    def sources(self, device: torch.device) -> Sources:
        """The same endless distribution three times; the seeds keep the tasks apart."""
        source = self._source()
        return Sources(source, source, source)

    def _source(self) -> Sinusoids:
        return Sinusoids(self.support, self.query, self.amplitude, self.phase, self.inputs)


@dataclass(frozen=True, kw_only=True)
class OmniglotClassification:
    """N-way K-shot classification of Omniglot characters with a four-block convolutional network."""

    data: str | None = field(
        metadata={"help": "directory with images_background.zip and images_evaluation.zip, none for $METAGRAD_DATA"}
    )
    ways: int = field(metadata={"help": "classes of a task"})
    shots: int = field(metadata={"help": "support images of a class"})
    queries: int = field(metadata={"help": "query images of a class in meta-training and validation"})
    test_queries: int = field(metadata={"help": "query images of a class in test tasks"})
    filters: int = field(metadata={"help": "channels of each convolution"})
    rotated: tuple[str, ...] = field(
        metadata={"help": "meta-sets (train, validation, test) whose characters, rotated, are further classes"}
    )
    pooling: Literal["stride", "max"] = field(
        metadata={"help": "what halves the images, strided convolutions or 2×2 max-pooling"}
    )

    def __post_init__(self) -> None:
        checks.integer("ways", self.ways, least=2)
        for name in ("shots", "queries", "test_queries", "filters"):
            checks.integer(name, getattr(self, name), least=1)
        unknown = [name for name in self.rotated if name not in Sources._fields]
        if unknown:
            raise ValueError(f"rotated must name sets among {', '.join(Sources._fields)}, got {unknown[0]!r}")
        if self.pooling not in ("stride", "max"):
            raise ValueError(f"pooling must be 'stride' or 'max', got {self.pooling!r}")

    def model(self) -> nn.Module:
        """Conv4 on 28×28 grey images."""
        return Conv4(self.ways, channels=1, filters=self.filters, pooling=self.pooling)

    def loss(self) -> Measure:
        """Mean cross-entropy."""
        return F.cross_entropy

    def metrics(self) -> Mapping[str, Measure]:
        """The fraction of query images classified correctly."""
        return {"accuracy": accuracy}

    def sources(self, device: torch.device) -> Sources:
        """Episodes from the three class pools, whose characters do not overlap."""
        pools = MetaSplit(*(pool.to(device) for pool in load_omniglot(self._directory(), rotated=self.rotated)))
        return Sources(
            ImageEpisodes(pools.train, self.ways, self.shots, self.queries),
            ImageEpisodes(pools.validation, self.ways, self.shots, self.queries),
            ImageEpisodes(pools.test, self.ways, self.shots, self.test_queries),
        )

    def _directory(self) -> Path:
        named = self.data or os.environ.get(DATA_VARIABLE)
        expected = "images_background.zip and images_evaluation.zip of Omniglot (github.com/brendenlake/omniglot)"
        if named is None:
            raise ValueError(
                f"Omniglot needs its files: give --data DIR (or set ${DATA_VARIABLE}) with {expected}, directly in it "
                "or in its folder omniglot"
            )
        directory = Path(named)
        if not directory.is_dir():
            raise ValueError(f"the data directory {directory} does not exist; --data should hold {expected}")
        inner = directory / "omniglot"
        return inner if inner.is_dir() else directory


PROBLEMS: Mapping[str, type[SinusoidRegression] | type[OmniglotClassification]] = {
    "sinusoid": SinusoidRegression,
    "omniglot": OmniglotClassification,
}
"""Problems by the name that config.json gives them."""
