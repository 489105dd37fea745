"""The module side of a learner: which parameters there are, and how they make up the meta-parameters."""

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from metagrad import admissible, functional, tree
from metagrad.batching import branch
from metagrad.inner.learner import HasValues, learned
from metagrad.inner.loop import InnerLoop
from metagrad.rules import UpdateRule
from metagrad.rules.learning import LearnedSettings
from metagrad.tree import Tree


class MetaModule(nn.Module):
    """A module around a model and an inner loop, whose parameters are the meta-parameters.

    Args:
        loop: the inner loop.
        model: the user's module.
        hyper: a further module whose parameters are meta-learned.

    Raises:
        TypeError: `model` is no module.
        ValueError: a model that cannot be a pure function, or a hyper module that is not learned.
    """

    def __init__(self, loop: InnerLoop, model: object, hyper: nn.Module | None) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        admissible.check(model)
        self.model, self.hyper, self.loop = model, hyper, loop
        self._require_one_part_each()
        self.rates = LearnedSettings(loop.rule, loop.learner.start(self._values()), loop.num_steps)

    def _require_one_part_each(self) -> None:
        """Refuse parameters of the hyper module that are given as well as learned, or that nothing learns.

        Raises:
            ValueError: there are some.
        """
        values = self._values()
        known, given = ({id(leaf) for leaf in tree.leaves(part)} for part in (learned(values), branch(values, "fixed")))
        for name, parameter in () if self.hyper is None else self.hyper.named_parameters():
            if id(parameter) in given:
                raise ValueError(
                    f"hyper shares its parameter {name!r} with the model, whose start learn_start=False does not "
                    "learn; give hyper a copy of its own"
                )
            if parameter.requires_grad and id(parameter) not in known:
                raise ValueError(
                    f"the learner does not read hyper's parameter {name!r}, so nothing would train it; leave out "
                    "hyper, or give it to the learner"
                )

    def complete(self) -> None:
        """From now on, what the constructor was given does not change."""
        self._complete = True

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse to change what the constructor was given, which the inner loop was made of.

        Raises:
            AttributeError: `name` is one of these.
        """
        if name in _GIVEN and "_complete" in self.__dict__:
            raise AttributeError(f"{name} of a MetaLearner does not change; make a new MetaLearner with another {name}")
        super().__setattr__(name, cast(Any, value))

    @property
    def rule(self) -> UpdateRule:
        """How an inner step moves the parameters."""
        return self.loop.rule

    @property
    def num_steps(self) -> int:
        """K, inner steps in meta-training."""
        return self.loop.num_steps

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """As of any module, without a start that is given and not learned: nothing ever gives it a gradient."""
        given = (
            {id(leaf) for leaf in tree.leaves(branch(self._values(), "fixed"))}
            if "_complete" in self.__dict__
            else set()
        )
        for name, parameter in super().named_parameters(prefix, recurse, remove_duplicate):
            if id(parameter) not in given:
                yield name, parameter

    def learned_settings(self) -> dict[str, Tensor]:
        """What the rule has learned, by dotted name: "lr" for one rate, "lr.head.weight" for one of many."""
        return self.rates.named()

    def _values(self) -> Tree:
        """The meta-parameters of model and hyper module."""
        learner = self.loop.learner
        if isinstance(learner, HasValues):
            return learner.values()
        values: dict[str, Tree] = {"model": {**functional.trainable(self.model)}}
        return values if self.hyper is None else {**values, "hyper": {**functional.trainable(self.hyper)}}

    def meta(self) -> Tree:
        """The meta-parameters as a tree that shares the values: "model", "hyper" and "rule", those that there are.

        In branch "fixed" stands a start that is read and not learned.

        Raises:
            ValueError: parameters were frozen or thawed since the rule's settings were made.
        """
        meta = cast(dict[str, Tree], self._values())
        self.rates.check(self.loop.learner.start(meta))
        return {**meta, "rule": self.rates.tree()} if len(self.rates) else meta


_GIVEN = frozenset(
    {"model", "loss", "rule", "num_steps", "hyper", "learn_start", "adapts", "proximal", "precision"}
    | {"metrics", "query_loss", "curvature", "task_chunk", "link_chunk", "trajectory", "reuse", "seed", "streams"}
    | {"batch_statistics", "derivatives", "micro_batches"}
)
