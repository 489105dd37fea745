"""error-and-accuracy: its sizes, shares and correlations by hand, verdicts, and a tiny one from end to end."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from metagrad.experiments.config import Experiment
from metagrad.experiments.presets import PRESETS
from metagrad_studies.accuracy import methods
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Request
from metagrad_studies.core.verdicts import rank_correlation
from metagrad_studies.error_and_accuracy import ErrorAccuracy
from metagrad_studies.error_and_accuracy.findings import pooled_error, run_error, score, share
from studies.made_accuracies import made

GENERATED = Request(scale="small")
LABELS = (
    "FOMAML",
    "Binomial auto, L = 1",
    "Truncated, L = 2",
    "Binomial plain, L = 2",
    "Binomial L/K, L = 2",
    "Binomial auto, L = 2",
    "MAML",
)
ACCURACIES = dict(zip(LABELS, (0.40, 0.47, 0.42, 0.41, 0.45, 0.497, 0.50), strict=True))
ERRORS = dict(zip(LABELS, (0.8, 0.3, 0.6, 0.7, 0.5, 0.1, 0.0), strict=True))


def records(means=ACCURACIES, errors=ERRORS, noise=0.0, scale="small"):
    """Records of every method; the sinusoid's loss falls by as much as accuracy rises."""
    settings = ErrorAccuracy().settings(Request(scale=scale))
    rows = made(settings, means, noise)
    for record in rows:
        label = next(m.label for m in settings.methods if (m.name, m.order) == (record["method"], record["order"]))
        probes = [] if record["method"] == "MAML" else [0.5 * errors[label], 2.0 * errors[label]]
        record |= {"probe_steps": [1, 6][: len(probes)], "probe_errors": probes, "training_seconds": 3.0}
        record["loss_tasks"] = [1 - accuracy for accuracy in record["accuracy_tasks"]]
        record["loss"] = 1 - record["accuracy"]
    return settings, Records(rows)


def held(*given, **named):
    return [finding.held for finding in ErrorAccuracy().findings(*records(*given, **named))]


def test_rows_and_sizes():
    study = ErrorAccuracy()
    assert tuple(method.label for method in study.settings(GENERATED).methods) == LABELS
    assert tuple(method.label for method in study.settings(Request(scale="medium")).methods) == LABELS
    settings = study.settings(GENERATED)
    assert [data.title for data in settings.data_sets] == ["Sinusoid", "MNIST-1D 5-way 1-shot"]
    assert settings.not_found == ("Omniglot 20-way 1-shot",)
    assert settings.deciding == "MNIST-1D 5-way 1-shot"
    with pytest.raises(ValueError, match="error-and-accuracy at full size needs --data DIR with Omniglot 20-way"):
        study.settings(Request(scale="full"))


@pytest.mark.slow
def test_full_size_is_that_of_the_bars(shared_data):
    settings = ErrorAccuracy().settings(Request(scale="full", data=str(shared_data)))
    assert settings.deciding == "Omniglot 20-way 1-shot"
    assert len(settings.data_sets) == 7
    assert len(settings.methods) == 2 + 4 * 4
    assert len(settings.seeds) == 3
    for data in settings.data_sets:
        config = Experiment.from_json(data.config)
        assert config.meta_steps >= 2000
        assert config.test.tasks == 600
        assert config.meta_steps / config.probe_every == 20


@pytest.mark.slow
def test_medium_size_trains_twenty_way_with_the_presets_schedule_at_a_constant_rate_and_wider(shared_data):
    settings = ErrorAccuracy().settings(Request(scale="medium", data=str(shared_data)))
    assert len({data.key for data in settings.data_sets}) == len({data.title for data in settings.data_sets}) == 9
    configs = {data.title: Experiment.from_json(data.config) for data in settings.data_sets}
    decays, constant = configs["Omniglot 20-way 1-shot"], configs["Omniglot 20-way 1-shot, constant rate"]
    assert settings.deciding == "Omniglot 20-way 1-shot"
    assert decays.optimizer.schedule == PRESETS["omniglot-20way-1shot"]().optimizer.schedule == "cosine"
    assert replace(decays, optimizer=replace(decays.optimizer, schedule="constant")) == constant
    wide = configs["Omniglot 20-way 1-shot, 16 filters"]
    assert wide.problem.filters == 2 * decays.problem.filters
    assert replace(wide, problem=decays.problem, machine=decays.machine) == decays
    assert decays.meta_steps == 2000
    assert decays.test.tasks == 600


def test_correlations_are_those_of_ranks_by_hand():
    x, y = [0.0, 0.3, 0.3, 2.0, math.inf], [5.0, 4.0, 4.5, 4.5, 1.0]
    by_hand = np.corrcoef([0, 1.5, 1.5, 3, 4], [4, 1, 2.5, 2.5, 0])[0, 1]
    assert rank_correlation(x, y) == pytest.approx(by_hand, rel=1e-12)
    assert math.isnan(rank_correlation([1.0, 1.0], [0.0, 1.0]))


def test_errors_are_geometric_means():
    settings, rows = records()
    method = settings.methods[0]
    assert run_error({"probe_errors": [0.1, 10.0, 8.0]}, method) == pytest.approx(2.0)
    assert run_error({"probe_errors": [0.1, None]}, method) == math.inf
    assert run_error({"probe_errors": []}, method) == math.inf
    assert run_error({"probe_errors": []}, settings.methods[-1]) == 0.0
    rows = Records(record | {"probe_errors": [2.0 ** (record["seed"] - 11)]} for record in rows)
    error, low, high = pooled_error(rows, settings.data_sets[0], method)
    half = 4.302653 * math.log(2) / 3**0.5
    assert (error, low, high) == pytest.approx((1.0, math.exp(-half), math.exp(half)), rel=1e-6)


def test_shares_by_hand():
    settings, rows = records()
    ends = settings.methods[0], settings.methods[-1]
    for data in settings.data_sets:
        what = score(data)
        one = share(rows, data, ends, methods.named(settings.methods, "Binomial auto")[0], 0.6)
        assert one.closed == pytest.approx(0.7)
        assert one.gap.mean == pytest.approx(0.1 * what.factor)
        assert one.beside.mean == pytest.approx(0.01 * what.factor)
        assert one.met is True


def test_records_that_bear_it_out():
    assert held() == [True] * 6
    words = [finding.measured for finding in ErrorAccuracy().findings(*records())]
    assert "MNIST-1D 5-way 1-shot: 97 % of a gap of +10.00 ± 0.00 points (+0.70 ± 0.00 beside 90 % of it)" in words[0]
    assert "Sinusoid: 97 % of a gap of +0.100 ± 0.000 of the loss" in words[0]
    assert "Sinusoid +1.00 ± 0.00" in words[4]
    assert words[5].startswith("42 of 42 pairs.")


def test_records_that_refute_it():
    turned = dict(zip(LABELS, reversed(ACCURACIES.values()), strict=True))
    # Exact is then the worst: there is no gap to close, so nothing can be said of shares.
    assert held(turned) == [None, None, True, True, False, False]
    assert held(ACCURACIES | {"Binomial auto, L = 2": 0.44, "Binomial auto, L = 1": 0.41}) == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]


def test_records_that_cannot_tell():
    assert held(noise=0.5)[:4] == [None] * 4
    assert held(dict.fromkeys(LABELS, 0.4))[5] is None


def test_exceptions_are_named():
    means = ACCURACIES | {"Truncated, L = 2": 0.46}
    (*_, finding) = ErrorAccuracy().findings(*records(means))
    assert "Truncated, L = 2 (0.6) beats Binomial L/K, L = 2 (0.5)" in finding.measured
    assert finding.held is False


def test_tables():
    settings, rows = records()
    sinusoid, digits, _ = ErrorAccuracy().listings(settings, rows)
    assert "loss" not in sinusoid.columns
    rows = {row[0]: row[1:] for row in digits.rows}
    half = 2.262157 * torch.arange(10.0).std().item() / 10**0.5
    assert rows["FOMAML"] == (f"44.50 ± {half:.2f}", "0.600", "−10.00 ± 0.00", "", "0.8 (0.8 to 0.8)", "0.2")
    assert rows["Binomial auto, L = 2"][2:5] == ("−0.30 ± 0.00", "97 %", "0.1 (0.1 to 0.1)")
    assert rows["MAML"][2:5] == ("", "", "0")


class Tiny(ErrorAccuracy):
    def settings(self, request):
        settings = super().settings(request)
        sets = []
        for data in settings.data_sets:
            config = Experiment.from_json(data.config)
            config = replace(
                config,
                problem=replace(config.problem, hidden=(8,)),
                meta_steps=4,
                meta_batch=2,
                probe_every=2,
                validation=replace(config.validation, every=2, tasks=2),
                test=replace(config.test, tasks=4),
            )
            sets.append(replace(data, config=config.to_json()))
        return replace(settings, data_sets=tuple(sets), methods=settings.methods, seeds=settings.seeds[:2])


@pytest.mark.slow
def test_a_tiny_one_from_end_to_end(tmp_path):
    findings = carry_out(Tiny(), GENERATED, tmp_path / "s", "command", Watcher())
    assert len(findings) == 6
    rows = [json.loads(line) for line in (tmp_path / "s" / "records.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 2 * len(LABELS)
    for record in rows:
        assert record["probe_steps"] == ([] if record["method"] == "MAML" else [1, 3])
        assert len(record["loss_tasks"]) == 4
        assert ("accuracy" in record) == (record["data_set"] != "Sinusoid")
        assert record["training_seconds"] > 0
    # Equal seeds begin with equal weights and meet equal tasks: the first errors are those of the estimators alone.
    first = {record["method"]: record["probe_errors"][0] for record in rows[:6] if record["order"] != 1}
    assert first["Binomial auto"] < first["Binomial plain"] < first["FOMAML"]
    assert (tmp_path / "s" / "figure.png").stat().st_size > 10_000


def test_a_run_without_finite_errors_is_drawn_and_counts_as_the_worst():
    settings, rows = records()
    for record in rows:
        if record["method"] == "Truncated":
            record["probe_errors"] = [None, 0.5]
    ErrorAccuracy().figure(settings, rows).canvas.draw()
    assert "Truncated, L = 2 (inf) beats FOMAML (0.8)" in ErrorAccuracy().findings(settings, rows)[-1].measured
