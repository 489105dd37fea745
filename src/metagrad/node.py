"""Some inner steps as one node of the user's own autograd graph.

Forward gives the last state; backward is the estimator's pullback through the chain, then the transpose of the start.
So hooks, scalers, accumulation and whatever else sees a backward pass see an ordinary one.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metagrad import tree
from metagrad.batching import Eager
from metagrad.batching.execution import Way
from metagrad.estimators.base import Pullback
from metagrad.inner.episode import Run, from_start
from metagrad.inner.learner import learned
from metagrad.inner.loop import InnerLoop
from metagrad.inner.motion import Evidence
from metagrad.inner.precision import Precision, kernels
from metagrad.inner.randomness import without_drawing
from metagrad.rules import State
from metagrad.rules.base import smooth
from metagrad.structure import Data
from metagrad.tree import Tree
from metagrad.untouched import Untouched


class Taken(NamedTuple):
    """Inner steps on the tape: the state after them, support losses [steps], and diagnostics after a backward pass."""

    state: Tree
    losses: Tensor
    diagnostics: dict[str, Tensor]


@dataclass(frozen=True)
class Stretch:
    """Inner steps that make one node.

    Args:
        loop: learner, rule, settings and number of steps.
        estimator: how gradients go back.
        meta: the meta-parameters, as the tensors that are to receive gradients.
        evidence: what the steps see, given the seed of the way in which they are evaluated.
        eager: finds that way.
        precision: of kernels.
        watch: data ↦ what must not change until the backward pass.
        before: the state to start from, on the tape; None for the start that the meta-parameters give.
    """

    loop: InnerLoop
    estimator: Pullback
    meta: Tree
    evidence: Callable[[int | None], Evidence]
    eager: Eager
    precision: Precision
    watch: Callable[[Data], Untouched]
    before: Tree | None

    def take(self) -> Taken:
        """Take the steps."""
        node = _Node(self)
        leaves = [*tree.leaves(learned(self.meta)), *(tree.leaves(self.before) if self.before is not None else [])]
        *values, losses = cast(tuple[Tensor, ...], _Unroll.apply(node, *leaves))
        given = iter(values)
        return Taken(tree.map(lambda _: next(given), cast(Tree, node.last)), losses, node.diagnostics)

    def inputs(self, values: list[Tensor]) -> tuple[Tree, State]:
        """Meta-parameters and state before, of the values of the node's inputs."""
        given = iter(values)
        meta = tree.overlay(tree.detach(self.meta), tree.map(lambda _: next(given), learned(self.meta)))
        if self.before is None:
            return meta, self.loop.initial_state(meta)
        return meta, cast(State, tree.map(lambda _: next(given), self.before))

    def run(self, way: Way, values: list[Tensor]) -> Run:
        """Take the steps one way, as values."""
        meta, first = self.inputs(values)
        loop = way.loop(self.loop)
        with torch.no_grad():
            return without_drawing(
                values[0].device, lambda: Run(loop, way.derivatives(loop), meta, self.evidence(loop.seed), first)
            )


@dataclass
class _Node:
    stretch: Stretch
    diagnostics: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    last: Tree | None = None


class _Unroll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, node: _Node, *leaves: Tensor) -> tuple[Tensor, ...]:
        stretch, values = node.stretch, [leaf.detach() for leaf in leaves]
        with kernels(stretch.precision):
            run = stretch.eager.first_that_works(lambda way: stretch.run(way, values), stretch.loop)
        ctx.node, ctx.run, ctx.autocast = node, run, _autocast_modes()
        ctx.read_again = stretch.watch(stretch.evidence(None).support)
        ctx.save_for_backward(*leaves)  # so that a change in place before the backward pass is found
        ctx.set_materialize_grads(False)
        node.last = cast(Tree, run.last)
        outputs = [leaf.clone() for leaf in tree.leaves(node.last)]
        losses = torch.stack(run.losses).detach()
        ctx.mark_non_differentiable(losses, *(leaf for leaf in outputs if not leaf.is_floating_point()))
        return (*outputs, losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        node: _Node = ctx.node
        stretch, values = node.stretch, [leaf.detach() for leaf in ctx.saved_tensors]
        ctx.read_again.require()
        given = iter(slopes)
        cotangent = smooth(tree.map(lambda leaf: _or_zero(next(given), leaf), cast(Tree, node.last)))
        of_forward: list[Run] = [ctx.run]

        def pulled(way: Way) -> tuple[Tree, Tree]:
            # A plainer way than that of the forward pass linearises its own run.
            run = of_forward.pop() if of_forward else stretch.run(way, values)
            adjoint = stretch.estimator.pull(run.chain, cotangent)
            node.diagnostics.update(adjoint.diagnostics)
            if stretch.before is not None:
                return adjoint.meta, adjoint.start
            meta = stretch.inputs(values)[0]
            return tree.add(adjoint.meta, from_start(stretch.loop, meta, run.first, adjoint.start)), {}

        with ExitStack() as contexts:
            contexts.enter_context(kernels(stretch.precision))
            for device, dtype, enabled in ctx.autocast:
                contexts.enter_context(torch.autocast(device, dtype=dtype, enabled=enabled))
            gradient, on_state = stretch.eager.first_that_works(pulled, stretch.loop)
        _require_reached(gradient, stretch)
        on_meta = _in_order(gradient, learned(stretch.meta))
        return (None, *on_meta, *([] if stretch.before is None else _in_order(on_state, stretch.before)))


def _or_zero(slope: Tensor | None, leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if slope is None else slope


def _in_order(gradient: Tree, like: Tree) -> list[Tensor | None]:
    """The leaves that `like` has, None where the gradient does not mention one."""
    by_path = dict(tree.items(gradient))
    return [by_path.get(path) for path, _ in tree.items(like)]


def _require_reached(gradient: Tree, stretch: Stretch) -> None:
    """Refuse an estimator that drops what the steps alone read: nothing else could give these a gradient."""
    lost = [path for path in tree.absent(gradient, learned(stretch.meta)) if path.split(".")[0] in ("rule", "hyper")]
    if lost:
        raise ValueError(
            f"{stretch.estimator!r} gives no gradient to {', '.join(lost[:3])}: nothing leads from there to what it "
            "differentiates; take an estimator that reaches all, such as Binomial(order=2)"
        )


def _autocast_modes() -> list[tuple[str, torch.dtype, bool]]:
    """The present autocast modes: a backward pass runs without them, and must see what the forward pass saw."""
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    return [(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)) for device in devices]
