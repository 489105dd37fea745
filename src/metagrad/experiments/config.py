"""One experiment, written down completely: a frozen dataclass, its JSON, and the learner and tasks it describes."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import nn

from metagrad import checks
from metagrad.choosing import Auto
from metagrad.estimators import Estimator
from metagrad.experiments.expression import ESTIMATORS, RULES, kind_of, parse, written
from metagrad.experiments.groups import Machine, Optimizer, Testing, Validation, check_seed
from metagrad.experiments.problem import Problem, Sources
from metagrad.experiments.problems import PROBLEMS
from metagrad.learner import MetaLearner
from metagrad.rules import UpdateRule


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a run depends on.

    Raises:
        TypeError, ValueError: a field has the wrong type or an impossible value; the sentence names it.
    """

    problem: Problem = field(metadata={"help": "tasks and model"})
    rule: UpdateRule = field(metadata={"help": "update rule of an inner step"})
    num_steps: int = field(metadata={"help": "inner steps K"})
    estimator: Estimator | Auto = field(metadata={"help": "estimator of the meta-gradient, or auto"})
    adapts: tuple[str, ...] = field(
        metadata={"help": "names of parameters or modules that the inner loop adapts, none for all"}
    )
    proximal: float | None = field(metadata={"help": "strength λ of (λ/2)·‖φ − θ‖² in the inner loss"})
    meta_steps: int = field(metadata={"help": "meta-steps of training"})
    meta_batch: int = field(metadata={"help": "tasks of a meta-step"})
    seed: int = field(metadata={"help": "seed of the weights and of the training tasks"})
    checkpoint_every: int = field(metadata={"help": "meta-steps between checkpoints"})
    optimizer: Optimizer = field(metadata={"help": "meta-optimizer"})
    validation: Validation = field(metadata={"help": "validation"})
    test: Testing = field(metadata={"help": "test"})
    machine: Machine = field(metadata={"help": "machine"})
    probe_every: int | None = field(
        default=100,
        metadata={"help": "meta-steps between measurements of the true error on one task, none for no measurement"},
    )

    def __post_init__(self) -> None:
        checks.integer("num_steps", self.num_steps, least=1)
        checks.integer("meta_steps", self.meta_steps, least=0)
        checks.integer("meta_batch", self.meta_batch, least=1)
        check_seed(self.seed)
        if len({self.seed, self.validation.seed, self.test.seed}) < 3:
            raise ValueError(
                f"seed {self.seed}, validation.seed {self.validation.seed} and test.seed {self.test.seed} must differ, "
                "or training, validation and test would draw the same tasks; choose another, for instance 10 or more"
            )
        if not all(isinstance(name, str) for name in self.adapts):
            raise TypeError(f"adapts must hold names, got {self.adapts!r}")
        checks.integer("checkpoint_every", self.checkpoint_every, least=1)
        if self.probe_every is not None:
            checks.integer("probe_every", self.probe_every, least=1)
        if self.proximal is not None:
            checks.number("proximal", self.proximal, above=0)

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; estimator and rule as their constructor expressions.

        Raises:
            ValueError: a part of the user's own that cannot be written down.
        """
        values: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            values[entry.name] = written(value) if kind_of(value) else _plain(value)
        kind = next((name for name, cls in PROBLEMS.items() if type(self.problem) is cls), None)
        if kind is None:
            raise ValueError(f"{self.problem!r} cannot be written down; give it as OwnProblem('my_module:thing')")
        values["problem"] = {"kind": kind, **values["problem"]}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Experiment":
        """What `to_json` wrote, through JSON and back.

        Raises:
            ValueError: a field is missing, unknown or impossible.
        """
        given = dict(values)
        problem = dict(given.get("problem") or {})
        kind = problem.pop("kind", None)
        if kind not in PROBLEMS:
            raise ValueError(f"unknown problem kind {kind!r}; known are {', '.join(PROBLEMS)}")
        given["problem"] = _group(PROBLEMS[kind], problem, "problem")
        groups = {"optimizer": Optimizer, "validation": Validation, "test": Testing, "machine": Machine}
        for name, group in groups.items():
            given[name] = _group(group, given.get(name) or {}, name)
        for name, allowed in (("estimator", ESTIMATORS), ("rule", RULES)):
            given[name] = parse(str(given.get(name)), allowed)
        return _group(cls, given, "config")


def build_learner(config: Experiment) -> MetaLearner:
    """The learner on its device, with weights drawn from the seed.

    Raises:
        ValueError: an unavailable device, or parts that do not fit together.
    """
    device, dtype = config.machine.torch_device(), config.machine.torch_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = config.problem.model().to(device, dtype)
        make: Callable[[], nn.Module | None] = getattr(config.problem, "hyper", lambda: None)
        hyper = make()
    return MetaLearner(
        model,
        config.problem.loss(),
        config.rule,
        config.num_steps,
        config.estimator,
        adapts=config.adapts or None,
        proximal=config.proximal,
        metrics=config.problem.metrics() or None,
        hyper=None if hyper is None else hyper.to(device, dtype),
        task_chunk=config.machine.task_chunk,
        capture=config.machine.capture,
        streams=config.machine.streams,
        precision=config.machine.precision,
    )


def build(config: Experiment) -> tuple[MetaLearner, Sources]:
    """The learner, and the task sources.

    Raises:
        ValueError: as `build_learner`; or data are missing or too small for the episodes asked for.
    """
    return build_learner(config), config.problem.sources(config.machine.torch_device())


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _group(cls: type, values: Mapping[str, Any], where: str) -> Any:
    assert is_dataclass(cls)
    names = {entry.name: entry for entry in fields(cls)}
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ValueError(f"{where} has no field {unknown[0]!r}; its fields are {', '.join(names)}")
    missing = [name for name, entry in names.items() if name not in values and entry.default is MISSING]
    if missing:
        raise ValueError(f"{where} lacks the field {missing[0]!r}")
    # JSON has lists only.
    return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
