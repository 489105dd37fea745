"""The rows of an accuracy table: estimators, each with what it needs besides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from metagrad import Binomial, Exact, FirstOrder, Implicit, Reptile, Truncated
from metagrad.estimators import ConjugateGradient, Estimator
from metagrad.experiments.config import Optimizer

_WITHOUT_ORDER = ("FirstOrder", "Reptile", "FiniteDifference", "Exact")


@dataclass(frozen=True)
class Method:
    """One way to meta-learn; everything else is shared with the other rows.

    `order` is L: the order, the window, or the conjugate gradient's iterations; 0 and K at the two ends.
    """

    name: str  # as the table calls it; equal for all its orders
    order: int
    estimator: str  # its constructor expression
    proximal: float | None = None  # λ of its inner loop's proximal term; None for none
    optimizer: Optimizer | None = None  # its own meta-optimizer; None for that of the other rows
    ours: bool = False  # whether the source has no such row
    adapts: tuple[str, ...] | None = None  # what its inner loop adapts, () for everything; None for as the other rows

    @property
    def label(self) -> str:
        """Name and order, as figures and sentences have it."""
        return self.name if self.family in _WITHOUT_ORDER else f"{self.name}, L = {self.order}"

    @property
    def family(self) -> str:
        return self.estimator.partition("(")[0]

    @property
    def key(self) -> str:
        return "-".join((*self.name.replace("/", " ").replace(",", "").split(), str(self.order)))


def row(name: str, order: int, estimator: Estimator, proximal: float | None = None) -> Method:
    """A method by its name, order and estimator."""
    return Method(name, order, repr(estimator), proximal)


FOMAML = row("FOMAML", 0, FirstOrder())

_ORDERED: Mapping[str, Callable[[int], Estimator]] = {
    "Truncated": Truncated,
    "Binomial L/K": lambda order: Binomial(order, scale="paper"),  # α' = α·L/K, as in the paper's runs on real data
    "Binomial plain": Binomial,  # equation 8 as it is printed
    "Binomial auto": lambda order: Binomial(order, center="auto"),  # about a learned center
}


def ordered(order: int, *names: str) -> list[Method]:
    """Methods of one order; plain and auto are rows of ours, for the paper's Binomial is L/K."""
    made = [row(name, order, _ORDERED[name](order)) for name in names]
    return [replace(method, ours=method.name in ("Binomial plain", "Binomial auto")) for method in made]


def maml(num_steps: int) -> Method:
    """MAML."""
    return row("MAML", num_steps, Exact())


def imaml(order: int, strength: float) -> Method:
    """The real iMAML: an inner loop with its proximal term, L iterations of conjugate gradient."""
    return row("iMAML", order, Implicit(ConjugateGradient(iterations=order)), strength)


def reptile(step: float) -> Method:
    """Reptile: θ moves by `step` of the mean of φ_K − θ."""
    # Its pseudo-gradient has the units of parameters: plain steps, as published, no Adam and no clipping.
    own = Optimizer(name="sgd", lr=step, momentum=0.0, clip=None, schedule="constant")
    return replace(row("Reptile", 0, Reptile()), optimizer=own)


def named(methods: Sequence[Method], name: str) -> list[Method]:
    """Those of one name, by order."""
    return sorted((method for method in methods if method.name == name), key=lambda method: method.order)
