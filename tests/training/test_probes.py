"""Errors that a run shows: estimates at each meta-step, probes now and then, one warning; and training as without."""

import io

import pytest
import torch
from rich.console import Console

from metagrad import SGD, Binomial, Exact, FirstOrder, Grouped, Implicit, Parallel, Truncated, tree
from metagrad.data.regression import Sinusoids
from metagrad.experiments.presets import sinusoid
from metagrad.experiments.training_figure import training
from metagrad.task import Batch, Task
from metagrad.training import Lines, Run, RunWriter, Silent
from metagrad.training.watch import ErrorWatch
from training.test_trainer import StopAfter, a_trainer, records_without_seconds, trained


def of_kind(path, kind):
    return [record for record in Run(path).metrics() if record["kind"] == kind]


def vector(gradient):
    return torch.cat([leaf.flatten() for leaf in tree.leaves(gradient)])


@pytest.mark.parametrize("estimator", [Binomial(1), Truncated(1), Binomial(1, center="auto")], ids=repr)
def test_probing_changes_no_weight_and_no_task_by_a_bit(tmp_path, estimator):
    trained(tmp_path / "without", 6, estimator=estimator)
    trainer = trained(tmp_path / "with", 6, estimator=estimator, probe_every=1)
    assert [r["step"] for r in of_kind(tmp_path / "with", "probe")] == [1, 2, 3, 4, 5, 6]
    others = [r for r in records_without_seconds(tmp_path / "with") if r["kind"] != "probe"]
    assert others == records_without_seconds(tmp_path / "without")
    expected = Run(tmp_path / "without").weights("last")
    assert all(torch.equal(w, expected[name]) for name, w in Run(tmp_path / "with").weights("last").items())
    assert torch.equal(trainer.state()["generator"], Run(tmp_path / "without").checkpoint()["generator"])


def test_a_probe_is_the_error_of_the_first_task_of_that_meta_step(tmp_path):
    trained(tmp_path / "run", 4, probe_every=3, num_steps=3, rule=SGD(lr=0.002))
    probes = of_kind(tmp_path / "run", "probe")
    assert [record["step"] for record in probes] == [1, 4]
    again = a_trainer(3, num_steps=3, rule=SGD(lr=0.002))
    with RunWriter.create(tmp_path / "again", {}, again.state(), {}) as writer:
        again.train(writer)
    generator = torch.Generator()
    generator.set_state(again.state()["generator"])
    tasks = Sinusoids(5, 5).sample(4, generator)  # of meta-step 4
    first = Task(*(Batch(*(leaf[:1] for leaf in part)) for part in tasks))
    gradients = []
    for estimator in (Binomial(1), Exact()):
        again.learner.estimator = estimator
        gradients.append(vector(again.learner.meta_gradient(first).gradient))
    error = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert probes[1]["error"] == pytest.approx(error.item(), rel=1e-3)


def test_the_estimate_of_a_meta_step_is_the_median_over_its_tasks(tmp_path):
    trained(tmp_path / "run", 1, num_steps=3)
    again = a_trainer(1, num_steps=3)
    tasks = Sinusoids(5, 5).sample(4, torch.Generator().manual_seed(0))
    own = again.learner.meta_gradient(tasks).diagnostics["error_estimate"]
    assert of_kind(tmp_path / "run", "train")[0]["error_estimate"] == pytest.approx(own.median().item(), rel=1e-5)


@pytest.mark.parametrize("estimator", [Exact(), FirstOrder()], ids=repr)
def test_estimators_that_know_nothing_say_nothing(tmp_path, estimator):
    trained(tmp_path / "run", 2, estimator=estimator, probe_every=1)
    assert all("error_estimate" not in record for record in of_kind(tmp_path / "run", "train"))
    assert len(of_kind(tmp_path / "run", "probe")) == (0 if estimator == Exact() else 2)


STEEP = {"rule": SGD(lr=0.03), "num_steps": 4, "clip": 1e-3}


def test_one_warning_with_the_remedy(tmp_path):
    with pytest.warns(RuntimeWarning) as caught:
        trained(tmp_path / "run", 5, **STEEP, probe_every=1)
    (warning,) = caught
    text = str(warning.message)
    assert "Binomial(order=1" in text
    for remedy in ("smaller inner lr", "higher order", "scale='paper'", "center='auto'", "Exact()"):
        assert remedy in text
    assert [record["text"] in text for record in of_kind(tmp_path / "run", "warning")] == [True]


def test_a_resumed_run_is_not_warned_again(tmp_path):
    with pytest.warns(RuntimeWarning), pytest.raises(SystemExit):
        trained(tmp_path / "run", 6, **STEEP, probe_every=1, reporter=StopAfter(5))
    again = a_trainer(6, **STEEP, probe_every=1)
    writer, saved = RunWriter.resume(tmp_path / "run")
    assert saved["watch"]["warned"]
    with writer:
        again.load_state(saved)
        again.train(writer)  # warnings are errors here
    assert len(of_kind(tmp_path / "run", "warning")) == 1


def test_a_run_inside_the_safe_range_is_not_warned(tmp_path):
    trained(tmp_path / "run", 5, probe_every=1, rule=SGD(lr=0.001))
    assert max(record["error"] for record in of_kind(tmp_path / "run", "probe")) < 1


def test_one_odd_probe_is_no_reason_and_two_in_a_row_are():
    watch = ErrorWatch()
    looks = [watch.look(Binomial(2), 0.1, probe) for probe in (5.0, None, 0.5, 5.0, None)]
    assert looks == [None] * 5
    assert "probes were above 1, the latest 1.5" in watch.look(Binomial(2), 0.1, 1.5)
    assert watch.look(Binomial(2), 9.0, 9.0) is None


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_the_threshold_itself_and_nan_are_not_unsafe(value):
    watch = ErrorWatch()
    assert [watch.look(Binomial(2), value, value) for _ in range(3)] == [None] * 3


def test_without_an_expansion_the_remedy_is_a_window():
    assert "larger window" in ErrorWatch().look(Truncated(1), 1.5, None)


@pytest.mark.parametrize(
    ("estimator", "taken", "other"),
    [
        (Binomial(2, scale="paper"), "scale='paper'", "center='auto'"),
        (Binomial(2, center="auto"), "center='auto'", "Parallel"),
        (Parallel(2), "Parallel", "more rounds"),
        (Grouped(2), "order", "more groups"),
    ],
)
def test_the_remedy_is_not_what_is_there_already(estimator, taken, other):
    remedy = ErrorWatch().look(estimator, 1.5, None).partition("safe range")[2]
    assert other in remedy
    assert taken not in remedy


def test_implicit_is_not_probed(tmp_path):
    trainer = a_trainer(1, estimator=Implicit(), probe_every=1)
    with RunWriter.create(tmp_path / "run", {}, trainer.state(), {}) as writer:
        assert trainer._probe(writer, None) is None


def test_lines_show_estimate_and_probe_and_keep_the_warning():
    text = io.StringIO()
    lines = Lines(Console(file=text, width=200), seconds=0.0)
    lines.started(0, 10)
    lines.stepped(3, {"loss": 0.5, "error_estimate": 0.01234, "error_probe": 0.02345, "tasks/s": 7.0})
    lines.warned("too [bold] far")
    assert "loss 0.5000  7 tasks/s  error ≈ 0.012  probed 0.023" in text.getvalue()
    assert "warning: too [bold] far" in text.getvalue()


def test_the_trainer_hands_both_to_the_reporter(tmp_path):
    seen = []

    class Listener(Silent):
        def stepped(self, step, values):
            seen.append(dict(values))

    trained(tmp_path / "run", 3, probe_every=2, reporter=Listener())
    assert ["error_probe" in values and "error_estimate" in values for values in seen] == [True] * 3
    assert seen[0]["error_probe"] == seen[1]["error_probe"] != seen[2]["error_probe"]


def test_the_figure_shows_what_was_recorded(tmp_path):
    trained(tmp_path / "run", 12, probe_every=2, num_steps=3, rule=SGD(lr=0.002))
    records = Run(tmp_path / "run").metrics()
    figure = training(sinusoid(), records)
    loss, errors = figure.axes
    assert errors.get_yscale() == "log"
    (probes,) = [line for line in errors.get_lines() if line.get_label() == "measured on one task"]
    assert probes.get_xydata().tolist() == [[r["step"], r["error"]] for r in records if r["kind"] == "probe"]
    dots = errors.get_lines()[0].get_xydata().tolist()
    assert dots == [[r["step"], r["error_estimate"]] for r in records if r["kind"] == "train"]
    assert loss.get_ylabel() == "query mean squared error"


def test_the_figure_of_a_run_without_errors_or_steps(tmp_path):
    trained(tmp_path / "run", 2, estimator=Exact())
    assert len(training(sinusoid(), Run(tmp_path / "run").metrics()).axes) == 1
    assert len(training(sinusoid(), []).axes) == 1
