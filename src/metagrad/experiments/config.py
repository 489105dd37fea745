"""One experiment, written down completely: frozen dataclasses, their JSON, and the objects they describe."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_type_hints

import torch
from torch import nn

from metagrad import checks
from metagrad.capture import Mode
from metagrad.choosing import Auto
from metagrad.estimators import Estimator
from metagrad.experiments.expression import ESTIMATORS, RULES, family, parse
from metagrad.experiments.problems import PROBLEMS, AnyProblem, Sources
from metagrad.inner.precision import Precision
from metagrad.inner.rules import UpdateRule
from metagrad.learner import MetaLearner
from metagrad.optim import NormalizedSGD


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """The meta-optimizer."""

    name: Literal["adam", "sgd", "normalized-sgd"] = field(metadata={"help": "which optimizer"})
    lr: float = field(metadata={"help": "meta learning rate"})
    momentum: float = field(metadata={"help": "momentum of sgd and normalized-sgd; adam ignores it"})
    clip: float | None = field(metadata={"help": "largest norm of the meta-gradient"})
    schedule: Literal["constant", "cosine"] = field(
        metadata={"help": "meta learning rate over the run, cosine falling to 0"}
    )

    def __post_init__(self) -> None:
        _one_of("name", self.name, type(self), "name")
        _one_of("schedule", self.schedule, type(self), "schedule")
        # Weights are float32 as a rule: a larger rate could only overflow.
        checks.number("lr", self.lr, above=0, below=torch.finfo(torch.float32).max)
        checks.number("momentum", self.momentum, least=0, below=1)
        if self.clip is not None:
            checks.number("clip", self.clip, above=0)

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimizer over `parameters`."""
        match self.name:
            case "adam":
                # One kernel for all parameters, where there is one: for small networks the plain loop over them costs
                # a third of a captured meta-gradient.
                return torch.optim.Adam(parameters, lr=self.lr, fused=parameters[0].device.type in ("cpu", "cuda"))
            case "sgd":
                return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum)
            case "normalized-sgd":
                return NormalizedSGD(parameters, lr=self.lr, momentum=self.momentum)

    def scheduler(self, optimizer: torch.optim.Optimizer, meta_steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        """The learning rate's course over `meta_steps`."""
        if self.schedule == "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(meta_steps, 1))
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Held-out tasks that choose the best weights."""

    every: int = field(metadata={"help": "meta-steps between validations"})
    tasks: int = field(metadata={"help": "tasks, the same each time"})
    seed: int = field(metadata={"help": "seed of the validation tasks"})

    def __post_init__(self) -> None:
        checks.integer("every", self.every, least=1)
        checks.integer("tasks", self.tasks, least=1)
        _seed(self.seed)


@dataclass(frozen=True, kw_only=True)
class Testing:
    """Held-out tasks that measure the best weights."""

    tasks: int = field(metadata={"help": "test tasks"})
    steps: int = field(metadata={"help": "inner steps at test time, with results after 0..steps"})
    seed: int = field(metadata={"help": "seed of the test tasks; runs with equal seeds meet the same"})

    def __post_init__(self) -> None:
        checks.integer("tasks", self.tasks, least=2)  # an interval needs a spread
        checks.integer("steps", self.steps, least=1)
        _seed(self.seed)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how the numbers are computed."""

    device: Literal["auto", "cpu", "cuda", "mps"] = field(
        metadata={"help": "where to compute, auto preferring cuda to mps to cpu"}
    )
    dtype: Literal["float32", "float64"] = field(metadata={"help": "precision of weights and inputs"})
    threads: int | None = field(metadata={"help": "CPU threads, none for torch's choice"})
    task_chunk: int | None = field(
        metadata={"help": "tasks of a meta-batch side by side, none for all; fewer need less memory"}
    )
    evaluation_chunk: int = field(metadata={"help": "held-out tasks evaluated side by side"})
    capture: Mode = field(
        default="off",
        metadata={
            "help": "compile the meta-gradient: whole, in pieces, not at all, or auto where a run is long enough"
        },
    )
    streams: int | None = field(
        default=None, metadata={"help": "threads that take tasks at once, none for as many as pay"}
    )
    precision: Precision = field(default="float32", metadata={"help": "arithmetic of the model's products"})

    def __post_init__(self) -> None:
        _one_of("capture", self.capture, type(self), "capture")
        _one_of("precision", self.precision, type(self), "precision")
        _one_of("device", self.device, type(self), "device")
        _one_of("dtype", self.dtype, type(self), "dtype")
        for name in ("threads", "task_chunk", "streams"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), least=1)
        checks.integer("evaluation_chunk", self.evaluation_chunk, least=1)

    def torch_device(self) -> torch.device:
        """The device; ValueError where this machine has none of that kind."""
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        if self.device == "auto":
            return torch.device(next(kind for kind, present in available.items() if present))
        if not available[self.device]:
            raise ValueError(f"device {self.device!r} is not available here; use auto or cpu")
        return torch.device(self.device)

    def torch_dtype(self) -> torch.dtype:
        """The floating-point type; ValueError for float64 on MPS, which has none."""
        if self.dtype == "float64" and self.torch_device().type == "mps":
            raise ValueError("MPS has no float64; use dtype float32, or device cpu")
        return torch.float64 if self.dtype == "float64" else torch.float32


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a run depends on.

    Raises:
        TypeError, ValueError: a field has the wrong type or an impossible value; the sentence names it.
    """

    problem: AnyProblem = field(metadata={"help": "tasks and model"})
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
        metadata={"help": "meta-steps between looks at the estimator's true error on one task, none for no look"},
    )

    def __post_init__(self) -> None:
        checks.integer("num_steps", self.num_steps, least=1)
        checks.integer("meta_steps", self.meta_steps, least=0)
        checks.integer("meta_batch", self.meta_batch, least=1)
        _seed(self.seed)
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
        """A dict of JSON values; estimator and rule as their constructor expressions."""
        kind = next(name for name, cls in PROBLEMS.items() if type(self.problem) is cls)
        values: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            values[entry.name] = repr(value) if family(value) else _plain(value)
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
        model = config.problem.model()
    return MetaLearner(
        model.to(device, dtype),
        config.problem.loss(),
        config.rule,
        config.num_steps,
        config.estimator,
        adapts=config.adapts or None,
        proximal=config.proximal,
        metrics=config.problem.metrics(),
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


def _seed(seed: int) -> None:
    checks.integer("seed", seed, least=0, most=2**63 - 1)  # what torch.Generator takes


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


def _one_of(name: str, value: object, cls: type, attribute: str) -> None:
    allowed = get_args(get_type_hints(cls)[attribute])
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
