"""Table 1: rows, protocols, what its records say of the claims, and a tiny one measured from end to end."""

import csv
import json
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from metagrad.experiments.config import Experiment
from metagrad.training.evaluation import Interval
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Request
from metagrad_studies.core.verdicts import Compared, every, most
from metagrad_studies.table1 import Table1
from studies.made_accuracies import made, tiny

GENERATED = Request(scale="medium")
METHODS = (
    "FOMAML",
    "Reptile",
    "iMAML, L = 2",
    "Truncated, L = 2",
    "Binomial L/K, L = 2",
    "Binomial auto, L = 2",
    "MAML",
)


class Tiny(Table1):
    methods: ClassVar = METHODS

    def settings(self, request):
        return tiny(super().settings(request), self.methods)


def means(**of):
    """Accuracies by method that bear out every claim, but for those given."""
    found = {"FOMAML": 0.40, "Reptile": 0.35, "MAML": 0.50}
    for order in range(1, 5):
        found |= {f"iMAML, L = {order}": 0.41, f"Truncated, L = {order}": 0.40 + 0.01 * order}
        found |= {f"Binomial L/K, L = {order}": 0.45 + 0.012 * order, f"Binomial plain, L = {order}": 0.47}
        found |= {f"Binomial auto, L = {order}": 0.49}
    return found | of


def held(records, request=GENERATED):
    return [finding.held for finding in Table1().findings(Table1().settings(request), Records(records))]


def test_rows_are_those_of_the_paper_and_ours():
    labels = [method.label for method in Table1().settings(GENERATED).methods]
    assert labels[:3] == ["FOMAML", "Reptile", "iMAML, L = 1"]
    assert labels[-1] == "MAML"
    assert len(labels) == len(set(labels)) == 3 + 4 * 5
    assert [m.estimator for m in Table1().settings(Request(scale="small")).methods] == [
        "FirstOrder()",
        "Reptile()",
        "Implicit(solver=ConjugateGradient(iterations=2, damping=0.0))",
        "Truncated(window=2)",
        "Binomial(order=2, scale='paper', center=0.0)",
        "Binomial(order=2, scale=1.0, center=0.0)",
        "Binomial(order=2, scale=1.0, center='auto')",
        "Exact()",
    ]


def test_the_published_protocol_has_its_faults():
    settings = Table1().settings(replace(GENERATED, as_published=True))
    assert (settings.spread, len(settings.seeds)) == ("standard error", 1)
    assert settings.data_sets[0].config["problem"]["test_queries"] == 1
    implicit = [method for method in settings.methods if method.name == "iMAML"]
    assert {method.proximal for method in implicit} == {None}
    assert implicit[1].estimator == "UnanchoredImplicit(iterations=2, strength=100.0)"
    assert not any(method.ours for method in settings.methods)


def test_full_size_needs_data():
    with pytest.raises(ValueError, match="table1 at full size needs --data DIR with one of miniImageNet"):
        Table1().settings(Request(scale="full"))


def test_data_sets_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"Omniglot 20-way 1-shot: .*; CIFAR-FS 5-way 1-shot: "):
        Table1().settings(Request(scale="small", data=str(tmp_path)))


def test_real_data_sets_are_those_of_the_small_size(shared_data):
    settings = Table1().settings(Request(scale="small", data=str(shared_data)))
    assert [data.title for data in settings.data_sets] == [
        "Omniglot 20-way 1-shot",
        "CIFAR-FS 5-way 1-shot (60 images a class)",
    ]
    assert settings.not_found == ()
    assert str(shared_data) not in json.dumps([data.config for data in settings.data_sets])
    assert Experiment.from_json(settings.data_sets[0].config).problem.ways == 20


def test_records_that_bear_the_claims_out():
    records = made(Table1().settings(GENERATED), means())
    assert held(records) == [True, True, True]


def test_records_that_refute_them():
    worse = {f"Binomial L/K, L = {order}": 0.39 - 0.01 * order for order in range(1, 5)}
    assert held(made(Table1().settings(GENERATED), means(**worse))) == [False, False, False]


def test_records_that_cannot_tell():
    settings = Table1().settings(GENERATED)
    assert held(made(settings, means(), noise=0.3)) == [None, None, None]


def test_one_order_shows_no_shrinking():
    small = Request(scale="small")
    assert held(made(Table1().settings(small), means()), small) == [True, True, None]


@pytest.mark.parametrize(
    ("signs", "majority", "all_of_them"),
    [("+++", True, True), ("++-", True, False), ("++0", True, None), ("+-0", None, False), ("--0", False, False)],
)
def test_verdicts(signs, majority, all_of_them):
    by = {"+": Interval(2.0, 1.0), "-": Interval(-2.0, 1.0), "0": Interval(0.5, 1.0)}
    comparisons = [Compared("", by[sign]) for sign in signs]
    assert (most(comparisons), every(comparisons)) == (majority, all_of_them)


def test_the_table_has_accuracies_differences_and_ranks():
    settings = Table1().settings(Request(scale="small"))
    table, runs = Table1().listings(settings, Records(made(settings, means())))
    assert table.columns == ("L", "method", "MNIST-1D 5-way 1-shot (%)", "minus MAML (points)", "rank")
    rows = {row[1]: row for row in table.rows}
    # The means of 10 tasks are 4.5 points above the given ones; seeds agree, so the spread is that of the tasks.
    half = 2.262157 * torch.arange(10.0).std().item() / 10**0.5
    assert rows["FOMAML"] == ("0", "FOMAML", f"44.50 ± {half:.2f}", "−10.00 ± 0.00", "7")
    assert rows["MAML"][3:] == ("", "1")
    assert rows["Binomial L/K"][4] == "3"
    assert runs.rows[0] == ("0", "FOMAML", "7, 7, 7", "20", "0")


def test_standard_errors_are_those_of_the_tasks():
    request = Request(scale="small", as_published=True)
    settings = Table1().settings(request)
    table, _ = Table1().listings(settings, Records(made(settings, means())))
    error = torch.arange(10.0).std(correction=0).item() / 10**0.5
    assert table.rows[0][2] == f"44.50 ± {error:.2f}"
    assert "± standard errors, 1 seed" in table.title


@pytest.mark.slow
def test_a_tiny_table_from_end_to_end(tmp_path):
    findings = carry_out(Tiny(), GENERATED, tmp_path / "s", "command", Watcher())
    assert len(findings) == 3
    with (tmp_path / "s" / "records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cell"] for row in rows[:2]] == [
        "mnist1d-5way-1shot-FOMAML-0-seed10",
        "mnist1d-5way-1shot-Reptile-0-seed10",
    ]
    assert len(rows) == 2 * len(METHODS)
    # Equal seeds begin with equal weights and meet equal tasks: what differs is the estimator.
    values = {(row["method"], row["seed"]): row["accuracy"] for row in rows}
    assert len({value for (_, seed), value in values.items() if seed == "10"}) > 1
    test = json.loads((tmp_path / "s" / "cells" / rows[0]["cell"] / "run" / "test.json").read_text())
    assert test["test"] == {"tasks": 4, "steps": 10, "seed": 3}
    again = (tmp_path / "s" / "summary.md").read_text()
    carry_out(Tiny(), GENERATED, tmp_path / "s", "command", Watcher())
    assert (tmp_path / "s" / "summary.md").read_text() == again


def test_a_run_that_diverges_is_tested_as_it_last_was(tmp_path):
    class Hopeless(Tiny):
        methods: ClassVar = ("FOMAML", "Truncated, L = 1", "Binomial L/K, L = 1", "iMAML, L = 1", "MAML")

        def settings(self, request):
            settings = super().settings(request)
            config = settings.data_sets[0].config | {"rule": "SGD(lr=1e30)"}
            return replace(settings, data_sets=(replace(settings.data_sets[0], config=config),), seeds=(10,))

    carry_out(Hopeless(), GENERATED, tmp_path / "s", "command", Watcher())
    records = [json.loads(line) for line in (tmp_path / "s" / "records.jsonl").read_text().splitlines()]
    assert [record["diverged"] for record in records] == [True] * 5
    assert {record["meta_steps"] for record in records} == {0}
    # NaN for every class: the first of five is taken.
    assert [record["accuracy"] for record in records] == pytest.approx([0.2] * 5)


@pytest.mark.slow
def test_processes_measure_what_one_does(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    carry_out(Tiny(), GENERATED, one, "command", Watcher())
    carry_out(Tiny(), GENERATED, two, "command", Watcher(), jobs=2)
    tables = []
    for path in (one, two):
        with (path / "records.csv").open(newline="") as file:
            tables.append([{k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]
