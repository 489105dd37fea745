"""Runs on MNIST-1D: six methods, each with its inner problem, and two outer updates."""

from dataclasses import dataclass, replace

from metagrad import SGD, Exact, FiniteDifference, FirstOrder, Implicit, Reptile
from metagrad.estimators import Estimator
from metagrad.experiments.config import Experiment
from metagrad.experiments.mnist1d_problem import Mnist1dClassification
from metagrad.experiments.presets import PRESETS
from metagrad_studies.instruments.training import sized


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Length of a normalised outer step, and the rate of a plain one."""

    normalised: float
    plain: float


@dataclass(frozen=True, kw_only=True)
class SignalsSettings:
    """Tasks, inner problems and outer updates."""

    ways: int = 5  # digits of a task
    shots: int = 5  # support signals of a digit
    queries: int = 15  # query signals of a digit, in training and test
    num_steps: int = 5  # K of MAML, FOMAML and Reptile
    lr: float = 0.5  # of their inner steps
    proximal: float = 0.7  # λ of the inner problem of iMAML and FO-B-MAML
    proximal_steps: int = 5  # K there
    proximal_lr: float = 0.5  # of the inner steps there
    nudge: float = 0.3  # ν of FO-B-MAML
    meta_steps: int  # of every run
    meta_batch: int = 8  # tasks of a meta-step
    momentum: float = 0.9  # of both outer updates
    through_steps: Rates = Rates(normalised=0.3, plain=0.1)  # outer rates of MAML and FOMAML
    finite_difference: Rates = Rates(normalised=0.3, plain=0.2)  # those of FO-B-MAML
    implicit: Rates = Rates(normalised=0.03, plain=0.03)  # those of iMAML
    reptile: Rates = Rates(normalised=0.02, plain=0.01)  # those of Reptile, whose direction has the units of parameters
    seeds: tuple[int, ...]  # of weights and training tasks, a run each
    validation_tasks: int  # tasks of each of ten validations; they choose the weights
    test_tasks: int  # the same for every run
    close: float = 0.02  # difference in accuracy that still counts as tracking closely


def experiment(settings: SignalsSettings, method: str, outer: str, seed: int) -> Experiment:
    """One run: the preset of MNIST-1D with this estimator, inner problem and outer update."""
    estimators: dict[str, tuple[Estimator, Rates]] = {
        "MAML": (Exact(), settings.through_steps),
        "FOMAML": (FirstOrder(), settings.through_steps),
        "Reptile": (Reptile(), settings.reptile),
        "iMAML": (Implicit(), settings.implicit),
        "FO-B-MAML symmetric": (FiniteDifference(settings.nudge, "symmetric"), settings.finite_difference),
        "FO-B-MAML forward": (FiniteDifference(settings.nudge, "forward"), settings.finite_difference),
    }
    estimator, rates = estimators[method]
    proximal, normalised = isinstance(estimator, Implicit | FiniteDifference), outer == "normalised"
    steps = settings.proximal_steps if proximal else settings.num_steps
    preset, queries = PRESETS["mnist1d-5way-5shot"](), settings.queries
    assert isinstance(preset.problem, Mnist1dClassification)
    config = replace(
        preset,
        problem=replace(
            preset.problem, ways=settings.ways, shots=settings.shots, queries=queries, test_queries=queries
        ),
        rule=SGD(settings.proximal_lr if proximal else settings.lr),
        num_steps=steps,
        estimator=estimator,
        proximal=settings.proximal if proximal else None,
        meta_batch=settings.meta_batch,
        optimizer=replace(
            preset.optimizer,
            name="normalized-sgd" if normalised else "sgd",
            lr=rates.normalised if normalised else rates.plain,
            momentum=settings.momentum,
            clip=None,
        ),
        test=replace(preset.test, steps=steps),
    )
    return sized(
        config,
        meta_steps=settings.meta_steps,
        validation_tasks=settings.validation_tasks,
        test_tasks=settings.test_tasks,
        seed=seed,
    )
