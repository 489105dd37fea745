"""Training: it learns, it repeats itself, it continues to the bit, and it stops without losing anything."""

import _thread
import math

import pytest
import torch

from metagrad import SGD, Binomial, Learned, MetaLearner
from metagrad.data.regression import Sinusoids
from metagrad.networks import MLP
from metagrad.task import Batch, Task
from metagrad.training import Diverged, Plan, Run, RunWriter, Silent, Trainer, fixed_tasks


def mean_squared_error(predictions, targets):
    return (predictions - targets).square().mean()


def a_trainer(
    meta_steps,
    source=None,
    rule=None,
    reporter=None,
    schedule="constant",
    clip=None,
    validation=None,
    estimator=None,
    probe_every=None,
    num_steps=2,
):
    torch.manual_seed(3)
    source = source or Sinusoids(5, 5)
    learner = MetaLearner(
        MLP([1, 8, 1]),
        mean_squared_error,
        rule or SGD(lr=0.01),
        num_steps=num_steps,
        estimator=estimator or Binomial(order=1),
    )
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
    scheduler = (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
        if schedule == "cosine"
        else torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    )
    plan = Plan(
        meta_steps=meta_steps,
        meta_batch=4,
        validate_every=5,
        checkpoint_every=3,
        clip=clip,
        evaluation_chunk=4,
        probe_every=probe_every,
    )
    held_out = fixed_tasks(Sinusoids(5, 5), 6, seed=1) if validation is None else validation
    return Trainer(learner, optimizer, scheduler, source, held_out, plan, seed=0, reporter=reporter)


def new_run(trainer, path):
    return RunWriter.create(path, {}, trainer.state(), trainer.learner.state_dict())


def trained(path, meta_steps, **options):
    trainer = a_trainer(meta_steps, **options)
    with new_run(trainer, path) as writer:
        trainer.train(writer)
    return trainer


def records_without_seconds(path):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in Run(path).metrics()]


def test_every_step_and_validation_is_recorded(tmp_path):
    trained(tmp_path / "run", 12)
    records = Run(tmp_path / "run").metrics()
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 13))
    assert [r["step"] for r in records if r["kind"] == "validation"] == [5, 10, 12]
    assert all(r["gradient_norm"] > 0 and r["lr"] == 1e-2 for r in records if r["kind"] == "train")


def test_the_same_seed_gives_the_same_run(tmp_path):
    trained(tmp_path / "a", 7)
    trained(tmp_path / "b", 7)
    assert records_without_seconds(tmp_path / "a") == records_without_seconds(tmp_path / "b")


class StopAfter(Silent):
    """Dies in the middle of a run, as a kill would."""

    def __init__(self, step):
        self.step = step

    def stepped(self, step, values):
        if step == self.step:
            raise SystemExit


@pytest.mark.parametrize(
    ("rule", "schedule"),
    [
        (SGD(lr=Learned(0.01, "tensor")), "cosine"),
        pytest.param(SGD(lr=Learned(0.01, "tensor")), "constant", marks=pytest.mark.slow),
        pytest.param(SGD(lr=0.01), "cosine", marks=pytest.mark.slow),
        pytest.param(SGD(lr=0.01), "constant", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(tmp_path, rule, schedule):
    trained(tmp_path / "whole", 12, rule=rule, schedule=schedule, probe_every=2)
    for stop in (2, 4, 7, 11):
        path = tmp_path / f"stopped at {stop}"
        with pytest.raises(SystemExit):
            trained(path, 12, rule=rule, schedule=schedule, reporter=StopAfter(stop), probe_every=2)
        torch.randn(stop)  # torch's global generator must not matter
        again = a_trainer(12, rule=rule, schedule=schedule, probe_every=2)
        writer, saved = RunWriter.resume(path)
        with writer:
            again.load_state(saved)
            assert again.step < stop
            again.train(writer)
        assert records_without_seconds(path) == records_without_seconds(tmp_path / "whole")
        for which in ("best", "last"):
            expected = Run(tmp_path / "whole").weights(which)
            assert all(torch.equal(w, expected[name]) for name, w in Run(path).weights(which).items())


@pytest.mark.slow
def test_training_learns_the_sinusoid(tmp_path):
    trained(tmp_path / "run", 200)
    losses = [r["loss"] for r in Run(tmp_path / "run").metrics() if r["kind"] == "validation"]
    assert losses[-1] < 0.85 * losses[0]


def test_best_weights_are_those_of_the_best_validation(tmp_path):
    trainer = trained(tmp_path / "run", 40)
    run = Run(tmp_path / "run")
    validations = [r for r in run.metrics() if r["kind"] == "validation"]
    assert trainer.best == min(r["loss"] for r in validations)
    trainer.learner.load_state_dict(run.weights("best"))
    from_disk = torch.stack([trainer.learner.evaluate(task).loss[0, -1] for task in trainer.validation])
    assert from_disk.double().mean().item() == pytest.approx(trainer.best, rel=1e-5)


def test_clipping_bounds_what_the_optimizer_sees(tmp_path):
    trainer = trained(tmp_path / "run", 1, clip=1e-3)
    gradients = torch.cat([p.grad.flatten() for p in trainer.learner.parameters()])
    assert gradients.norm().item() == pytest.approx(1e-3, rel=1e-3)
    assert Run(tmp_path / "run").metrics()[0]["gradient_norm"] > 1e-2  # as it was before


class BadFrom:
    """Sinusoids, until the draw with this number: its second task holds a NaN."""

    def __init__(self, draw):
        self.left = draw

    def sample(self, count, generator):
        tasks = Sinusoids(5, 5).sample(count, generator)
        self.left -= 1
        if self.left == 0:
            targets = tasks.query.targets.clone()
            targets[1, 0] = math.nan
            tasks = Task(tasks.support, Batch(tasks.query.inputs, targets))
        return tasks


def test_nan_stops_the_run_and_the_weights_before_it_are_saved(tmp_path):
    trained(tmp_path / "clean", 4)
    with pytest.raises(Diverged, match=r"meta-step 5 was not taken: .*task 1.*NaN"):
        trained(tmp_path / "run", 12, source=BadFrom(5))
    run = Run(tmp_path / "run")
    assert run.checkpoint()["step"] == 4
    assert [r["step"] for r in run.metrics()] == [1, 2, 3, 4]
    expected = Run(tmp_path / "clean").weights("last")
    assert all(torch.equal(weights, expected[name]) for name, weights in run.weights("last").items())
    again = a_trainer(12)  # the data repaired: the run goes on as if they had never been bad
    trained(tmp_path / "whole", 12)
    writer, saved = RunWriter.resume(tmp_path / "run")
    with writer:
        again.load_state(saved)
        again.train(writer)
    assert records_without_seconds(tmp_path / "run") == records_without_seconds(tmp_path / "whole")


def test_a_diverging_inner_loop_is_named(tmp_path):
    with pytest.raises(Diverged, match="meta-step 1 was not taken: task"):
        trained(tmp_path / "run", 3, rule=SGD(lr=1e30))


class PressCtrlC(Silent):
    def stepped(self, step, values):
        if step == 7:
            _thread.interrupt_main()


def test_ctrl_c_writes_a_checkpoint_after_the_step(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", 12, reporter=PressCtrlC())
    assert Run(tmp_path / "run").checkpoint()["step"] == 7
    assert [r["step"] for r in Run(tmp_path / "run").metrics() if r["kind"] == "train"] == list(range(1, 8))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    trainer = a_trainer(1)
    state = trainer.state()
    state["learner"] = {"model.other": torch.zeros(1)}
    with pytest.raises(ValueError, match="does not fit this experiment"):
        trainer.load_state(state)


@pytest.mark.parametrize(
    ("field", "value"),
    [("meta_steps", -1), ("meta_batch", 0), ("checkpoint_every", 0), ("clip", 0.0), ("probe_every", 0)],
)
def test_impossible_plans_are_refused(field, value):
    plan = {
        "meta_steps": 1,
        "meta_batch": 1,
        "validate_every": 1,
        "checkpoint_every": 1,
        "clip": None,
        "evaluation_chunk": 1,
    }
    with pytest.raises(ValueError, match=field):
        Plan(**{**plan, field: value})
