"""Parts and problems of the user's own: named at the command line, written down, resumed, compared and reported."""

import html
import json
import re
import sys
from dataclasses import dataclass, replace

import pytest

from metagrad import Auto, Exact, Truncated, cli
from metagrad.estimators import register
from metagrad.estimators.families import unregister
from metagrad.estimators.table import table
from metagrad.experiments import comparison_figure, own
from metagrad.experiments.compare import Effort, compare
from metagrad.experiments.config import Experiment, build_learner
from metagrad.experiments.presets import sinusoid
from metagrad.training.progress import Silent
from metagrad.training.run import Run

MODULE = '''
from dataclasses import dataclass, replace

import torch
from torch import nn

from metagrad import SGD, Objective, Task, Truncated
from metagrad.estimators import register
from metagrad.experiments.presets import sinusoid
from metagrad.data.regression import Sinusoids


@dataclass(frozen=True)
class LastTwo(Truncated):
    """Truncated, under a name of its own."""
    window: int = 2


@register
@dataclass(frozen=True)
class LastOne(Truncated):
    """The same, registered."""
    window: int = 1


@dataclass(frozen=True)
class Halved(SGD):
    """A rule."""
    lr: float = 0.02


class Waves:
    """A problem: no dataclass, no metrics."""
    def __init__(self, width=8):
        self.width = width

    def model(self):
        return nn.Sequential(nn.Linear(1, self.width), nn.Tanh(), nn.Linear(self.width, 1))

    def loss(self):
        return lambda predictions, targets: (predictions - targets).square().mean()

    def sources(self, device):
        return Sinusoids(5, 5), Sinusoids(5, 5), Sinusoids(5, 5)


class Measured(Waves):
    """With a metric of its own."""
    loss_label = "query squared error of waves"

    def metrics(self):
        return {"farthest": lambda predictions, targets: (predictions - targets).abs().max()}


class Source:
    """Tasks as mappings."""
    def sample(self, count, generator):
        x, shift = torch.randn(2, count, 6, 1, generator=generator).unbind()
        batch = {"x": x, "y": x + shift[:, :1]}
        return Task(batch, batch)


class Mapped(Waves):
    """Batches of another form, an objective that measures too, and a module that it reads."""
    def loss(self):
        def inner(model, batch, hyper):
            error = model(batch["x"]) - batch["y"]
            return error.square().mean() * hyper.weight.exp().squeeze(), {"size": error.abs().mean()}
        return Objective(inner)

    def hyper(self):
        return nn.Linear(1, 1, bias=False)

    def sources(self, device):
        return Source(), Source(), Source()


waves = Waves(4)


def make():
    return Waves(6)


def preset():
    return replace(sinusoid(), num_steps=2, meta_steps=1)


class Broken(Waves):
    def model(self):
        return self.nothing


class NoModule(Waves):
    def model(self):
        return 3


class OneSource(Waves):
    def sources(self, device):
        return [Sinusoids(5, 5)]


number = 3
'''
SMALL = [
    *("--num-steps", "2", "--meta-batch", "3", "--validation.tasks", "4", "--test.tasks", "5", "--test.steps", "2"),
    *("--machine.device", "cpu", "--optimizer.schedule", "constant"),
]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's own in the present directory, forgotten afterwards."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    yield tmp_path
    forget()


def forget():
    """As a new process would begin."""
    if "mine" in sys.modules:
        unregister(sys.modules.pop("mine").LastOne)
    own._named.clear()


def text_of(page):
    return html.unescape(re.sub("<[^>]*>", "", page.read_text()))


def metagrad(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_an_estimator_of_ones_own_is_trained_with_resumed_and_reported(mine, capsys):
    options = ["--estimator", "mine:LastTwo(window=1)", "--rule", "mine:Halved", "--meta-steps", 1, *SMALL]
    assert metagrad("train", "--out", "run", "--problem.hidden", 4, *options) == 0
    config = Run(mine / "run").config()
    assert config["estimator"] == "mine:LastTwo(window=1)"
    assert config["rule"].startswith("mine:Halved(lr=0.02, momentum=0.0")
    forget()
    assert metagrad("train", "--resume", "run", "--meta-steps", 2) == 2
    assert "mine:LastTwo is in a module that is not imported" in capsys.readouterr().err
    assert "mine" not in sys.modules
    assert metagrad("train", "--resume", "run", "--meta-steps", 2, "--import", "mine") == 0
    assert [r["step"] for r in Run(mine / "run").metrics() if r["kind"] == "train"] == [1, 2]
    assert metagrad("evaluate", "run", "--import", "mine") == 0
    assert metagrad("report", "run", "--import", "mine") == 0
    page = text_of(mine / "run" / "report.html")
    assert "--estimator 'mine:LastTwo(window=1)'" in page  # the command, rebuilt from the configuration
    assert "--rule 'mine:Halved()'" in page


@pytest.mark.slow
def test_one_call_makes_it_known_everywhere(mine, capsys):
    """`register` is that call: Auto, compare, its figure, the command line, the report and the documents' table."""
    own.import_module("mine")
    last = sys.modules["mine"].LastOne()
    learner = build_learner(replace(sinusoid(), num_steps=3, estimator=Auto(tolerance=0.1)))
    assert last in learner.chooser.candidates
    assert "| `LastOne(window=1)` |" in table()
    assert metagrad("list") == 0
    assert "LastOne" in capsys.readouterr().out
    arguments = ["--tasks", 2, "--repeats", 1, "--problem.hidden", 4, "--estimator", "last-one", *SMALL[2:]]
    assert metagrad("compare", "--out", "compared", "--num-steps", 2, *arguments) == 0
    rows = {row["estimator"]: row for row in json.loads((mine / "compared" / "comparison.json").read_text())["rows"]}
    assert rows["LastOne()"]["error"] == pytest.approx(rows["Truncated(window=1)"]["error"], rel=1e-9)
    assert metagrad("report", "compared") == 0
    assert "LastOne()" in text_of(mine / "compared" / "report.html")


@dataclass(frozen=True)
class Unregistered(Exact):
    """One that nobody has heard of."""

    power: float = 1.0


@pytest.mark.slow
def test_one_that_is_not_registered_has_a_row_and_a_place_in_the_figure():
    config = replace(sinusoid(), num_steps=2, meta_batch=2, meta_steps=0, estimator=Unregistered(2.0))
    config = replace(config, problem=replace(config.problem, hidden=(4,)))
    assert Experiment.from_json(json.loads(json.dumps(config.to_json()))) == config
    rows = compare(config, Effort(tasks=2, repeats=1, proximal=2.0), Silent(), lambda _text: None)
    (row,) = [row for row in rows if row.family == "Unregistered"]
    assert row.estimator == f"{__name__}:Unregistered(power=2.0)"
    assert row.error[1] < 1e-12
    legend = comparison_figure.comparison(config, rows).legends[0]
    assert "Unregistered" in [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(
    "at",
    [*(pytest.param(f"mine:{it}", marks=pytest.mark.slow) for it in ("Waves", "make", "Waves(width=5)")), "mine:waves"],
)
def test_a_problem_of_ones_own_is_trained_on_and_resumed(mine, at, capsys):
    assert metagrad("train", "--problem", at, "--out", "run", "--meta-steps", 1, *SMALL) == 0
    assert Run(mine / "run").config()["problem"] == {"kind": "own", "at": at}
    forget()
    assert metagrad("train", "--resume", "run", "--meta-steps", 2) == 2
    assert "--import mine" in capsys.readouterr().err
    assert metagrad("train", "--resume", "run", "--meta-steps", 2, "--import", "mine") == 0
    assert metagrad("evaluate", "run", "--import", "mine") == 0


@pytest.mark.slow
def test_a_problem_of_ones_own_is_compared_and_reported(mine):
    arguments = ["--problem", "mine:waves", "--tasks", 2, "--repeats", 1, *SMALL]
    assert metagrad("compare", "--out", "compared", *arguments) == 0
    assert metagrad("train", "--out", "run", "--problem", "mine:waves", "--meta-steps", 1, *SMALL) == 0
    assert metagrad("report", ".", "--import", "mine") == 0
    page = text_of(mine / "report.html")
    assert "metagrad train --problem mine:waves" in page
    assert "metagrad compare --problem mine:waves" in page


def test_metrics_of_ones_own_are_recorded_drawn_and_reported(mine, capsys):
    options = ["--validation.every", 1, *SMALL]
    assert metagrad("train", "--out", "run", "--problem", "mine:Measured", "--meta-steps", 3, *options) == 0
    assert "farthest" in capsys.readouterr().out
    records = Run(mine / "run").metrics()
    assert all(record["farthest"] > 0 for record in records if record["kind"] in ("train", "validation"))
    assert set(json.loads((mine / "run" / "test.json").read_text())["results"]) == {"loss", "farthest"}
    assert metagrad("report", "run", "--import", "mine") == 0
    page = text_of(mine / "run" / "report.html")
    assert "query farthest" in page
    assert f"{[r for r in records if r['kind'] == 'validation'][-1]['farthest']:.4f}" in page


@pytest.mark.slow
def test_an_objective_of_ones_own_on_batches_of_any_form(mine):
    options = ["--validation.every", 1, *SMALL]
    assert metagrad("train", "--out", "run", "--problem", "mine:Mapped", "--meta-steps", 1, *options) == 0
    before = Run(mine / "run").weights("last")
    assert metagrad("train", "--resume", "run", "--meta-steps", 2, "--import", "mine") == 0
    after = Run(mine / "run").weights("last")
    (name,) = [name for name in after if name.startswith("hyper.")]
    assert not after[name].equal(before[name])
    assert all(r["size"] > 0 for r in Run(mine / "run").metrics() if r["kind"] in ("train", "validation"))
    arguments = ["--problem", "mine:Mapped", "--tasks", 2, "--repeats", 1, *SMALL]
    assert metagrad("compare", "--out", "compared", *arguments) == 0
    rows = json.loads((mine / "compared" / "comparison.json").read_text())["rows"]
    assert {row["estimator"] for row in rows} >= {"Exact()", "Truncated(window=1)", "FirstOrder()"}


def test_presets_from_a_file_and_of_a_module(mine):
    assert metagrad("train", "mine:preset", "--out", "first", "--problem.hidden", 4, *SMALL[2:]) == 0
    assert Run(mine / "first").config()["num_steps"] == 2
    assert metagrad("train", "first/config.json", "--out", "again", "--seed", 7) == 0
    first, again = (Run(mine / name).config() for name in ("first", "again"))
    assert {name for name in first if first[name] != again[name]} == {"seed"}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("train --problem nowhere:thing", "the module nowhere cannot be imported: there is no such module"),
        ("train --problem broken:thing", "broken cannot be imported: ModuleNotFoundError: No module named 'no_such"),
        ("train --problem mine:absent", "the module mine has no 'absent'"),
        ("train --problem mine:number", "mine:number is no problem: it lacks model(), loss(), sources()"),
        ("train --problem mine", "'mine' is no problem: name one as my_module:thing"),
        ("train --problem mine:Waves(depth=3)", "mine:Waves(depth=3) cannot be made: TypeError"),
        ("train --problem mine:waves()", "mine:waves is an object already"),
        ("train --problem mine:Broken", "mine:Broken: model() raised AttributeError: 'Broken' object has no attribute"),
        ("train --problem mine:NoModule", "model() must give a torch.nn.Module, got 3"),
        ("train --problem mine:OneSource", "sources(device) must give three task sources"),
        ("train --problem mine:waves --data .", "--data has no use here"),
        ("train mine:number", "mine:number is no preset"),
        ("train mine:waves", "mine:waves is no preset"),
        ("train absent.json", "absent.json"),
        ("train --estimator mine:Waves", "mine:Waves is no dataclass"),
        ("train --estimator mine:Halved", "mine:Halved is not of the kind that is wanted here: estimator"),
        ("train --rule mine:LastOne", "mine:LastOne is not of the kind that is wanted here: rule"),
        ("train --estimator mine:LastTwo(windw=3)", "LastTwo has no field 'windw'; did you mean 'window'?"),
        ("train --estimator mine:LastTwo(-1)", "LastTwo: window must be at least 0, got -1"),
        ("train omniglot-5way-1shot --problem.data mine:absent", "the data directory mine:absent does not exist"),
        ("train --import nowhere", "the module nowhere cannot be imported"),
        ("report . --import nowhere", "the module nowhere cannot be imported"),
    ],
)
def test_what_is_wrong_with_them_is_one_sentence(mine, line, sentence, capsys):
    assert metagrad(*line.split()) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (mine / "runs").exists()


@pytest.mark.parametrize("at", ["os:abort", "os:system('exit 3')", "json:JSONDecoder", "subprocess:Popen('true')"])
def test_a_file_makes_nothing_run(at):
    values = {**sinusoid().to_json(), "problem": {"kind": "own", "at": at}}
    with pytest.raises(ValueError, match="is no problem: it lacks model"):
        Experiment.from_json(values)
    with pytest.raises(ValueError, match=r"no dataclass|not of the kind"):
        Experiment.from_json({**sinusoid().to_json(), "estimator": at if "(" in at else f"{at}()"})


def test_what_cannot_be_found_again_is_not_written():
    @dataclass(frozen=True)
    class Inside(Truncated):
        window: int = 1

    with pytest.raises(ValueError, match="defined inside a function"):
        replace(sinusoid(), estimator=Inside()).to_json()
    assert register(Inside) is Inside
    unregister(Inside)
