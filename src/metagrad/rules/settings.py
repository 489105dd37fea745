"""The numbers of a rule: given, scheduled, or meta-learned."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from metagrad import checks, tree
from metagrad.rules.base import UpdateRule
from metagrad.tree import Tree

Schedule = Callable[[int], float]
Grain = Literal["scalar", "tensor", "element", "step"]


@dataclass(frozen=True)
class Learned:
    """A setting of a rule that is meta-learned, from a first value.

    Meta-SGD is `SGD(lr=Learned(0.01, per="element"))`; the rates of MAML++ are `per=("step", "tensor")`.
    Learned values are free: a rate may become negative, as Meta-SGD lets it.

    Args:
        value: what every learned number starts from.
        per: one number in all ("scalar"), for each parameter tensor ("tensor"), for each number in them ("element"),
            for each inner step ("step"), or for each step and one of the others (("step", "tensor")). A step beyond
            the K of training takes the last one's.

    Raises:
        ValueError: `per` is unknown.
        TypeError: `value` is not a number.

    Example:
        >>> from metagrad.rules import SGD
        >>> SGD(lr=Learned(0.01, per="tensor")).initial_meta({"w": torch.ones(2), "b": torch.ones(1)}, num_steps=5)
        {'lr': {'w': tensor(0.0100), 'b': tensor(0.0100)}}
    """

    value: float = 0.01
    per: Grain | tuple[Grain, ...] = "scalar"

    def __post_init__(self) -> None:
        checks.number("value of Learned", self.value)
        grains = self._grains
        known = all(grain in get_args(Grain) for grain in grains) and len(set(grains)) == len(grains)
        if not known or len(set(grains) - {"step"}) > 1 or not grains:
            raise ValueError(
                f"per must be 'scalar', 'tensor', 'element', 'step' or ('step', one of the others), got {self.per!r}"
            )

    @property
    def _grains(self) -> tuple[str, ...]:
        return (self.per,) if isinstance(self.per, str) else self.per

    @property
    def by_step(self) -> bool:
        """Whether each step has its own."""
        return "step" in self._grains

    def initial(self, adapted: Tree, num_steps: int) -> Tree:
        """Tensors of the chosen granularity, all equal to `value`: [K, …] where each step has its own."""
        lead = (num_steps,) if self.by_step else ()
        if "element" in self._grains:
            return tree.map(lambda p: p.detach().new_full((*lead, *p.shape), self.value), adapted)
        if "tensor" in self._grains:
            return tree.map(lambda p: p.detach().new_full(lead, self.value), adapted)
        return tree.leaves(adapted)[0].detach().new_full(lead, self.value)


Setting = float | Schedule | Learned
"""A number, a function k ↦ number, or `Learned(value, per=…)`."""


def check(
    name: str, setting: Setting, *, above: float | None = None, least: float | None = None, below: float | None = None
) -> None:
    """Require a setting whose number, or first value, lies in a range; a schedule is looked at as it is used.

    Raises:
        TypeError: neither a number nor a schedule nor `Learned`.
        ValueError: out of range.
    """
    if callable(setting):
        return
    checks.number(name, setting.value if isinstance(setting, Learned) else setting, above, least, below)


class NumericRule(UpdateRule):
    """A rule that is a dataclass of settings: what is `Learned` among its fields is what it meta-learns."""

    def initial_meta(self, adapted: Tree, num_steps: int) -> Tree:
        """{field: its learned tensors}."""
        return {name: value.initial(adapted, num_steps) for name, value in self._settings() if _is_learned(value)}

    def numbers(self, name: str, adapted: Tree, meta: Tree, k: int) -> Tree:
        """The setting of that name at step k, a number or a tensor for each leaf of `adapted`.

        Raises:
            ValueError: a schedule returned something else than a finite number.
        """
        setting = getattr(self, name)
        if isinstance(setting, Learned):
            return _spread(_learned(setting, name, meta, k), adapted)
        if callable(setting):
            setting = setting(k)
            checks.number(f"{name} at step {k}", setting)
        return _spread(cast(float, setting), adapted)

    def is_zero(self, name: str) -> bool:
        """Whether the setting is the number 0, so that what it multiplies can be left out."""
        return isinstance(value := getattr(self, name), int | float) and value == 0

    def _settings(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in fields(cast(Any, self))]


def _is_learned(value: object) -> bool:
    return isinstance(value, Learned)


def _learned(setting: Learned, name: str, meta: Tree, k: int) -> Tree:
    if not isinstance(meta, dict) or name not in meta:
        raise ValueError(f"the trees differ in structure: the meta-parameters have no branch 'rule.{name}'")
    values = meta[name]
    if not setting.by_step:
        return values
    return tree.map(lambda leaf: leaf[min(k, len(leaf) - 1)], values)


def _spread(value: Tree | float, adapted: Tree) -> Tree:
    """One value for every leaf, or the tree of values that it is."""
    if isinstance(value, dict):
        return value
    if isinstance(adapted, Tensor):
        return cast(Tree, value)
    return tree.map(lambda _: cast(Tensor, value), adapted)


def decayed(rule: NumericRule, gradient: Tree, adapted: Tree, meta: Tree, k: int) -> Tree:
    """The gradient with weight decay added, g + λφ, as in torch's coupled rules."""
    if rule.is_zero("weight_decay"):
        return gradient
    weight = rule.numbers("weight_decay", adapted, meta, k)
    return tree.map(lambda g, p, w: g + w * p, gradient, adapted, weight)


def zeros(adapted: Tree) -> Tree:
    """A state of zeros like the adapted parameters."""
    return tree.map(torch.zeros_like, adapted)
