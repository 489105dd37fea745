"""The comparison of estimators: errors, counts and memory that must come out as the mathematics says."""

from dataclasses import replace

import torch

from metagrad import SGD, Binomial
from metagrad.experiments import comparison_figure, figures, tables
from metagrad.experiments.compare import Effort, candidates, compare, record
from metagrad.experiments.presets import sinusoid
from metagrad.memory import LiveTensors, peak_bytes
from metagrad.training.progress import Silent
from metagrad.training.run import finite


def small(**changes):
    config = sinusoid()
    return replace(
        config,
        num_steps=3,
        meta_batch=3,
        meta_steps=2,
        problem=replace(config.problem, hidden=(8,)),
        machine=replace(config.machine, device="cpu"),
        **changes,
    )


def test_comparison_of_all_estimators(tmp_path):
    config, effort = small(rule=SGD(lr=0.003)), Effort(tasks=5, repeats=2, proximal=2.0)
    rows = compare(config, effort, Silent(), lambda _text: None)
    by_name = {row.estimator: row for row in rows}
    assert len(by_name) == len(rows) == len(candidates(3))
    assert by_name["Exact()"].error == (0.0, 0.0, 0.0)
    assert by_name["Exact()"].products == by_name["Exact()"].rounds == 3
    errors = [by_name[f"Binomial(order={order})"].error[1] for order in (1, 2)]
    assert by_name["FirstOrder()"].error[1] > 5 * errors[0] > 25 * errors[1] > 0
    assert by_name["Binomial(order=2)"].products == 4
    assert by_name["Binomial(order=2)"].rounds == 2
    assert [row.proximal for row in rows if row.family in ("Implicit", "FiniteDifference")] == [2.0, 2.0]
    assert all(row.proximal is None for row in rows if row.family in ("Exact", "Reptile"))
    assert all(row.seconds > 0 and row.peak_bytes > 0 for row in rows)
    values = finite(record(config, effort, rows))
    assert values["config"]["num_steps"] == 3
    assert len(values["rows"]) == len(rows)
    assert tables.comparison(rows, config).row_count == len(rows)
    assert any("strength 2" in note for note in tables.comparison_notes(rows, config))
    figures.save(comparison_figure.comparison(config, rows), tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_proximal_experiment_is_one_problem_for_all():
    config = small(proximal=0.5)
    rows = compare(config, Effort(tasks=2, repeats=1, proximal=9.0), Silent(), lambda _text: None)
    assert {row.proximal for row in rows} == {0.5}


def test_what_cannot_be_compared_is_left_out_with_its_reason():
    said = []
    config = small(adapts=("layers.2",), estimator=Binomial(2, center=0.1))
    rows = compare(config, Effort(tasks=2, repeats=1, proximal=1.0), Silent(), said.append)
    names = [row.estimator for row in rows]
    assert "Reptile()" not in names
    assert any(text.startswith("left out: Reptile() gives no gradient to model.layers.0.weight") for text in said)
    assert "Exact()" in names
    assert "Binomial(order=2, center=0.1)" in names


def test_a_learned_center_can_be_compared():
    config = small(estimator=Binomial(2, center="auto"))
    rows = compare(config, Effort(tasks=2, repeats=1, proximal=1.0), Silent(), lambda _text: None)
    by_name = {row.estimator: row for row in rows}
    learned, plain = by_name["Binomial(order=2, center='auto')"], by_name["Binomial(order=2)"]
    assert (learned.products, learned.rounds) == (plain.products, plain.rounds)
    assert 0 < learned.error[1] < plain.error[1]


def test_live_tensors_counts_what_is_alive_at_once():
    existing = torch.zeros(1000)

    def one_after_another():
        for _ in range(10):
            existing + 1

    def side_by_side():
        return [existing + 1 for _ in range(10)]

    cpu = torch.device("cpu")
    assert peak_bytes(one_after_another, cpu) == 4000
    assert peak_bytes(side_by_side, cpu) == 40000
    assert peak_bytes(lambda: existing.view(10, 100)[2:], cpu) == 0
    with LiveTensors() as live:
        kept = existing + 1
        del kept
    assert (live.now, live.peak) == (0, 4000)
