"""Which estimator should I use? Error, cost, time and memory of each, on one model and one task distribution."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metagrad import checks, tree
from metagrad.estimators import Estimator, Exact, families
from metagrad.experiments.config import Experiment, build_learner
from metagrad.experiments.expression import short
from metagrad.experiments.session import start
from metagrad.experiments.threads import running_on, with_threads
from metagrad.learner import MetaLearner, NonFiniteError
from metagrad.memory import peak_bytes
from metagrad.task import Task, TaskSource
from metagrad.training.evaluation import fixed_tasks
from metagrad.training.progress import Reporter
from metagrad.training.run import Run
from metagrad.training.surroundings import surroundings


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How thoroughly to compare.

    Args:
        tasks: tasks whose meta-gradients are compared one by one.
        repeats: timed repetitions; the median counts.
        proximal: λ for the estimators that need a proximal term, where the experiment has none.
    """

    tasks: int
    repeats: int
    proximal: float

    def __post_init__(self) -> None:
        checks.integer("tasks", self.tasks, least=1)
        checks.integer("repeats", self.repeats, least=1)
        checks.number("proximal", self.proximal, above=0)


@dataclass(frozen=True)
class Row:
    """One estimator's measurements.

    Attributes:
        estimator: its constructor expression.
        family: its class.
        estimates: what it estimates, as `metagrad.estimators.Family` has it.
        size: its order, rounds, groups or window; None where it has none of these.
        proximal: λ of the inner problem that it and its reference solve; None for none.
        error: quartiles (25, 50, 75 %) over tasks of ‖estimate − exact‖ / ‖exact‖, in float64.
        cosine: median over tasks of the cosine between estimate and exact.
        products: curvature products of one task.
        rounds: how many of them must wait for one another.
        solves: further runs of the inner loop.
        seconds: median time of one mean meta-gradient over the meta-batch.
        peak_bytes: most memory held on the way.
    """

    estimator: str
    family: str
    estimates: str
    size: int | None
    proximal: float | None
    error: tuple[float, float, float]
    cosine: float
    products: int
    rounds: int
    solves: int
    seconds: float
    peak_bytes: int


def compare(config: Experiment, effort: Effort, reporter: Reporter, say: Callable[[str], None]) -> list[Row]:
    """Measure every candidate after `config.meta_steps` meta-steps of training with Exact.

    Errors are relative to Exact on the same tasks, weights and inner problem. Estimators that need a proximal term get
    `effort.proximal` where the experiment has none, and so does their reference. They estimate the gradient at the
    *solution* of the inner problem, so their error includes how far K steps are from it. Reptile's direction is no
    gradient: its length says nothing, its cosine does.

    Raises:
        ValueError: missing data, or values that are not finite.
    """
    # Training tasks: that is where meta-gradients are taken, and choosing by test tasks would be peeking.
    source = config.problem.sources(config.machine.torch_device()).train
    config = with_threads(config, source)
    with running_on(config.machine.threads):
        return _compared(config, effort, source, reporter, say)


def _compared(
    config: Experiment, effort: Effort, source: TaskSource, reporter: Reporter, say: Callable[[str], None]
) -> list[Row]:
    weights = _trained(config, reporter)
    tasks = fixed_tasks(source, effort.tasks, config.test.seed)
    together = Task.join(fixed_tasks(source, config.meta_batch, config.test.seed))
    references: dict[float | None, list[Tensor]] = {}
    listed = families.members(config.num_steps)
    if isinstance(config.estimator, Estimator) and config.estimator not in listed:
        listed.append(config.estimator)
    asked = _applicable([_posed(config, estimator, effort) for estimator in listed], weights, tasks[0], say)
    spent = _spent(asked, weights, together, effort.repeats, say)
    rows: list[Row] = []
    for one, (seconds, peak) in zip(asked, spent, strict=True):
        say(f"error of {short(one.estimator)}")
        if one.proximal not in references:
            references[one.proximal] = list(_gradients(replace(one, estimator=Exact()), weights, tasks))
        error, cosine = _distances(_gradients(one, weights, tasks), references[one.proximal])
        assert isinstance(one.estimator, Estimator)
        cost, family = one.estimator.cost(config.num_steps), families.family(one.estimator)
        rows.append(
            Row(
                estimator=short(one.estimator),
                family=type(one.estimator).__name__,
                estimates=family.estimates,
                size=family.size_of(one.estimator),
                proximal=one.proximal,
                error=error,
                cosine=cosine,
                products=cost.products,
                rounds=cost.rounds,
                solves=cost.solves,
                seconds=seconds,
                peak_bytes=peak,
            )
        )
    return rows


def _applicable(
    asked: list[Experiment], weights: dict[str, Tensor], task: Task, say: Callable[[str], None]
) -> list[Experiment]:
    """Those that give a meta-gradient on this experiment at all; the others say why not."""
    able: list[Experiment] = []
    for config in asked:
        learner = _learner(config, weights)
        try:
            learner.meta_gradient(task.to(config.machine.torch_device(), config.machine.torch_dtype()))
        except NonFiniteError:
            raise
        except ValueError as error:
            say(f"left out: {error}")
        else:
            able.append(config)
    return able


def _posed(config: Experiment, estimator: Estimator, effort: Effort) -> Experiment:
    """The experiment with this estimator, and with an anchor if the estimator cannot do without."""
    anchored = "proximal" in families.family(estimator).needs and config.proximal is None
    return replace(config, estimator=estimator, proximal=effort.proximal if anchored else config.proximal)


def record(config: Experiment, effort: Effort, rows: list[Row], command: str | None = None) -> dict[str, Any]:
    """For JSON: what was typed, if anything was, versions and platform, the experiment, the effort, and every row."""
    return {
        **({} if command is None else {"command": command}),
        **surroundings(),
        "config": config.to_json(),
        "effort": asdict(effort),
        "rows": [asdict(row) for row in rows],
    }


def _trained(config: Experiment, reporter: Reporter) -> dict[str, Tensor]:
    """Weights after training with Exact in a run that is thrown away."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "run"
        start(replace(config, estimator=Exact()), path, reporter)
        return Run(path).weights("last")


def _learner(config: Experiment, weights: dict[str, Tensor]) -> MetaLearner:
    if config.machine.capture == "auto":  # compiling every estimator takes longer than comparing them
        config = replace(config, machine=replace(config.machine, capture="off"))
    learner = build_learner(config)
    learner.load_state_dict(weights)  # copies, and converts to the learner's type and device
    return learner


def _gradients(config: Experiment, weights: dict[str, Tensor], tasks: list[Task]) -> Iterator[Tensor]:
    """Each task's meta-gradient as a vector, in float64; on the CPU where the device has no float64."""
    kind = config.machine.torch_device().type
    device = "cpu" if kind == "mps" else config.machine.device
    precise = replace(config.machine, dtype="float64", device=device, precision="float32", capture="off")
    learner = _learner(replace(config, machine=precise), weights)
    for task in tasks:
        result = learner.meta_gradient(task.to(precise.torch_device(), precise.torch_dtype()))
        leaves = dict(tree.items(result.gradient))
        yield torch.cat([leaves[name].detach().flatten() for name in sorted(leaves)])


def _distances(estimates: Iterable[Tensor], references: list[Tensor]) -> tuple[tuple[float, float, float], float]:
    errors: list[Tensor] = []
    cosines: list[Tensor] = []
    for estimate, exact in zip(estimates, references, strict=True):
        errors.append(((estimate - exact).norm() / exact.norm()).cpu())
        cosines.append(torch.dot(estimate, exact) / (estimate.norm() * exact.norm()))
    low, middle, high = torch.stack(errors).quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return (low, middle, high), torch.stack(cosines).median().item()


def _spent(
    asked: list[Experiment], weights: dict[str, Tensor], tasks: Task, repeats: int, say: Callable[[str], None]
) -> list[tuple[float, int]]:
    """Median seconds and peak bytes of each; one repetition of all before the next, so that drifts hit all alike."""
    learners = [_learner(config, weights) for config in asked]
    device = asked[0].machine.torch_device()
    batch = tasks.to(device, asked[0].machine.torch_dtype())
    peaks: list[int] = []
    for config, learner in zip(asked, learners, strict=True):
        say(f"memory of {short(config.estimator)}")
        learner.meta_gradient(batch)  # the first call also pays for kernel choice and lasting buffers
        peaks.append(peak_bytes(lambda learner=learner: learner.meta_gradient(batch), device))
    times: list[list[float]] = [[] for _ in learners]
    for repeat in range(repeats):
        say(f"time, repetition {repeat + 1} of {repeats}")
        for learner, seconds in zip(learners, times, strict=True):
            _wait(device)
            began = time.perf_counter()
            learner.meta_gradient(batch)
            _wait(device)
            seconds.append(time.perf_counter() - began)
    return [(statistics.median(seconds), peak) for seconds, peak in zip(times, peaks, strict=True)]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
