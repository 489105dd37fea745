"""An experiment carried out: a run started or continued, and its weights measured on test tasks."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from metagrad.capture import keep_freed_memory
from metagrad.choosing import Auto
from metagrad.estimators import Exact
from metagrad.experiments.config import Experiment, build, build_learner
from metagrad.experiments.problems import Sources
from metagrad.experiments.threads import running_on, with_threads
from metagrad.learner import MetaLearner, NonFiniteError
from metagrad.opening import is_regular
from metagrad.training.evaluation import HeldOut, evaluate, fixed_tasks
from metagrad.training.files import require_writable
from metagrad.training.fitting import fitted_weights, most_bytes
from metagrad.training.json_files import write_json
from metagrad.training.leftovers import RESULT_FILES
from metagrad.training.manifest import differences, other_versions
from metagrad.training.plan import Plan
from metagrad.training.progress import Reporter
from metagrad.training.run import Run
from metagrad.training.run_writer import RunWriter, require_new
from metagrad.training.surroundings import surroundings
from metagrad.training.trainer import Trainer

# Compiling takes about as long as this many meta-steps as written, on the presets.
CAPTURE_PAYS_FROM = 500


def start(config: Experiment, path: Path, reporter: Reporter, command: str | None = None) -> None:
    """Make the run directory `path` and train in it.

    Args:
        config: what to train.
        path: the run directory to make.
        reporter: told about every step.
        command: what was typed, for the record.

    Raises:
        ValueError: `path` exists or cannot be made, data are missing, or training diverged.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    require_new(path)
    if config.machine.capture == "auto" and config.meta_steps < CAPTURE_PAYS_FROM:
        config = replace(config, machine=replace(config.machine, capture="off"))
    learner, sources = build(config)
    # Sums depend on the number of threads in their last bits: a resumed run has to use as many.
    config = with_threads(config, sources.train)
    if config.machine.capture != "off":
        keep_freed_memory()
    with running_on(config.machine.threads):
        trainer = _trainer(config, learner, sources, reporter)
        _rehearse(config, sources)
        writer = RunWriter.create(path, config.to_json(), trainer.state(), trainer.learner.state_dict(), command)
        with writer:
            trainer.train(writer)


def resume(
    path: Path, reporter: Reporter, data: str | None, meta_steps: int | None, accept_changes: bool = False
) -> Experiment:
    """Train on from the latest checkpoint, on one CPU to the bit as if nothing had happened; returns the configuration.

    Args:
        path: the run directory.
        reporter: told about every step.
        data: another place of the same data, where they have moved.
        meta_steps: a new, larger length of the run; its validation at the old end stays.
        accept_changes: go on although config.json or a major version is another than at the latest checkpoint.

    Raises:
        ValueError: as `start`; or the run is damaged or changed, or another process trains in it.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    config = opened(Run(path), data, accept_changes)
    best_available(Run(path))
    for name in RESULT_FILES:
        require_writable(path / name)
    _require_size(config, path / "last.safetensors")
    if meta_steps is not None:
        if config.optimizer.schedule == "cosine":
            raise ValueError("a cosine schedule fixes the length of a run: start a new one for other meta_steps")
        config = replace(config, meta_steps=meta_steps)
    apply_threads(config)
    if config.machine.capture != "off":
        keep_freed_memory()
    trainer = _trainer(config, *build(config), reporter)
    writer, saved = RunWriter.resume(path, most_bytes(trainer.learner))
    with writer:
        if not accept_changes:
            _require_unchanged(Run(path), saved)
        trainer.load_state(saved)
        if meta_steps is not None or accept_changes:
            writer.amend(config.to_json())
            writer.checkpoint(trainer.state(), trainer.learner.state_dict())
        trainer.train(writer)
    return config


def opened(run: Run, data: str | None = None, accept_changes: bool = False) -> Experiment:
    """The configuration of a run, with its data looked for in `data` where that is given.

    Raises:
        ValueError: config.json is damaged, or was changed and that is not accepted, or `data` is given to an
            experiment without files.
    """
    changes = "" if accept_changes else run.changes()
    if changes:
        raise _changed(f"{run.path / 'config.json'} was changed after metagrad wrote it: {changes}")
    try:
        config = Experiment.from_json(run.config())
    except (TypeError, ValueError) as error:
        raise ValueError(f"the configuration in {run.path} cannot be used: {error}") from error
    return config if data is None else with_data(config, data)


def _require_unchanged(run: Run, saved: Mapping[str, Any]) -> None:
    """Refuse to go on with another configuration, or a version with another first number, than the checkpoint's."""
    now = run.manifest()
    known = saved["manifest"] or now  # checkpoints of format 1 did not say
    versions = other_versions(known.get("versions"), surroundings()["versions"])
    changes = differences(known["config"], now["config"]) if isinstance(known.get("config"), dict) else ""
    if versions or changes:
        raise _changed(f"since the latest checkpoint of {run.path} {', '.join(filter(None, (changes, versions)))}")


def _changed(what: str) -> ValueError:
    return ValueError(f"{what}; --accept-changes goes on with it as it is now")


def with_data(config: Experiment, data: str) -> Experiment:
    """The experiment with its data in directory `data`; ValueError where it reads none."""
    if not hasattr(config.problem, "data"):
        raise ValueError("this experiment makes its tasks itself: --data has no use here")
    return replace(config, problem=replace(cast(Any, config.problem), data=data))


def apply_threads(config: Experiment) -> None:
    """Set torch's number of CPU threads, which holds for the whole process, if the experiment asks for one."""
    if config.machine.threads is not None:
        torch.set_num_threads(config.machine.threads)


def trained(config: Experiment, run: Run, which: str) -> tuple[MetaLearner, Sources]:
    """The learner with the weights `best` or `last` of a run, and the task sources.

    Raises:
        ValueError: missing or damaged weights, or weights of another model.
    """
    _require_size(config, run.path / f"{which}.safetensors")
    learner, sources = build(config)
    try:
        learner.load_state_dict(
            fitted_weights(run.weights(which, most_bytes(learner)), learner, f"{which}.safetensors")
        )
    except RuntimeError as error:  # a module's own extra state
        raise ValueError(f"the weights {which}.safetensors in {run.path} are not those of its model") from error
    return learner, sources


def _require_size(config: Experiment, path: Path) -> None:
    """Refuse a model that has more weights than are in a run's file, before memory is taken for it."""
    try:
        with torch.device("meta"):
            needed = sum(parameter.nbytes for parameter in config.problem.model().parameters())
    except (RuntimeError, TypeError):  # a model of the user's that is not made without values
        return
    if is_regular(path) and (size := os.lstat(path).st_size) < needed:
        raise ValueError(
            f"{path} has {size:,} bytes, and the model of the configuration beside it {needed:,}: they are of two runs"
        )


def same_test_tasks(first: Experiment, second: Experiment) -> bool:
    """Whether two experiments are tested on the same tasks, judged by the first of them."""
    drawn = [
        fixed_tasks(config.problem.sources(torch.device("cpu")).test, 1, config.test.seed)[0]
        for config in (first, second)
    ]
    leaves = [[leaf for batch in task for leaf in batch] for task in drawn]
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(*leaves, strict=True))


def best_available(run: Run) -> str:
    """`best`, or `last` for a run that was never validated.

    Raises:
        ValueError: a validation chose weights, and they are not there.
    """
    path = run.path / "best.safetensors"
    if os.path.lexists(path):
        return "best"
    chosen = [record["step"] for record in run.metrics() if record["kind"] == "validation" and record.get("best")]
    if chosen:
        raise ValueError(
            f"{path} is missing, although validation after meta-step {chosen[-1]} chose those weights; put it back, "
            "measure the latest with --weights last, or copy last.safetensors to its place"
        )
    return "last"


def measure(config: Experiment, learner: MetaLearner, sources: Sources) -> HeldOut:
    """Loss and metrics on the experiment's test tasks after 0..test.steps inner steps."""
    tasks = fixed_tasks(sources.test, config.test.tasks, config.test.seed)
    return evaluate(
        learner,
        tasks,
        config.test.steps,
        chunk=config.machine.evaluation_chunk,
        device=config.machine.torch_device(),
        dtype=config.machine.torch_dtype(),
    )


def write_test(path: Path, config: Experiment, which: str, result: HeldOut) -> None:
    """Record a test: which weights and tasks, means with intervals, and the value of every task."""
    asked = {"tasks": config.test.tasks, "steps": config.test.steps, "seed": config.test.seed}
    write_json(path, {"weights": which, "test": asked, "results": result.record()})


def _rehearse(config: Experiment, sources: Sources) -> None:
    """One meta-gradient of one task, so that parts that do not fit are refused before there is a run directory."""
    # Exact in place of "auto", which would measure all that it can choose from on a task that is not trained on.
    estimator = Exact() if isinstance(config.estimator, Auto) else config.estimator
    learner = build_learner(replace(config, estimator=estimator, machine=replace(config.machine, capture="off")))
    task = fixed_tasks(sources.train, 1, config.seed)[0].to(config.machine.torch_device(), config.machine.torch_dtype())
    with contextlib.suppress(NonFiniteError):  # training reports it, with the meta-step
        learner.meta_gradient(task)


def _trainer(config: Experiment, learner: MetaLearner, sources: Sources, reporter: Reporter) -> Trainer:
    parameters: list[nn.Parameter] = list(learner.parameters())
    optimizer = config.optimizer.build(parameters)
    return Trainer(
        learner,
        optimizer,
        config.optimizer.scheduler(optimizer, config.meta_steps),
        sources.train,
        fixed_tasks(sources.validation, config.validation.tasks, config.validation.seed),
        Plan(
            meta_steps=config.meta_steps,
            meta_batch=config.meta_batch,
            validate_every=config.validation.every,
            checkpoint_every=config.checkpoint_every,
            clip=config.optimizer.clip,
            evaluation_chunk=config.machine.evaluation_chunk,
            probe_every=config.probe_every,
        ),
        config.seed,
        reporter,
    )
