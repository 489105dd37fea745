"""A rule behind gradient clipping."""

from dataclasses import dataclass
from typing import cast

from metagrad import tree
from metagrad.rules.base import State, UpdateRule, safe_root
from metagrad.rules.settings import NumericRule, Setting, check
from metagrad.tree import Tree


@dataclass(frozen=True)
class Clipped(NumericRule):
    """Another rule on a gradient whose norm over all parameters is at most c, as `torch.nn.utils.clip_grad_norm_`.

        g ← g·min(1, c/(‖g‖ + 1e-6))

    The derivative includes that of the norm. When it is wrong: exactly at ‖g‖ = c, where there is a kink.
    Cost: that of the rule and one norm.

    Args:
        rule: the rule that steps.
        max_norm: c; a number, a schedule k ↦ number, or `Learned(value)` (one in all, or for each step).

    Raises:
        TypeError: `rule` is not an update rule.
        ValueError: `max_norm` is not positive, or is learned for each tensor or element.

    Example:
        >>> import torch
        >>> from metagrad.rules import SGD
        >>> rule, adapted = Clipped(SGD(lr=1.0), max_norm=1.0), {"w": torch.tensor([0.0, 0.0])}
        >>> rule.step(rule.initial_state(adapted), {"w": torch.tensor([3.0, 4.0])}, meta={}, k=0)["adapted"]
        {'w': tensor([-0.6000, -0.8000])}
    """

    rule: UpdateRule
    max_norm: Setting = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.rule, UpdateRule):
            raise TypeError(f"rule of Clipped must be an update rule such as AdamW(lr=0.001), got {self.rule!r}")
        check("max_norm", self.max_norm, above=0)
        per = getattr(self.max_norm, "per", "scalar")
        if per not in ("scalar", "step"):
            raise ValueError(f"max_norm is one number for all parameters: per must be 'scalar' or 'step', got {per!r}")

    def initial_meta(self, adapted: Tree, num_steps: int) -> Tree:
        """What the rule learns, as branch "rule", and the largest norm where it is learned."""
        own, inner = super().initial_meta(adapted, num_steps), self.rule.initial_meta(adapted, num_steps)
        return {**cast(dict[str, Tree], own), "rule": inner} if tree.leaves(inner) else own

    def initial_state(self, adapted: Tree) -> State:
        """That of the rule."""
        return self.rule.initial_state(adapted)

    def step(self, state: State, gradient: Tree, meta: Tree, k: int) -> State:
        """Clip, then step."""
        length = safe_root(tree.dot(gradient, gradient))
        limit = tree.leaves(self.numbers("max_norm", {"": length}, meta, k))[0]
        factor = (limit / (length + 1e-6)).clamp(max=1.0)
        own: Tree = cast(dict[str, Tree], meta).get("rule", {})
        return self.rule.step(state, tree.scale(gradient, factor), own, k)
