"""A problem of the user's own, named `my_module:thing` at the command line and in config.json."""

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from metagrad.experiments import own
from metagrad.experiments.calls import read
from metagrad.experiments.problem import Measure, Sources
from metagrad.objectives import Objective

_NEEDED = ("model", "loss", "sources")
Result = TypeVar("Result")


@dataclass(frozen=True)
class OwnProblem:
    """Any object with the methods of `Problem`, found by its name; what it raises becomes one sentence.

    Raises:
        ValueError: nothing of that name is imported, or what it names is no problem.
    """

    at: str = field(metadata={"help": "where the problem is: my_module:thing, or my_module:MyProblem(ways=5)"})

    def __post_init__(self) -> None:
        self._object()

    def model(self) -> nn.Module:
        """A fresh model."""
        model = self._asked("model", lambda problem: problem.model())
        if not isinstance(model, nn.Module):
            raise ValueError(f"{self.at}: model() must give a torch.nn.Module, got {model!r}")
        return model

    def loss(self) -> Measure | Objective:
        """Support and query loss, or an objective."""
        loss = self._asked("loss", lambda problem: problem.loss())
        if isinstance(loss, type):
            raise ValueError(f"{self.at}: loss() must give a function of (predictions, targets), got {loss!r}")
        return loss

    def metrics(self) -> Mapping[str, Measure]:
        """What else to measure; nothing where the problem has no such method."""
        return self._asked("metrics", lambda problem: problem.metrics() if hasattr(problem, "metrics") else {})

    def hyper(self) -> nn.Module | None:
        """What an objective reads besides the model; nothing where the problem has no such method."""
        return self._asked("hyper", lambda problem: problem.hyper() if hasattr(problem, "hyper") else None)

    def sources(self, device: torch.device) -> Sources:
        """Task sources of training, validation and test."""
        three = self._asked("sources", lambda problem: tuple(problem.sources(device)))
        if len(three) != 3 or not all(callable(getattr(source, "sample", None)) for source in three):
            raise ValueError(
                f"{self.at}: sources(device) must give three task sources, for training, validation and test, each "
                f"with sample(count, generator), got {three!r}"
            )
        return Sources(*three)

    @property
    def loss_label(self) -> str:
        """What figures call the loss."""
        return getattr(self._object(), "loss_label", "query loss")

    def _object(self) -> Any:
        return made(self.at)

    def _asked(self, method: str, call: Callable[[Any], Result]) -> Result:
        try:
            return call(self._object())
        except Exception as error:  # the user's own code, whatever it does
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise ValueError(
                f"{self.at}: {method}() raised {type(error).__name__}: {error} "
                f"({Path(last.filename).name}, line {last.lineno})"
            ) from error


def made(spec: str) -> Any:
    """The object that `spec` names: as it is, or made by a class, or by a function of a module that the user named.

    Nothing else is called, because a file may have named it.

    Raises:
        ValueError: nothing of that name is imported, or it is no problem; the sentence says what it lacks.
    """
    call = read(spec, "my_module:MyProblem(ways=5)")
    if call.module is None:
        raise ValueError(f"{spec!r} is no problem: name one as my_module:thing, or my_module:MyProblem(ways=5)")
    thing = own.find(call.name)
    function = inspect.isfunction(thing) and call.module in own.named_modules()
    if not function:
        _check(thing, call.name)
    if isinstance(thing, type) or function:
        try:
            thing = thing(*call.positional, **dict(call.keywords))
        except Exception as error:  # the user's own code
            raise ValueError(f"{spec} cannot be made: {type(error).__name__}: {error}") from error
    elif not call.bare:
        raise ValueError(f"{call.name} is an object already: leave the brackets out")
    _check(thing, spec)
    return thing


def _check(thing: object, spec: str) -> None:
    lacking = [f"{name}()" for name in _NEEDED if not callable(getattr(thing, name, None))]
    if lacking:
        raise ValueError(
            f"{spec} is no problem: it lacks {', '.join(lacking)}; "
            "metagrad.experiments.problem.Problem says what one has"
        )
