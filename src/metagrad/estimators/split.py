"""One estimator for the last inner steps and another for those before: truncated and hybrid meta-gradients."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from metagrad import checks, tree
from metagrad.estimators.base import Adjoint, Chain, Cost, Pullback
from metagrad.estimators.binomial import Binomial
from metagrad.estimators.exact import Exact, FirstOrder
from metagrad.estimators.family import Family
from metagrad.tree import Tree

ERROR = "error_estimate"
"""The diagnostic under which an estimator tells its relative error."""


@dataclass(frozen=True)
class Split(Pullback):
    """`late` on the last `window` links, `early` on the links before them.

    A window larger than the loop means `late` everywhere. Cost: the sum of both, rounds included.
    Diagnostics: "error_estimate" is (1 + late)·(1 + early) − 1 where both parts know their error (`Exact`, and parts
    without a step, have none), and absent otherwise. What else the parts report has the prefix `late_` or `early_`.
    When it is wrong: where either part is; the early part receives what the late part made of the outer gradient.

    Args:
        window: how many of the last inner steps go to `late`, at least 0.
        late: estimator of the last steps.
        early: estimator of the steps before.

    Raises:
        TypeError: a part is not an estimator that pulls back through a chain.
        ValueError: `window` is negative.

    Example:
        >>> Split(window=2, late=Exact(), early=FirstOrder()).cost(num_steps=5)
        Cost(products=2, rounds=2, solves=0)
    """

    window: int
    late: Pullback = field(default_factory=Exact)
    early: Pullback = field(default_factory=FirstOrder)

    def __post_init__(self) -> None:
        checks.integer("window", self.window, least=0)
        for name, part in (("late", self.late), ("early", self.early)):
            if not isinstance(part, Pullback):
                raise TypeError(
                    f"Split {name} must be an estimator that pulls back through a chain, such as Exact() or "
                    f"Binomial(order=1), got {part!r}"
                )

    def pull(self, chain: Chain, cotangent: Tree) -> Adjoint:
        """Pull through the late links, then through the early ones."""
        joint = len(chain) - min(self.window, len(chain))
        late = self.late.pull(chain.window(joint, len(chain)), cotangent)
        early = self.early.pull(chain.window(0, joint), late.start)
        diagnostics = _told_apart(late.diagnostics, early.diagnostics)
        errors = [
            _error(self.late, late, len(chain) - joint),
            _error(self.early, early, joint),
        ]
        if ERROR in late.diagnostics | early.diagnostics and None not in errors:
            diagnostics[ERROR] = torch.stack([1.0 + error for error in errors if error is not None]).prod() - 1.0
        return Adjoint(early.start, tree.add(late.meta, early.meta), diagnostics)

    def cost(self, num_steps: int) -> Cost:
        """Both parts, one after the other."""
        window = min(self.window, num_steps)
        return self.late.cost(window).plus(self.early.cost(num_steps - window))


def _error(part: Pullback, adjoint: Adjoint, links: int) -> Tensor | None:
    """What a part knows of its relative error; None where it knows nothing."""
    if links == 0 or isinstance(part, Exact):
        return torch.zeros_like(tree.norm(adjoint.start))
    return adjoint.diagnostics.get(ERROR)


def _told_apart(late: dict[str, Tensor], early: dict[str, Tensor]) -> dict[str, Tensor]:
    """Diagnostics of both parts, each name once; without the error, which is theirs and not the whole's."""
    parts = (("late", late, early), ("early", early, late))
    return {
        f"{part}_{name}" if name in others else name: value
        for part, own, others in parts
        for name, value in own.items()
        if name != ERROR
    }


@dataclass(frozen=True)
class Truncated(Pullback):
    """Exact through the last `window` links, first-order before: truncated back-propagation.

        ∏_{k ≥ K−window} (I − αH_k) · g     (for SGD)

    A window of K or more is exact. Cost: `window` products in as many rounds.
    When it is wrong: relative error of the order of (K − window)·α·‖H‖: every curvature factor of the early steps is
    missing, so the error stays large until the window nears K.
    Source: Shaban et al. 2019; equation 5 of the binomial paper.

    Raises:
        ValueError: `window` is negative.

    Example:
        >>> Truncated(window=2).cost(num_steps=5)
        Cost(products=2, rounds=2, solves=0)
    """

    window: int

    def __post_init__(self) -> None:
        checks.integer("window", self.window, least=0)

    def pull(self, chain: Chain, cotangent: Tree) -> Adjoint:
        """Split into Exact and FirstOrder."""
        return Split(self.window, Exact(), FirstOrder()).pull(chain, cotangent)

    def single_products(self, num_steps: int) -> int:
        """Those of the window."""
        return min(self.window, num_steps)

    def cost(self, num_steps: int) -> Cost:
        """One product for each step of the window."""
        return Split(self.window, Exact(), FirstOrder()).cost(num_steps)


@dataclass(frozen=True)
class Hybrid(Pullback):
    """Binomial of `order` on the last `window` links, first-order before.

    Cost: L(w − L + 1) products in L rounds, L = min(order, w). When it is wrong: the error of truncation to `window`
    plus that of the expansion within it. Source: equation 39 of the binomial paper.

    Raises:
        ValueError: `window` or `order` is negative.

    Example:
        >>> Hybrid(window=4, order=2).cost(num_steps=5)
        Cost(products=6, rounds=2, solves=0)
    """

    window: int
    order: int

    def __post_init__(self) -> None:
        checks.integer("window", self.window, least=0)
        checks.integer("order", self.order, least=0)

    def pull(self, chain: Chain, cotangent: Tree) -> Adjoint:
        """Split into Binomial and FirstOrder."""
        return Split(self.window, Binomial(self.order), FirstOrder()).pull(chain, cotangent)

    def cost(self, num_steps: int) -> Cost:
        """That of Binomial on the window."""
        return Split(self.window, Binomial(self.order), FirstOrder()).cost(num_steps)


Split.families = (
    Family(
        name="Split",
        usual=Split(window=2),
        call="Split(window=w, late=…, early=…)",
        keeps="one estimator late, another early",
        products="sum of both",
        rounds="sum of both",
        take="late steps need another estimator than early ones",
        wrong="where either part is",
        color="#44AA99",
        marker="d",
        size="window",
        members=lambda _: [],
        auto=False,
        remedy="a larger window, a higher order, center='auto'",
    ),
)

Truncated.families = (
    Family(
        name="Truncated",
        usual=Truncated(window=2),
        call="Truncated(window=w)",
        aliases=("TruncMAML",),
        keeps="curvature of the last w steps",
        products="w",
        rounds="w",
        take="early inner steps hardly matter",
        wrong="error about (K−w)·α‖H‖: large until w is near K",
        color="#D55E00",
        marker="v",
        size="window",
        whole=True,
        members=lambda num_steps: [Truncated(window) for window in range(1, num_steps)],
    ),
)

Hybrid.families = (
    Family(
        name="Hybrid",
        usual=Hybrid(window=4, order=2),
        call="Hybrid(window=w, order=L)",
        keeps="binomial on the last w steps, first-order before",
        products="L(w−L+1)",
        rounds="L",
        take="you repeat the binomial paper's hybrid",
        wrong="truncation's error and the expansion's",
        color="#009E73",
        marker="D",
        size="order",
        members=lambda num_steps: [Hybrid(num_steps - 1, order) for order in range(1, num_steps - 1)],
        auto=False,
        remedy="a larger window, a higher order, Binomial(order=2, center='auto')",
    ),
)
