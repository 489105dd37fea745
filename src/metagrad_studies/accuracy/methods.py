"""The rows of an accuracy table: estimators, each with what it needs besides."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metagrad.estimators import (
    Binomial,
    ConjugateGradient,
    Estimator,
    Exact,
    FiniteDifference,
    FirstOrder,
    Hybrid,
    Implicit,
    Reptile,
    Split,
    Truncated,
    UnanchoredImplicit,
)
from metagrad.experiments.config import Optimizer

_WITHOUT_ORDER = ("FirstOrder", "Reptile", "FiniteDifference", "Exact")


@dataclass(frozen=True)
class Method:
    """One way to meta-learn; everything else is shared with the other rows.

    Args:
        name: as the table calls it; equal for all its orders.
        order: L: the order, the window, or the conjugate gradient's iterations; 0 and K at the two ends.
        estimator: its constructor expression.
        proximal: λ of its inner loop's proximal term; None for none.
        optimizer: its own meta-optimizer; None for that of the other rows.
        ours: whether the source has no such row.
        adapts: what its inner loop adapts, () for everything; None for what the other rows adapt.
    """

    name: str
    order: int
    estimator: str
    proximal: float | None = None
    optimizer: Optimizer | None = None
    ours: bool = False
    adapts: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """Name and order, as figures and sentences have it."""
        return self.name if self.family in _WITHOUT_ORDER else f"{self.name}, L = {self.order}"

    @property
    def family(self) -> str:
        """The estimator's class."""
        return self.estimator.partition("(")[0]

    @property
    def key(self) -> str:
        """For names of directories."""
        return "-".join((*self.name.replace("/", " ").replace(",", "").split(), str(self.order)))


def first_order() -> Method:
    """FOMAML."""
    return _row("FOMAML", 0, FirstOrder())


def reptile(step: float) -> Method:
    """Reptile: θ moves by `step` of the mean of φ_K − θ."""
    # Its pseudo-gradient has the units of parameters: plain steps, as published, no Adam and no clipping.
    own = Optimizer(name="sgd", lr=step, momentum=0.0, clip=None, schedule="constant")
    return _row("Reptile", 0, Reptile(), optimizer=own)


def implicit(order: int, strength: float) -> Method:
    """The real iMAML: an inner loop with its proximal term, L iterations of conjugate gradient."""
    return _row("iMAML", order, Implicit(ConjugateGradient(iterations=order)), proximal=strength)


def unanchored_implicit(order: int, strength: float) -> Method:
    """The iMAML of the binomial paper's code: no proximal term in the inner loop, one assumed on the way back."""
    return _row("iMAML", order, UnanchoredImplicit(iterations=order, strength=strength))


def truncated(order: int) -> Method:
    """TruncMAML."""
    return _row("Truncated", order, Truncated(window=order))


def binomial_published(order: int) -> Method:
    """BinomMAML with α' = α·L/K, as in the paper's runs on real data."""
    return _row("Binomial L/K", order, Binomial(order=order, scale="paper"))


def binomial_plain(order: int) -> Method:
    """BinomMAML by equation 8 as it is printed."""
    return replace(_row("Binomial plain", order, Binomial(order=order)), ours=True)


def binomial_auto(order: int) -> Method:
    """The expansion about a learned center, ours."""
    return replace(_row("Binomial auto", order, Binomial(order=order, center="auto")), ours=True)


def hybrid_published(window: int, order: int, num_steps: int) -> Method:
    """Equation 39, the expansion over the last C steps, with α' = α·L/K as in the paper's runs on real data."""
    late = Binomial(order=order, scale=order / num_steps)
    return _row("Hybrid L/K", order, Split(window, late=late, early=FirstOrder()))


def hybrid_plain(window: int, order: int) -> Method:
    """Equation 39 as it is printed."""
    return replace(_row("Hybrid plain", order, Hybrid(window=window, order=order)), ours=True)


def exact(num_steps: int) -> Method:
    """MAML."""
    return _row("MAML", num_steps, Exact())


def exact_everywhere(num_steps: int) -> Method:
    """MAML that adapts the whole network, among rows that adapt a part."""
    return replace(_row("MAML, whole network", num_steps, Exact()), adapts=())


def finite_difference(strength: float) -> Method:
    """FO-B-MAML, symmetric."""
    return _row("FO-B-MAML", 0, FiniteDifference(), proximal=strength)


def named(methods: Sequence[Method], name: str) -> list[Method]:
    """Those of one name, by order."""
    return sorted((method for method in methods if method.name == name), key=lambda method: method.order)


def _row(
    name: str, order: int, estimator: Estimator, proximal: float | None = None, optimizer: Optimizer | None = None
) -> Method:
    return Method(name, order, repr(estimator), proximal, optimizer)
