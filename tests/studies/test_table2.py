"""Table 2: its rows, what its records say of the claim, and a tiny one from end to end."""

import pytest

from metagrad.estimators import Binomial, FirstOrder, Split
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Request
from metagrad_studies.table2 import Table2
from studies.made_accuracies import made, tiny

GENERATED = Request(scale="small")
LABELS = (
    "FOMAML",
    "Truncated, L = 1",
    "Binomial L/K, L = 1",
    "Hybrid L/K, L = 1",
    "Binomial plain, L = 1",
    "Hybrid plain, L = 1",
    "MAML",
)


class Tiny(Table2):
    def settings(self, request):
        return tiny(super().settings(request), ("Truncated, L = 1", "Binomial L/K, L = 1", "Hybrid L/K, L = 1", "MAML"))


def test_rows():
    rows = Table2().settings(GENERATED).methods
    assert tuple(row.label for row in rows) == LABELS
    assert rows[3].estimator == repr(Split(4, late=Binomial(1, scale=0.2), early=FirstOrder()))
    published = Table2().settings(Request(scale="small", as_published=True)).methods
    assert [row.name for row in published] == ["FOMAML", "Truncated", "Binomial L/K", "Hybrid L/K", "MAML"]


@pytest.mark.parametrize(("hybrid", "noise", "held"), [(0.40, 0.0, True), (0.50, 0.0, False), (0.40, 0.3, None)])
def test_the_claim(hybrid, noise, held):
    settings = Table2().settings(GENERATED)
    means = dict.fromkeys(LABELS, 0.45) | {"Hybrid L/K, L = 1": hybrid}
    (finding,) = Table2().findings(settings, Records(made(settings, means, noise)))
    assert finding.held is held


@pytest.mark.slow
def test_a_tiny_table_from_end_to_end(tmp_path):
    (finding,) = carry_out(Tiny(), GENERATED, tmp_path / "s", "command", Watcher())
    assert "The two minus the hybrid: above in" in finding.measured
    assert "| 1 | Hybrid L/K |" in (tmp_path / "s" / "summary.md").read_text()
