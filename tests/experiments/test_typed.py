"""Commands of experiments: as typed without places, and rebuilt so that they give exactly the same configuration."""

import math
import shlex
from dataclasses import replace

import pytest

from metagrad import cli
from metagrad.estimators import Binomial, FiniteDifference, FirstOrder, Implicit, Neumann, Split, Truncated
from metagrad.experiments.presets import PRESETS
from metagrad.experiments.typed import as_typed, rebuilt
from metagrad.rules import SGD, Learned


def test_as_typed_leaves_out_places():
    values = {"out": "/tmp/x", "data": "/home/me", "download": "", "estimator": "Truncated(window=3)", "rule.lr": "0.1"}
    assert as_typed("metagrad train", "sinusoid", values) == (
        "metagrad train sinusoid --estimator 'Truncated(window=3)' --rule.lr 0.1 --data DIR"
    )
    assert as_typed("metagrad train", "sinusoid", {}) == "metagrad train sinusoid"
    assert "/home" not in as_typed("metagrad train", "omniglot-5way-1shot", {"problem.data": "/home/me"})


def test_presets_need_no_options():
    for name, preset in PRESETS.items():
        command = rebuilt("metagrad train", preset())
        assert command is not None
        assert command.removesuffix(" --data DIR") == f"metagrad train {name}"


base = PRESETS["sinusoid"]()
CONFIGS = [
    base,
    replace(base, estimator=Truncated(window=3), seed=11, adapts=("0.weight", "head")),
    replace(base, estimator=Binomial(order=3, scale="paper"), rule=SGD(lr=0.02, momentum=0.5, nesterov=True)),
    replace(base, estimator=Binomial(order=3, center="auto"), rule=SGD(lr=Learned(0.125, "element"))),
    replace(base, estimator=Split(window=2, late=Binomial(order=1), early=FirstOrder()), num_steps=7),
    replace(base, estimator=Implicit(Neumann(7)), proximal=2.5, optimizer=replace(base.optimizer, clip=0.5)),
    replace(base, estimator=FiniteDifference(), proximal=1 / 3, problem=replace(base.problem, inputs=(-2.5, 1.0))),
    replace(base, problem=replace(base.problem, hidden=(), phase=(0.0, math.pi / 3))),
    replace(base, machine=replace(base.machine, threads=None, precision="bf16", capture="off"), meta_steps=0),
    replace(PRESETS["omniglot-20way-1shot"](), meta_batch=2, seed=9),
    replace(PRESETS["mnist1d-5way-5shot"](), estimator=Truncated(window=1)),
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_rebuilt_command_gives_the_same_configuration(config, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    seen = []

    def stop(given, *_):
        seen.append(given)
        raise KeyboardInterrupt

    monkeypatch.setattr("metagrad.commands.session.start", stop)
    monkeypatch.setattr("metagrad.commands.compare", stop)
    monkeypatch.setattr("metagrad.commands.session.apply_threads", lambda config: None)
    typed = rebuilt(f"metagrad {command}", config)
    assert typed is not None
    assert cli.main(shlex.split(typed)[1:]) == cli.INTERRUPTED
    if hasattr(config.problem, "data"):
        config = replace(config, problem=replace(config.problem, data="DIR"))
    assert seen == [config]
