"""The groups of an experiment's settings: meta-optimizer, held-out tasks, machine; and what they build."""

from dataclasses import dataclass, field
from typing import Literal, get_args, get_type_hints

import torch
from torch import nn

from metagrad import checks
from metagrad.capture import Mode
from metagrad.inner.precision import Precision
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
        check_seed(self.seed)


@dataclass(frozen=True, kw_only=True)
class Testing:
    """Held-out tasks that measure the best weights."""

    tasks: int = field(metadata={"help": "test tasks"})
    steps: int = field(metadata={"help": "inner steps at test time; results are given after 0..steps"})
    seed: int = field(metadata={"help": "seed of the test tasks; equal seeds give equal tasks"})

    def __post_init__(self) -> None:
        checks.integer("tasks", self.tasks, least=2)  # an interval needs a spread
        checks.integer("steps", self.steps, least=1)
        check_seed(self.seed)


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
        default=None, metadata={"help": "threads that work on tasks at once, none for as many as help"}
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


def check_seed(seed: int) -> None:
    """Require a seed that torch's generators take."""
    checks.integer("seed", seed, least=0, most=2**63 - 1)


def _one_of(name: str, value: object, cls: type, attribute: str) -> None:
    allowed = get_args(get_type_hints(cls)[attribute])
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
