"""What a family of estimators says of itself: everything that lists, draws or names estimators reads it here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from metagrad.estimators.base import Estimator

GREY = "#5b5b5b"
"""Colour of estimators that name none."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Estimators of one class that differ in a size only, such as the order of an expansion.

    A class has one family or some, in its attribute `families`; a class without any gets one that holds all of it.

    Args:
        name: as legends have it: the class, and what sets this family apart within it.
        usual: the member that is meant when nothing but a name is given.
        call: as the documentation writes it; None for `usual` as it is printed.
        keeps: what the estimate keeps of the exact meta-gradient, in words.
        products: curvature products of one task, as a formula in K (inner steps) and the family's own letters.
        rounds: how many of them wait for one another, likewise.
        solves: further runs of the inner loop.
        take: when to take it, to follow "take it when"; empty for never, and then the documentation leaves it out.
        wrong: when it is wrong.
        color: in every figure.
        marker: of matplotlib, in every figure.
        aliases: other names at the command line and for `estimator="…"`, in any case.
        fixed: the fields by which it is told from the other families of its class, with their values.
        size: the field in which its members differ; None for a family of one.
        members: K ↦ the members worth a row in a comparison; None for `usual` alone.
        estimates: the "meta-gradient" of the K steps, that of the inner problem's "solution", or a "direction" that is
            no gradient.
        needs: arguments of `MetaLearner` that it cannot do without.
        auto: whether `Auto` considers its members; only ever those that estimate the meta-gradient.
        whole: whether a member of a size above K leaves nothing out, and so is exact.
        remedy: what helps where its error is large.
    """

    name: str
    usual: "Estimator"
    call: str | None = None
    keeps: str = "as its own documentation says"
    products: str = "its own"
    rounds: str = "its own"
    solves: str = "0"
    take: str = "its own documentation says so"
    wrong: str = "see its own documentation"
    color: str = GREY
    marker: str = "o"
    aliases: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    size: str | None = None
    members: "Callable[[int], Sequence[Estimator]] | None" = None
    estimates: Literal["meta-gradient", "solution", "direction"] = "meta-gradient"
    needs: tuple[str, ...] = ()
    auto: bool = True
    whole: bool = False
    remedy: str = "a larger window, Binomial(order=2, center='auto')"

    @property
    def label(self) -> str:
        """For legends: the name, what stands beside each point, and what it needs."""
        beside = f", {self.size} beside it" if self.size and self.name == type(self.usual).__name__ else ""
        return f"{self.name}{beside}{''.join(f', {need}' for need in self.needs)}"

    def of_size(self, num_steps: int) -> list["Estimator"]:
        """The members worth a row for a loop of `num_steps` steps."""
        return [self.usual] if self.members is None else list(self.members(num_steps))

    def member(self, size: int) -> "Estimator":
        """The member of a size; ValueError in a family of one."""
        if self.size is None:
            raise ValueError(f"{self.name} has no size")
        return replace(cast(Any, self.usual), **{self.size: size})

    def holds(self, estimator: "Estimator") -> bool:
        """Whether an estimator is a member."""
        return type(estimator) is type(self.usual) and all(
            getattr(estimator, name) == value for name, value in self.fixed.items()
        )

    def size_of(self, estimator: "Estimator") -> int | None:
        """The member's order, rounds, groups or window; None in a family of one."""
        return None if self.size is None else getattr(estimator, self.size)
