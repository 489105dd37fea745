"""FO-B-MAML's smoothness: how the norm of the meta-objective's Hessian goes with that of its gradient in training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch

from metagrad import Exact, MetaLearner, Task, tree
from metagrad.experiments.config import Experiment, build
from metagrad.experiments.presets import PRESETS
from metagrad.training import fixed_tasks
from metagrad_studies.core import Bench, Cell, Record, Request
from metagrad_studies.instruments.spectra import direction
from metagrad_studies.smoothness.meta_objective import of_each, of_mean
from metagrad_studies.smoothness.results import Results, SmoothnessSettings, TrainedProblem


class Smoothness(Results):
    """Spectral norm of the Hessian of the meta-objective beside the norm of its gradient."""

    name: ClassVar[str] = "smoothness"
    title: ClassVar[str] = "Smoothness of the meta-objective against the norm of the meta-gradient, in training"
    source: ClassVar[str] = "FO-B-MAML (Chayti and Jaggi, arXiv 2409.03682): MAML's smoothness grows with its gradient"
    tiny: ClassVar[bool] = True
    choices: ClassVar[tuple[str, ...]] = (
        "The published text describes no experiment on this. All settings are ours: the presets, trained with Exact.",
        "Meta-objective: mean query loss of fixed training tasks after K unrolled steps of gradient descent, without "
        "a proximal term. Its Hessian comes from differentiating the unrolled loop twice, in float64, and Lanczos "
        "iteration.",
        "The networks have ReLU, whose Hessian exists almost everywhere and does not see the kinks.",
        "Points of one training are no independent draws. So each seed gives one rank correlation, and the interval "
        "is over seeds (Student's). The same is done over single tasks at fixed weights, where training cannot be the "
        "common cause.",
    )

    def settings(self, request: Request) -> SmoothnessSettings:
        full = request.scale == "full"
        points = (0, 10, 20, 40, 80, 160, 320)
        sinusoid, digits = ((*points, 640, 1280, last) if full else points for last in (2500, 3000))
        problems = (
            _problem("sinusoid", sinusoid, tasks=200 if full else 40),
            _problem("mnist1d-5way-1shot", digits, tasks=100 if full else 20),
        )
        return SmoothnessSettings(problems, seeds=tuple(range(10, 20 if full else 15)))

    def cells(self, settings: SmoothnessSettings) -> Sequence[Cell]:
        return [
            Cell(f"{problem.name}_seed={seed}", {"problem": problem.name, "seed": seed})
            for problem in settings.problems
            for seed in settings.seeds
        ]

    def measure(self, settings: SmoothnessSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        problem = next(p for p in settings.problems if p.name == cell.values["problem"])
        config = replace(Experiment.from_json(problem.experiment), seed=cell.values["seed"])
        learner, sources = build(config)
        device, dtype = config.machine.torch_device(), config.machine.torch_dtype()
        tasks = Task.join(fixed_tasks(sources.train, problem.tasks, settings.task_seed)).to(device, torch.float64)
        parameters = list(learner.parameters())
        optimizer = config.optimizer.build(parameters)
        scheduler = config.optimizer.scheduler(optimizer, config.meta_steps)
        draws = torch.Generator().manual_seed(config.seed)
        bench.reporter.started(0, config.meta_steps)
        records: list[Record] = []
        for step in range(config.meta_steps + 1):
            if step in problem.points:
                records.append({"meta_step": step, **_point(settings, config, learner, tasks)})
            if step == config.meta_steps:
                break
            optimizer.zero_grad()
            result = learner.backward(sources.train.sample(config.meta_batch, draws).to(device, dtype))
            if config.optimizer.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip)
            optimizer.step()
            scheduler.step()
            bench.reporter.stepped(step + 1, {"loss": result.loss.mean().item()})
        return records


def _problem(name: str, points: tuple[int, ...], *, tasks: int) -> TrainedProblem:
    config = PRESETS[name]()
    machine = replace(config.machine, device="cpu", capture="off")
    config = replace(config, estimator=Exact(), meta_steps=points[-1], machine=machine, probe_every=None)
    return TrainedProblem(name, config.to_json(), points, tasks)


def _point(settings: SmoothnessSettings, config: Experiment, learner: MetaLearner, tasks: Task) -> dict[str, Any]:
    """What is recorded at the learner's present weights."""
    precise, _ = build(replace(config, machine=replace(config.machine, dtype="float64")))
    precise.load_state_dict(learner.state_dict())
    meta = precise.meta()
    first, iterations = tree.flat(direction(meta, settings.lanczos_seed)), settings.lanczos_iterations
    joint, single = (of(precise.loop, meta, tasks, first=first, iterations=iterations) for of in (of_mean, of_each))
    return {
        "loss": joint.loss.item(),
        "gradient_norm": joint.gradient_norm.item(),
        "smoothness": joint.smoothness.item(),
        **{name: value.item() for name, value in joint.extremes._asdict().items()},
        "task_residual": (single.extremes.residual / single.smoothness).max().item(),
        "task_gradient_norms": single.gradient_norm.tolist(),
        "task_smoothness": single.smoothness.tolist(),
    }


STUDY = Smoothness()
