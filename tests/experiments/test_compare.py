"""The comparison of estimators: errors, counts and memory that must come out as the mathematics says."""

import itertools
from dataclasses import replace

import pytest
import torch

from metagrad import SGD, Auto, Binomial, choosing
from metagrad.estimators.families import members
from metagrad.experiments import comparison_figure, figures, tables
from metagrad.experiments.compare import Effort, compare, record
from metagrad.experiments.expression import short
from metagrad.experiments.presets import sinusoid
from metagrad.experiments.recommendation import frontier, policy, recommended
from metagrad.memory import LiveTensors, peak_bytes
from metagrad.training.json_files import finite
from metagrad.training.progress import Silent


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


@pytest.mark.slow
def test_comparison_of_all_estimators(tmp_path):
    config, effort = small(rule=SGD(lr=0.003)), Effort(tasks=5, repeats=2, proximal=2.0)
    rows = compare(config, effort, Silent(), lambda _text: None)
    by_name = {row.estimator: row for row in rows}
    assert len(by_name) == len(rows) == len(members(3))
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


@pytest.mark.slow
def test_a_proximal_experiment_is_one_problem_for_all():
    config = small(proximal=0.5)
    rows = compare(config, Effort(tasks=2, repeats=1, proximal=9.0), Silent(), lambda _text: None)
    assert {row.proximal for row in rows} == {0.5}


@pytest.mark.slow
def test_what_cannot_be_compared_is_left_out_with_its_reason():
    said = []
    config = small(adapts=("layers.2",), estimator=Binomial(2, center=0.1))
    rows = compare(config, Effort(tasks=2, repeats=1, proximal=1.0), Silent(), said.append)
    names = [row.estimator for row in rows]
    assert "Reptile()" not in names
    assert any(text.startswith("left out: Reptile() gives no gradient to model.layers.0.weight") for text in said)
    assert "Exact()" in names
    assert "Binomial(order=2, center=0.1)" in names


@pytest.mark.slow
def test_a_learned_center_can_be_compared():
    config = small(estimator=Binomial(2, center="auto"))
    rows = compare(config, Effort(tasks=2, repeats=1, proximal=1.0), Silent(), lambda _text: None)
    by_name = {row.estimator: row for row in rows}
    learned, plain = by_name["Binomial(order=2, center='auto')"], by_name["Binomial(order=2)"]
    assert (learned.products, learned.rounds) == (plain.products, plain.rounds)
    assert 0 < learned.error[1] < plain.error[1]


@pytest.mark.slow
def test_the_frontier_and_what_auto_would_choose():
    config = small(estimator=Auto(rounds=1))
    rows = compare(config, Effort(tasks=4, repeats=1, proximal=1.0), Silent(), lambda _text: None)
    assert "Auto(rounds=1)" not in {row.estimator for row in rows}
    by_name = {row.estimator: row for row in rows}
    within = [row for row in rows if row.rounds <= 1 and row.estimator in {short(e) for e in choosing.candidates(3)}]
    best = min(within, key=lambda row: row.error[2])
    decision = recommended(config, rows)
    assert (short(decision.estimator), short(policy(config))) == (best.estimator, "Auto(rounds=1)")
    assert any(f"Auto(rounds=1) would take {best.estimator}" in note for note in tables.comparison_notes(rows, config))
    assert policy(small()) == Auto(tolerance=0.1)
    least = min(row.peak_bytes for row in rows)
    assert recommended(replace(config, estimator=Auto(memory=least - 1)), rows) is None
    assert short(recommended(replace(config, estimator=Auto(memory=1e9)), rows).estimator) == "Exact()"

    best = frontier(config, rows, lambda row: row.rounds)
    assert best[-1].estimator == "Exact()"
    for row in rows:
        if row.family in ("Reptile", "Implicit", "FiniteDifference"):
            assert row not in best
        else:  # beaten or on it: none outside is cheaper and better than all on it
            assert any(other.rounds <= row.rounds and other.error[1] <= row.error[1] for other in best)
    assert all(a.rounds < b.rounds and a.error[1] > b.error[1] for a, b in itertools.pairwise(best))

    figure = comparison_figure.comparison(config, rows)
    assert [axes.get_xlabel().split(" ")[0] for axes in figure.axes] == ["curvature", "rounds:", "time", "memory"]
    (line,) = [line for line in figure.axes[1].get_lines() if line.get_label().startswith("frontier")]
    shown = [[row.rounds, row.error[1]] for row in best[:-1]]
    assert line.get_xydata().tolist() == [*shown, [3, shown[-1][1]]]
    assert by_name["Exact()"].rounds == 3


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
