"""An anchor in the inner loss of any learner."""

from dataclasses import dataclass
from typing import cast

from torch import Tensor

from metagrad import checks, tree
from metagrad.inner.learner import HasValues, Learner
from metagrad.inner.precision import Precision
from metagrad.objectives import Metrics
from metagrad.structure import Data
from metagrad.tree import Tree


@dataclass(frozen=True, eq=False)
class Proximal:
    """Another learner with an anchor in its inner loss: support loss + (λ/2)·‖φ − start(m)‖².

    Makes the solution of the inner problem depend on the start, which implicit and finite-difference estimators need.

    Raises:
        ValueError: `strength` (λ) is not positive.

    Example:
        >>> from torch import nn
        >>> from metagrad import WholeModel
        >>> anchored = Proximal(WholeModel(nn.Linear(3, 1), nn.functional.mse_loss), strength=2.0)
        >>> meta = {"model": dict(anchored.learner.model.named_parameters())}
        >>> sorted(anchored.context(meta)["model"])  # the losses read the start
        ['bias', 'weight']
    """

    learner: Learner
    strength: float

    def __post_init__(self) -> None:
        checks.number("strength", self.strength, above=0)

    @property
    def precision(self) -> Precision:
        """As the inner learner."""
        return getattr(self.learner, "precision", "float32")

    def values(self) -> Tree:
        """As the inner learner."""
        return cast(HasValues, self.learner).values()

    def parameters(self, adapted: Tree, meta: Tree) -> dict[str, Tensor]:
        """As the inner learner."""
        return cast(HasValues, self.learner).parameters(adapted, meta)

    def initial(self, meta: Tree) -> Tree:
        """As the inner learner."""
        return self.learner.initial(meta)

    def context(self, meta: Tree) -> Tree:
        """What the inner learner reads, and what the anchor is made of."""
        return tree.union(self.learner.context(meta), self.learner.initial(meta))

    def start(self, meta: Tree) -> Tree:
        """As the inner learner."""
        return self.learner.start(meta)

    def support_loss(self, adapted: Tree, meta: Tree, batch: Data) -> Tensor:
        """The inner learner's loss and the anchor."""
        away = tree.subtract(adapted, self.learner.start(meta))
        return self.learner.support_loss(adapted, meta, batch) + 0.5 * self.strength * tree.dot(away, away)

    def query_loss(self, adapted: Tree, meta: Tree, batch: Data) -> tuple[Tensor, Metrics]:
        """As the inner learner: the query loss has no anchor."""
        return self.learner.query_loss(adapted, meta, batch)
