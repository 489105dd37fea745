"""A stranger's checkpoint: whatever stands in it is held against the experiment before anything is loaded."""

import copy
import hashlib
import io
import shutil
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from metagrad import cli
from metagrad.choosing import Auto
from metagrad.experiments import session
from metagrad.experiments.config import build
from metagrad.optim import NormalizedSGD
from metagrad.training import Run
from metagrad.training.fitting import fitted, fitted_optimizer, fitted_scheduler
from training import states
from training.test_trainer import a_trainer

OLD = Path(__file__).parent / "old_runs" / "0.1.0"
STATE = states.read(OLD / "checkpoint.pt")
PLACES = [at for at in states.places(STATE) if at[0] != "format"]


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "run"))


def refusal(run, capsys, *options):
    """What `train --resume` says; it must be one sentence and exit status 2."""
    capsys.readouterr()
    status = cli.main(["train", "--resume", str(run), *options])
    _, err = capsys.readouterr()
    assert (status, err.count("\n")) == (2, 1), (status, err)
    assert len(err) < 700
    return err


SHAPES = {
    "a moment that is too short": (("optimizer", "state", 0, "exp_avg"), torch.zeros(1)),
    "a moment that is too long": (("optimizer", "state", 2, "exp_avg_sq"), torch.zeros(400)),
    "a moment of another dtype": (("optimizer", "state", 1, "exp_avg"), torch.zeros(4, dtype=torch.float64)),
    "a step that is no number": (("optimizer", "state", 1, "step"), torch.zeros(4)),
    "a moment that is missing": (("optimizer", "state", 3, "exp_avg_sq"), ...),
    "a parameter that is not there": (("optimizer", "state", 9), {"step": torch.tensor(1.0)}),
    "a weight of another shape": (("learner", "model.layers.0.weight"), torch.zeros(2, 2)),
    "a weight that is a text": (("learner", "model.layers.0.bias"), "weights"),
    "a generator's state cut short": (("generator",), torch.zeros(3, dtype=torch.uint8)),
    "a generator's state of zeros": (("generator",), torch.zeros_like(STATE["generator"])),
    "more steps than there are": (("step",), 4),
    "half a step": (("step",), 0.5),
    "a course of texts": (("scheduler", "base_lrs"), ["fast"]),
    "a rate that is not finite": (("optimizer", "param_groups", 0, "lr"), float("nan")),
    "a warning that was half said": (("watch", "warned"), 3),
}


@pytest.mark.parametrize("case", SHAPES)
def test_what_does_not_fit_is_refused_in_one_sentence_and_nothing_is_written(case, run, capsys):
    at, value = SHAPES[case]
    states.write(run / "checkpoint.pt", states.replaced(STATE, at, value))
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.name != "lock"}
    assert "does not fit this experiment" in refusal(run, capsys, "--meta-steps", "3")
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name != "lock"} == before


@pytest.mark.parametrize("wrong", states.WRONG)
def test_every_leaf_and_branch_of_another_kind(wrong):
    """At each of some 60 places, each wrong value is refused by a ValueError, or is a number that may stand there."""
    value, refused = states.WRONG[wrong], 0
    for at in PLACES:
        if at == ("metrics_bytes",):
            continue
        trainer = a_trainer_of_the_run()
        before = copy.deepcopy(trainer.state())
        changed, told = states.replaced(STATE, at, value), None
        try:
            trainer.load_state(changed)
        except ValueError as error:
            told = str(error)
        if told is None:
            trainer._meta_step(Recorded())
        else:
            assert "does not fit this experiment" in told
            assert len(told) < 500
            same(trainer.state(), before)
            refused += 1
    assert refused >= 0.5 * len(PLACES)


def test_every_place_missing():
    needed = [at for at in PLACES if at[0] in ("learner", "generator", "watch", "step", "best", "optimizer")]
    settings = [at for at in needed if at[:2] == ("optimizer", "param_groups") and len(at) > 3]
    whole_states = [at for at in needed if at[:2] == ("optimizer", "state") and len(at) == 3]  # of what never moved
    for at in [at for at in needed if at not in settings + whole_states]:
        with pytest.raises(ValueError, match="does not fit this experiment"):
            a_trainer_of_the_run().load_state(states.replaced(STATE, at, ...))


@pytest.mark.parametrize("value", [-1, True, "598", None, 10**30, torch.zeros(2)])
def test_the_length_of_the_metrics(value, run, capsys):
    states.write(run / "checkpoint.pt", states.replaced(STATE, ("metrics_bytes",), value))
    assert "the run cannot be continued" in refusal(run, capsys)
    states.write(run / "checkpoint.pt", states.replaced(STATE, ("format",), value))
    assert "is not a checkpoint that this version reads" in refusal(run, capsys)


def test_moments_that_share_memory_or_repeat_one_number_are_copied_apart():
    shared = torch.zeros(4, 1)
    state = states.replaced(STATE, ("optimizer", "state", 0, "exp_avg"), shared)
    state["optimizer"]["state"][0]["exp_avg_sq"] = shared
    state["optimizer"]["state"][1]["exp_avg"] = torch.zeros(1).expand(4)
    trainer = a_trainer_of_the_run()
    trainer.load_state(state)
    moments = list(trainer.optimizer.state.values())
    assert moments[0]["exp_avg"].data_ptr() != moments[0]["exp_avg_sq"].data_ptr()
    assert moments[1]["exp_avg"].stride() == (1,)


class WithAttributes(torch.optim.Optimizer):
    """One of a user's, with an attribute of its own, and a state that begins before the first step."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})
        self.decay = 0.5
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["mean"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                mean = state.setdefault("mean", torch.zeros_like(parameter))
                if parameter.grad is not None:
                    parameter.sub_(group["lr"] * mean.mul_(self.decay).add_(parameter.grad))


class Uncopied(torch.optim.lr_scheduler.ExponentialLR):
    """A scheduler that holds what cannot be copied."""

    def __init__(self, optimizer):
        self.lock = threading.Lock()
        super().__init__(optimizer, 0.9)

    def state_dict(self):
        return {name: value for name, value in super().state_dict().items() if name != "lock"}


OPTIMIZERS = {
    "a user's own": WithAttributes,
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "adamw, fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "normalised": lambda p: NormalizedSGD(p, lr=0.1),
    "two groups": lambda p: torch.optim.Adam([{"params": p[:1], "lr": 1}, {"params": p[1:]}], lr=0.1),
}
SCHEDULERS = {
    "one that cannot be copied": Uncopied,
    "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=9),
    "milestones": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [1, 3]),
    "restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=2),
    "one cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.3, total_steps=9, cycle_momentum=False),
    "function": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.5**step),
    "warm up": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o,
        [torch.optim.lr_scheduler.LinearLR(o, 0.1), torch.optim.lr_scheduler.ExponentialLR(o, 0.9)],
        milestones=[2],
    ),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("course", SCHEDULERS)
def test_what_an_optimizer_and_a_scheduler_of_torch_save_fits_another_of_their_kind(kind, course):
    def made():
        parameters = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(4))]
        optimizer = OPTIMIZERS[kind](parameters)
        return parameters, optimizer, SCHEDULERS[course](optimizer)

    def stepped(parameters, optimizer, scheduler):
        parameters[0].grad = torch.ones(3, 2)  # the second never moves
        optimizer.step()
        scheduler.step()

    first, second = made(), made()
    for _ in range(3):
        stepped(*first)
    second[1].load_state_dict(fitted_optimizer(first[1].state_dict(), second[1], "it"))
    second[2].load_state_dict(fitted_scheduler(first[2].state_dict(), second[2], "it"))
    with torch.no_grad():
        second[0][0].copy_(first[0][0])
    for _ in range(3):
        stepped(*first)
        stepped(*second)
    assert torch.equal(first[0][0], second[0][0])
    assert first[2].get_last_lr() == second[2].get_last_lr()


def test_settings_of_another_torch_are_no_hindrance():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    saved = optimizer.state_dict()
    del saved["param_groups"][0]["maximize"]
    saved["param_groups"][0]["of_another_version"] = 3
    settings = fitted_optimizer(saved, optimizer, "it")["param_groups"][0]
    assert settings["maximize"] is False
    assert "of_another_version" not in settings


@pytest.mark.parametrize("impossible", [{"T_max": 0}, {"eta_min": 1e308, "T_max": 1}, {"last_epoch": 10**400}])
def test_a_course_that_cannot_go_on_is_refused(impossible):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=9)
    with pytest.raises(ValueError, match=r"it .*(impossible|should be)"):
        fitted_scheduler({**scheduler.state_dict(), "last_epoch": 3, **impossible}, scheduler, "it")
    assert scheduler.T_max == 9


@pytest.mark.parametrize("wrong", [*states.WRONG, "nothing", "half a row", "a candidate of others"])
def test_the_state_of_auto(wrong):
    own = {"nothing": torch.zeros(0), "half a row": torch.tensor([9, 1, 0, 0, 1, 3, 2.0, 0.1])}
    value = {**states.WRONG, **own, "a candidate of others": torch.tensor([1.0, 0, 99, 0])}[wrong]
    trainer = a_trainer(2, estimator=Auto(tolerance=0.1))
    state = trainer.state()
    with pytest.raises(ValueError, match="does not fit"):
        trainer.load_state({**state, "learner": {**state["learner"], "chooser._extra_state": value}})


def test_a_checkpoint_that_would_grow_is_not_read(run, capsys):
    """A record of 64 MiB of zeros, compressed to some KB, under a right checksum."""
    states.write(run / "checkpoint.pt", {**STATE, "generator": torch.zeros(2**24)})
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO((run / "checkpoint.pt").read_bytes()[32:])) as plain,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for entry in plain.infolist():
            archive.writestr(entry.filename, plain.read(entry))
    data = packed.getvalue()
    assert len(data) < 2**17
    (run / "checkpoint.pt").write_bytes(hashlib.sha256(data).digest() + data)
    assert "checkpoint.pt is missing or damaged" in refusal(run, capsys)


def lists(run):
    """Nothing but empty lists: a byte each in the file, sixty in memory."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"]" * 2**24 + b".")
        archive.writestr("archive/version", "3\n")
    return packed.getvalue()


def older(run):
    """torch's format before archives, with one behind it."""
    plain = io.BytesIO()
    torch.save(STATE, plain, _use_new_zipfile_serialization=False)
    return plain.getvalue() + (run / "checkpoint.pt").read_bytes()[32:]


@pytest.mark.parametrize("make", [lists, older])
def test_what_torch_would_read_and_metagrad_does_not_write_is_refused(make, run, capsys):
    data = make(run)
    (run / "checkpoint.pt").write_bytes(hashlib.sha256(data).digest() + data)
    assert "checkpoint.pt is missing or damaged" in refusal(run, capsys)


def test_weights_of_another_dtype_or_shape_are_not_evaluated(run, capsys):
    whole = Run(run).weights("best")
    for changed in (
        {**whole, "model.layers.0.bias": torch.ones(4, dtype=torch.float64)},
        {**whole, "model.layers.0.bias": torch.ones(4, dtype=torch.bool)},
        {**whole, "model.layers.0.bias": torch.ones(5)},
        {name: value for name, value in whole.items() if "0.bias" not in name},
        {**whole, "another": torch.ones(1)},
    ):
        (run / "best.safetensors").write_bytes(safetensors.torch.save(changed))
        assert cli.main(["evaluate", str(run)]) == 2
        assert "best.safetensors" in capsys.readouterr().err


def test_fitted_keeps_kinds():
    assert fitted({"a": (1, 2.0)}, {"a": (0, 0.0)}, "it") == {"a": (1, 2.0)}
    assert fitted(3, 0.0, "it") == 3
    for saved, own in ((True, 1), (1, True), (1.0, 1), ("b", "a"), ([1], [1, 2]), (None, 0), (float("inf"), 1.0)):
        with pytest.raises(ValueError, match=r"^it "):
            fitted(saved, own, "it")


def a_trainer_of_the_run():
    config = replace(session.opened(Run(OLD)), meta_steps=10**6)
    return session._trainer(config, *build(config), None)


class Recorded:
    def record(self, values):
        pass


def same(state, other):
    assert list(states.places(state)) == list(states.places(other))
    for at in states.places(state):
        first, second = state, other
        for name in at:
            first, second = first[name], second[name]
        if isinstance(first, torch.Tensor):
            assert torch.equal(first, second)
