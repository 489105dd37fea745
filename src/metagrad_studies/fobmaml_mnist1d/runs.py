"""Runs on MNIST-1D: six methods, each with its inner problem, and two outer updates."""

from dataclasses import dataclass, replace

from metagrad.estimators import Exact, FiniteDifference, FirstOrder, Implicit, Reptile
from metagrad.estimators.base import Estimator
from metagrad.experiments.config import Experiment
from metagrad.experiments.mnist1d_problem import Mnist1dClassification
from metagrad.experiments.presets import PRESETS
from metagrad.rules import SGD
from metagrad_studies.instruments.training import sized

_PROXIMAL = ("FO-B-MAML symmetric", "FO-B-MAML forward", "iMAML")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Length of a normalised outer step, and the rate of a plain one."""

    normalised: float
    plain: float


@dataclass(frozen=True, kw_only=True)
class SignalsSettings:
    """Tasks, inner problems and outer updates.

    Args:
        ways: digits of a task.
        shots: support signals of a digit.
        queries: query signals of a digit, in training and test.
        num_steps: K of MAML, FOMAML and Reptile.
        lr: of their inner steps.
        proximal: λ of the inner problem of iMAML and FO-B-MAML.
        proximal_steps: K there.
        proximal_lr: of the inner steps there.
        nudge: ν of FO-B-MAML.
        meta_steps: of every run.
        meta_batch: tasks of a meta-step.
        momentum: of both outer updates.
        through_steps: outer rates of MAML and FOMAML.
        finite_difference: those of FO-B-MAML.
        implicit: those of iMAML.
        reptile: those of Reptile, whose direction has the units of parameters.
        seeds: of weights and training tasks, a run each.
        validation_tasks: tasks of each of ten validations; they choose the weights.
        test_tasks: the same for every run.
        close: difference in accuracy that still counts as tracking closely.
    """

    ways: int
    shots: int
    queries: int
    num_steps: int
    lr: float
    proximal: float
    proximal_steps: int
    proximal_lr: float
    nudge: float
    meta_steps: int
    meta_batch: int
    momentum: float
    through_steps: Rates
    finite_difference: Rates
    implicit: Rates
    reptile: Rates
    seeds: tuple[int, ...]
    validation_tasks: int
    test_tasks: int
    close: float


def experiment(settings: SignalsSettings, method: str, outer: str, seed: int) -> Experiment:
    """One run: the preset of MNIST-1D with this estimator, inner problem and outer update."""
    estimators: dict[str, Estimator] = {
        "MAML": Exact(),
        "FO-B-MAML symmetric": FiniteDifference(settings.nudge, "symmetric"),
        "FO-B-MAML forward": FiniteDifference(settings.nudge, "forward"),
        "iMAML": Implicit(),
        "FOMAML": FirstOrder(),
        "Reptile": Reptile(),
    }
    like, proximal = PRESETS["mnist1d-5way-5shot"](), method in _PROXIMAL
    assert isinstance(like.problem, Mnist1dClassification)
    steps = settings.proximal_steps if proximal else settings.num_steps
    rates = {"MAML": settings.through_steps, "FOMAML": settings.through_steps}
    rates |= {"iMAML": settings.implicit, "Reptile": settings.reptile}
    rate = rates.get(method, settings.finite_difference)
    name = "normalized-sgd" if outer == "normalised" else "sgd"
    config = replace(
        like,
        problem=replace(
            like.problem,
            ways=settings.ways,
            shots=settings.shots,
            queries=settings.queries,
            test_queries=settings.queries,
        ),
        rule=SGD(settings.proximal_lr if proximal else settings.lr),
        num_steps=steps,
        estimator=estimators[method],
        proximal=settings.proximal if proximal else None,
        meta_batch=settings.meta_batch,
        optimizer=replace(
            like.optimizer,
            name=name,
            lr=rate.normalised if outer == "normalised" else rate.plain,
            momentum=settings.momentum,
            clip=None,
        ),
        test=replace(like.test, steps=steps),
    )
    return sized(
        config,
        meta_steps=settings.meta_steps,
        validation_tasks=settings.validation_tasks,
        test_tasks=settings.test_tasks,
        seed=seed,
    )
