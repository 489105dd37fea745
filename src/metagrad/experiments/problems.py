"""The problems that presets can have, by name; regression of sine waves and Omniglot are written out here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from metagrad import checks
from metagrad.data.omniglot import load_omniglot
from metagrad.data.regression import Sinusoids
from metagrad.experiments.image_problem import ImageClassification
from metagrad.experiments.mnist1d_problem import Mnist1dClassification
from metagrad.experiments.own_problem import OwnProblem
from metagrad.experiments.problem import Classification, Measure, Problem, Sources, data_directory, episodes
from metagrad.networks import MLP, Conv4

__all__ = [
    "PROBLEMS",
    "ImageClassification",
    "Measure",
    "Mnist1dClassification",
    "OmniglotClassification",
    "OwnProblem",
    "Problem",
    "SinusoidRegression",
    "Sources",
    "mean_squared_error",
]


def mean_squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean of squared differences, as a 0-d tensor."""
    # Written out: F.mse_loss inside jvp inside two vmaps mistakes the batch axes (torch 2.13).
    return (predictions - targets).square().mean()


@dataclass(frozen=True, kw_only=True)
class SinusoidRegression:
    """Regression of y = A·sin(x + φ) with a small MLP; needs no files."""

    loss_label: ClassVar[str] = "query mean squared error"
    """What figures call the loss."""

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
class OmniglotClassification(Classification):
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

    def sources(self, device: torch.device) -> Sources:
        """Episodes from the three class pools, whose characters do not overlap."""
        expected = "images_background.zip and images_evaluation.zip of Omniglot (github.com/brendenlake/omniglot)"
        directory = data_directory(self.data, "Omniglot", f"{expected}, directly in it or in its folder omniglot")
        pools = [pool.to(device) for pool in load_omniglot(directory, rotated=self.rotated)]
        return episodes(pools, self.ways, self.shots, self.queries, self.test_queries)


PROBLEMS: Mapping[str, type[Problem]] = {
    "sinusoid": SinusoidRegression,
    "omniglot": OmniglotClassification,
    "images": ImageClassification,
    "mnist1d": Mnist1dClassification,
    "own": OwnProblem,
}
"""Problems by the name that config.json gives them."""
