"""What a learner is: the part of a meta-learning problem that knows model and loss.

The meta-parameters m are a tree with branch "model" (the trainable parameters of the user's module, by dotted name),
branch "hyper" (those of a hyper module) where there is one, and branch "rule" where the update rule learns something.
Branch "fixed" holds values that are read and not learned, such as a start that is given.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

from metagrad.objectives import Metrics
from metagrad.structure import Data
from metagrad.tree import Tree


def learned(meta: Tree) -> Tree:
    """The meta-parameters without the values that are only read."""
    return {name: part for name, part in meta.items() if name != "fixed"} if isinstance(meta, dict) else meta


class Learner(Protocol):
    """The part of a meta-learning problem that knows model and loss; one task at a time, no task axis."""

    def initial(self, meta: Tree) -> Tree:
        """The part of the meta-parameters that `start` reads."""
        ...

    def context(self, meta: Tree) -> Tree:
        """The part of the meta-parameters that the losses read; {} for none.

        `return meta` gives right numbers at a higher price; but then estimators cannot tell that a support loss does
        not depend on the meta-parameters at all, and give zero in place of an error.
        """
        ...

    def start(self, meta: Tree) -> Tree:
        """Adapted parameters at step 0."""
        ...

    def support_loss(self, adapted: Tree, meta: Tree, batch: Data) -> Tensor:
        """What the inner loop descends: a 0-d tensor."""
        ...

    def query_loss(self, adapted: Tree, meta: Tree, batch: Data) -> tuple[Tensor, Metrics]:
        """What meta-learning descends, after adaptation, and metrics to report (0-d tensors)."""
        ...


@runtime_checkable
class HasValues(Protocol):
    """A learner that knows its meta-parameters and how adapted ones make up a module's."""

    def values(self) -> Tree:
        """The meta-parameters of model and hyper module at their present values, which are shared."""
        ...

    def parameters(self, adapted: Tree, meta: Tree) -> dict[str, Tensor]:
        """The values of all trainable parameters of the module, by dotted name."""
        ...
