"""What `MetaLearner.unroll` gives: the model after inner steps that stay on the user's tape."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from metagrad import checks, functional, structure, tree
from metagrad.estimators.base import Estimator, Pullback
from metagrad.functional import Statistics
from metagrad.inner.motion import Evidence
from metagrad.inner.randomness import task_seed
from metagrad.node import Stretch
from metagrad.rules import UpdateRule
from metagrad.structure import Data
from metagrad.task import Steps, Task
from metagrad.tree import Tree


@dataclass(frozen=True)
class CarriedState:
    """Where an inner loop stands: `unroll(…, state=…)` carries on from there.

    A start that stands on the tape, such as class means of a support set, is one too: `CarriedState(
    rule.initial_state({name: tensor}), 0, rule)`, with a tensor for each parameter that adapts.

    Attributes:
        values: the rule's state, its tensors on the tape.
        step: how many inner steps were taken.
        rule: the rule whose state it is.
    """

    values: Tree
    step: int
    rule: UpdateRule

    def detach(self) -> "CarriedState":
        """The same values, cut off from the steps that led to them."""
        return replace(self, values=tree.detach(self.values))

    def check(self, rule: UpdateRule, start: Tree) -> None:
        """Refuse a state of other parameters than those of `start`, or one that another kind of rule left.

        Raises:
            ValueError: it is one.
        """
        adapted = cast(dict[str, Tree], self.values)["adapted"]
        if (other := _paths(adapted)) != _paths(start):
            names = ", ".join(sorted(other ^ _paths(start))[:3])
            raise ValueError(f"state is that of another learner: only one of the two adapts {names}")
        for (name, left), (_, wanted) in zip(tree.items(tree.restrict(adapted, start)), tree.items(start), strict=True):
            if left.shape != wanted.shape:
                raise ValueError(
                    f"state is that of another learner: {name} is {list(left.shape)} in it and {list(wanted.shape)} "
                    "here"
                )
        if _paths(cast(Tree, rule.initial_state(adapted))) != _paths(self.values):
            raise ValueError(f"state is that of {self.rule!r}, and this learner steps by {rule!r}: carry on with one")


class UnrolledModel(nn.Module):
    """The model after some inner steps, its parameters on the tape: any expression of it can be differentiated.

    Attributes:
        model: the user's module with those parameters; a private copy.
        losses: support loss at the start of each step of this unroll, values without a gradient, [steps].
        state: where the inner loop stands, to carry on from.
        diagnostics: what the estimator reported, after a backward pass.
    """

    def __init__(self, model: nn.Module, losses: Tensor, state: CarriedState, diagnostics: dict[str, Tensor]) -> None:
        super().__init__()
        self.model, self.losses, self.state, self.diagnostics = model, losses, state, diagnostics
        self.stops: dict[int, UnrolledModel] = {}

    def at(self, k: int) -> "UnrolledModel":
        """The model after step k of this unroll, on the tape, at one of the stops that were asked for.

        Raises:
            ValueError: k is no stop.
        """
        if k not in self.stops:
            known = ", ".join(map(str, self.stops))
            raise ValueError(f"no stop at step {k!r}, there are {known}: ask for it with unroll(…, stops=[…])")
        return self.stops[k]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the user's module."""
        return self.model(*args, **kwargs)


def pullback(estimator: Estimator) -> Pullback:
    """The estimator, if it can go back from any cotangent.

    Raises:
        ValueError: it needs the query loss.
    """
    if isinstance(estimator, Pullback):
        return estimator
    raise ValueError(
        f"{estimator!r} needs the query loss itself, which an unrolled model does not know; take an estimator "
        "that pulls back, such as Exact() or Binomial(order=2), or learner.backward(tasks)"
    )


@dataclass(frozen=True)
class Unrolling:
    """How a learner unrolls.

    Args:
        stretch: what all stretches between stops have in common; its loop has the number of steps of training.
        model: the user's module.
        parameters: adapted parameters ↦ all parameters of the module, by name.
        statistics: by which batch norm of the result normalises.
    """

    stretch: Stretch
    model: nn.Module
    parameters: Callable[[Tree], dict[str, Tensor]]
    statistics: Statistics

    def run(self, support: Data, num_steps: int, stops: Iterable[int], state: CarriedState | None) -> UnrolledModel:
        """Unroll from stop to stop, each stretch one node.

        Raises:
            TypeError, ValueError: stops that are no integers in 1..K; a state of another rule or other parameters.
        """
        loop, stretch = self.stretch.loop, self.stretch
        if state is not None:
            if not isinstance(state, CarriedState):
                raise TypeError(f"state must be that of an earlier unroll (result.state), got {type(state).__name__}")
            state.check(loop.rule, loop.learner.start(stretch.meta))
            stretch = replace(stretch, before=state.values)
        taken = 0 if state is None else state.step
        ends = _ends(stops, num_steps)
        reached: dict[int, UnrolledModel] = {}
        losses: list[Tensor] = []
        diagnostics: dict[str, Tensor] = {}
        for first, stop in zip([0, *ends], ends, strict=False):
            part = replace(
                stretch,
                loop=replace(loop, num_steps=stop - first, reuse=min(loop.reuse, stop - first)),
                evidence=lambda seed, first=first, stop=stop: _evidence(support, first, stop, taken + first, seed),
            ).take()
            losses.append(part.losses)
            diagnostics = part.diagnostics
            parameters = self.parameters(cast(dict[str, Tree], part.state)["adapted"])
            reached[stop] = UnrolledModel(
                functional.with_parameters(self.model, parameters, self.statistics),
                torch.cat(losses),
                CarriedState(part.state, taken + stop, loop.rule),
                diagnostics,
            )
            stretch = replace(stretch, before=part.state)
        reached[num_steps].stops = reached
        return reached[num_steps]


def _paths(of: Tree) -> set[str]:
    return {path for path, _ in tree.items(of)}


def _ends(stops: Iterable[int], num_steps: int) -> Sequence[int]:
    if not isinstance(stops, Iterable):
        raise TypeError(f"stops must be several steps, such as [{stops!r}], got {stops!r}")
    ends = sorted({*stops, num_steps})
    for stop in ends:
        checks.integer("each of stops", stop, least=1, most=num_steps)
    return ends


def _evidence(support: Data, first: int, stop: int, offset: int, seed: int | None) -> Evidence:
    """What the steps `first` to `stop - 1` see."""
    if isinstance(support, Steps):
        part: Data = Steps(support.at(slice(first, stop)))
    elif callable(support):
        part = lambda k: support(first + k)  # noqa: E731
    else:
        part = support
    if seed is not None and structure.leaves(support):
        seed = task_seed(Task(support, support), seed)
    return Evidence(part, seed, offset)
