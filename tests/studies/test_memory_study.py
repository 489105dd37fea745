"""Memory against steps and channels: the baseline is exact, the contenders agree, findings follow the peaks."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from cases import make_conv, make_tasks
from metagrad import SGD, Exact, MetaLearner, tree
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Request
from metagrad_studies.fobmaml_memory import Memory
from metagrad_studies.fobmaml_memory.ways import meta_gradient, ways
from metagrad_studies.instruments.graph_maml import graph_meta_gradient


@pytest.fixture(scope="module")
def tiny():
    settings = Memory().settings(Request(scale="small"))
    workload = replace(settings.workload, ways=2, shots=2, queries=1, depth=2, device="cpu")
    return replace(
        settings, workload=workload, channels=(2, 6), steps=(3, 5, 20), at_steps=5, resident_steps=(), flat=1.2
    )


@pytest.mark.parametrize("steps", [1, 4])
def test_the_kept_graph_gives_the_exact_meta_gradient(steps):
    model, tasks = make_conv().double(), make_tasks((1, 16, 16), tasks=3)
    expected = MetaLearner(model, F.cross_entropy, SGD(0.1), steps, Exact()).meta_gradient(tasks).gradient["model"]
    actual = graph_meta_gradient(model, F.cross_entropy, 0.1, steps, tasks)
    assert actual.keys() == expected.keys()
    for name, leaf in actual.items():
        torch.testing.assert_close(leaf, expected[name], rtol=1e-9, atol=1e-12)
    assert all(p.grad is None for p in model.parameters())


def test_contenders_work_on_one_task(tiny):
    exact = meta_gradient(tiny.workload, "Exact", 4, 3)().gradient["model"]
    graph = meta_gradient(tiny.workload, "MAML, graph kept", 4, 3)()
    recomputed = meta_gradient(tiny.workload, "Exact, Logarithmic", 4, 3)().gradient["model"]
    for name, leaf in exact.items():
        torch.testing.assert_close(graph[name], leaf, rtol=1e-3, atol=1e-6)
        assert torch.equal(recomputed[name], leaf)
    for name in ways(tiny.workload):
        result = meta_gradient(tiny.workload, name, 4, 3)()
        assert all(leaf.isfinite().all() for leaf in tree.leaves(getattr(result, "gradient", result)))


@pytest.mark.slow
def test_the_study_from_end_to_end(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Memory, "settings", lambda self, request: tiny)
    findings = carry_out(Memory(), Request(scale="small"), tmp_path / "study", "command", Watcher())
    assert findings[0].held  # FO-B-MAML keeps no path at any size
    assert (tmp_path / "study" / "figure.png").stat().st_size > 0


@pytest.mark.slow
def test_resident_size_of_a_process(tiny):
    settings = replace(tiny, channels=(64, 128), steps=(2, 30), at_steps=2, resident_steps=(30,))
    cell = next(cell for cell in Memory().cells(settings) if cell.values["way"] == "MAML, graph kept")
    cell = replace(cell, values={**cell.values, "channels": 128, "steps": 30})
    (record,) = Memory().measure(settings, cell, None)
    assert 0.5 * record["peak_bytes"] < record["resident_bytes"] < 5 * record["peak_bytes"] + 50e6


def records(settings, *, last, share, widest):
    """Made-up peaks: flat but for what is given, of all but the kept graph."""
    rows = []
    for cell in Memory().cells(settings):
        value = dict(cell.values)
        peak = 100.0
        if value["channels"] == settings.channels[-1]:
            peak *= widest
        if value["steps"] == settings.steps[-1]:
            peak *= last
        if value["way"] == "MAML, graph kept":
            peak = 100.0 * widest / share
        rows.append({**value, "peak_bytes": peak, "seconds": 1.0, "resident_bytes": None})
    return rows


@pytest.mark.parametrize(
    ("made_up", "held"),
    [
        ({"last": 1.1, "share": 0.3, "widest": 1.1}, [True, True, True, True]),
        ({"last": 1.3, "share": 0.3, "widest": 1.1}, [False, True, True, False]),
        ({"last": 1.1, "share": 0.4, "widest": 1.1}, [True, False, True, False]),
        ({"last": 1.1, "share": 0.3, "widest": 3.0}, [True, True, False, True]),
    ],
)
def test_findings_follow_the_peaks(tiny, made_up, held):
    assert [finding.held for finding in Memory().findings(tiny, Records(records(tiny, **made_up)))] == held


@pytest.mark.slow
@pytest.mark.study
def test_small_size(tmp_path):
    findings = carry_out(Memory(), Request(scale="small"), tmp_path / "study", "command", Watcher())
    assert [finding.held for finding in findings] == [True, True, False, True]  # nothing is flat in the channels
