"""What is damaged, half written, foreign, hostile or still growing: told, and never in the way of the rest."""

import fcntl
import json
import os
import shutil
import time

import pytest

from metagrad.training.manifest import write_manifest
from reporting.pages import Page

HOSTILE = (
    "</title></style></details>\"'><script>alert(1)</script><img src=http://evil.example onerror=alert(2)>&amp;{{7*7}}"
)


def change(path, *names, to):
    """Put another value into a JSON file."""
    values = json.loads(path.read_text())
    inner = values
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = to
    path.write_text(json.dumps(values))
    if path.name == "config.json" and isinstance(values.get("format"), int):
        write_manifest(path.parent, values)


def test_texts_of_files_stay_texts(runs, report):
    study, run, comparison = runs / "bounds", runs / "sines", runs / "compared"
    for name in ("title", "source", "command", "scale", "study"):
        change(study / "study.json", name, to=HOSTILE + name)
    change(study / "study.json", "settings", to={HOSTILE: HOSTILE, "list": [HOSTILE]})
    change(study / "result.json", "findings", 0, "claim", to=HOSTILE + "claim")
    change(study / "result.json", "tables", 0, "columns", 0, to=HOSTILE + "column")
    change(run / "config.json", "command", to=HOSTILE + "train")
    change(run / "config.json", "versions", HOSTILE, to=HOSTILE)
    change(run / "config.json", "config", "estimator", to=HOSTILE + "estimator")
    change(run / "test.json", "weights", to=HOSTILE + "weights")
    change(comparison / "comparison.json", "rows", 0, "estimator", to=HOSTILE + "row")
    os.rename(run, runs / "<img src=x onerror=alert(3)>")
    status, text, out, _ = report(runs)
    assert (status, "note" in out) == (0, False)
    page = Page(text)
    assert not page.of("script")
    assert all(a["src"].startswith("data:image/png") for a in page.of("img"))
    assert not any(name.startswith("on") for _, attributes, _ in page.elements for name in attributes)
    for word in ("title", "source", "command", "claim", "column", "train", "estimator", "weights", "row"):
        assert HOSTILE + word in page.text
    assert "49" not in page.text.partition(HOSTILE)[2][:5]


def test_control_characters_and_lone_surrogates(runs, report):
    change(runs / "bounds" / "study.json", "title", to="a\x00b\x1b[31mc\ud800d\u202ee")
    (runs / "odd\x1b[31m\nname").mkdir()
    (runs / "odd\x1b[31m\nname" / "config.json").write_text("{}")
    status, text, out, _ = report(runs)
    assert status == 0
    assert "a�b�[31mc�d�e" in text
    assert "\x1b" not in text + out


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2].rstrip()[:-1],
    "list": lambda data: b"[1, 2]",
    "object": lambda data: b'{"format": 1, "study": 3, "weights": 1, "rows": {}, "findings": 1, "config": []}',
    "binary": lambda data: bytes(range(256)),
    "deep": lambda data: b"[" * 100_000,
}
FILES = (
    *("sines/config.json", "sines/test.json", "sines/metrics.jsonl", "sines/adaptation.png"),
    *("compared/comparison.json", "compared/comparison.png"),
    *("bounds/study.json", "bounds/result.json", "bounds/records.jsonl", "bounds/figure.png"),
)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_told_and_loses_nothing_else(file, damage, runs, report):
    path = runs / file
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    status, text, out, err = report(runs)
    assert (status, err) == (0, "")
    page = Page(text)
    empty_lines = file.endswith("jsonl") and damage == "empty"  # a run before its first step
    assert (f"note: {file} " in out) == (not empty_lines)
    assert (file in page.texts) == (not empty_lines)
    for other in {"sines", "compared", "bounds"} - {file.partition("/")[0]}:
        assert f">{other}<" in text


@pytest.mark.slow
@pytest.mark.parametrize("file", [file for file in FILES if file.endswith("json")])
def test_any_value_may_be_of_another_kind(file, runs, report):
    """Each leaf and branch of each file replaced by each kind of value: a page all the same."""
    path = runs / file
    whole = path.read_text()
    wrong = [None, True, -1, 1e308, 10**400, "text", [], {}, [[]], {"a": None}, float("nan"), float("inf")]

    def places(value, at=()):
        if at:
            yield at
        if isinstance(value, dict):
            for name in value:
                yield from places(value[name], (*at, name))
        elif isinstance(value, list) and value:
            yield from places(value[0], (*at, 0))

    for number, at in enumerate(places(json.loads(whole))):
        path.write_text(whole)
        change(path, *at, to=wrong[number % len(wrong)])
        status, text, _, err = report(runs)
        assert (status, err) == (0, ""), at
        Page(text)


def test_steps_and_losses_of_other_kinds(runs, report):
    path = runs / "sines" / "metrics.jsonl"
    values = [("1e400", "1"), ("5", "1e308"), ("6", "-1e308"), ("7", "NaN"), ("8", '"x"'), ('"x"', "1"), ("9", "null")]
    odd = [f'{{"kind":"train","step":{step},"loss":{loss}}}' for step, loss in values]
    odd += ['{"kind":"validation","step":7,"loss":[1]}', '{"kind":"train"}', "3", "[]", "not json"]
    path.write_text(path.read_text() + "\n".join(odd) + "\n")
    status, text, out, _ = report(runs)
    assert status == 0
    assert "lines are damaged" in out
    Page(text)


def test_foreign_and_half_written_things(runs, report):
    (runs / "bert").mkdir()
    (runs / "bert" / "config.json").write_text('{"architectures": ["Bert"]}')
    (runs / "bert" / "vocab.txt").write_text("a")
    (runs / ".sines.12ab.partial").mkdir()
    (runs / "sines" / "test.json.partial").write_text("{")
    (runs / "loop").symlink_to(runs, target_is_directory=True)
    status, text, out, _ = report(runs)
    assert status == 0
    assert "note: bert/config.json is not of a run" in out
    assert "note: runs/.sines.12ab.partial is half written" in out
    assert "note: sines/test.json.partial is half written" in out
    assert "note: runs has 1 file that is of no run, comparison or study: bert/vocab.txt" in out
    page = Page(text)
    assert len(page.of("li")) > 4
    assert "bert/vocab.txt" in page.text
    assert "1 run\n" in out


def test_another_format_is_named(runs, report):
    change(runs / "sines" / "config.json", "format", to=99)
    change(runs / "bounds" / "study.json", "format", to=99)
    status, _, out, _ = report(runs)
    assert status == 0
    assert out.count("has format 99, and this version of metagrad reads 1") == 2


def test_a_run_that_is_training_stopped_or_not_tested(runs, report):
    run = runs / "sines"
    with (run / "lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "A process is training here at this moment: 4 of 4 meta-steps" in Page(report(runs)[1]).text
    (run / "test.json").unlink()
    assert "not tested" in Page(report(runs)[1]).text
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:3]) + '{"kind":"tr')
    _, text, out, _ = report(runs)
    page = Page(text)
    assert "Training stopped at 2 of 4 meta-steps. It goes on with metagrad train --resume runs/sines" in page.text
    assert "1 not complete" in page.text
    assert "line 4, the last, is half written" in out


def test_a_study_that_is_measured_or_unfinished(runs, report):
    study = runs / "bounds"
    for name in ("result.json", "figure.png"):
        (study / name).unlink()
    records = (study / "records.jsonl").read_text().splitlines(keepends=True)
    of_first = [line for line in records if json.loads(line)["cell"] == json.loads(records[0])["cell"]]
    (study / "records.jsonl").write_text("".join(of_first))
    page = Page(report(runs)[1])
    assert "Measuring stopped after 1 of 3 cells. It goes on with metagrad reproduce fig2" in page.text
    with (study / "lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "measuring here at this moment: 1 of 3 cells so far." in Page(report(runs)[1]).text
    for unknown in ("many", True, None):
        change(study / "study.json", "cells", to=unknown)
        assert "Measuring stopped after 1 cells." in Page(report(runs)[1]).text


def test_a_run_shows_a_dozen_pictures(runs, report):
    for number in range(30):
        shutil.copy(runs / "compared" / "comparison.png", runs / "sines" / f"a{number}.png")
    status, text, out, _ = report(runs)
    assert status == 0
    assert "note: sines has 32 pictures; the page shows 12 of them" in out
    assert "sines: adaptation to test tasks" in text
    assert len(Page(text).of("img")) == 12 + 2


def test_nothing_to_report_is_one_sentence(tmp_path, report):
    status, _, out, err = report(tmp_path)
    assert (status, out) == (2, "")
    assert err == (
        f"metagrad report: error: {tmp_path} holds no run, comparison or study to report; `metagrad train`, "
        "`metagrad compare` and `metagrad reproduce` make them\n"
    )
    assert not (tmp_path / "report.html").exists()
    status, _, _, err = report(tmp_path / "absent")
    assert status == 2
    assert "is not a directory; name one that holds runs" in err


def test_only_a_report_is_replaced(runs, report, tmp_path):
    mine = tmp_path / "mine.html"
    mine.write_text("my own page")
    status, _, _, err = report(runs, "--out", mine)
    assert (status, mine.read_text()) == (2, "my own page")
    assert "exists and is no report; choose another --out" in err
    for _ in range(2):
        status, _, out, _ = report(runs, "--out", tmp_path / "page.html")
        assert (status, "note" in out) == (0, False)
    assert report(runs)[0] == 0
    assert "note" not in report(runs)[2]  # its own page is no foreign file
    assert report(runs, "--out", tmp_path)[0] == 2
    assert report(runs, "--out", tmp_path / "no" / "page.html")[0] == 2


def test_nothing_is_written_but_the_page(runs, report, tmp_path):
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(runs.rglob("*"))}
    assert report(runs, "--out", tmp_path / "page.html")[0] == 0
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(runs.rglob("*"))} == before


@pytest.mark.slow
def test_a_long_run_is_read_in_seconds_into_a_small_page(runs, report):
    train = [
        json.dumps({"kind": "train", "step": step, "loss": 1 / step, "accuracy": 0.5, "seconds": 0.01})
        for step in range(1, 100_001)
    ]
    seen = [
        json.dumps({"kind": "validation", "step": 100 * step, "loss": 1.0, "loss_half_width_95": 0.1, "best": False})
        for step in range(1, 1_001)
    ]
    (runs / "sines" / "metrics.jsonl").write_text("\n".join(train + seen) + "\n")
    without = len(report(runs)[1])
    began = time.perf_counter()
    _, text, *_ = report(runs)
    assert time.perf_counter() - began < 20
    assert len(text) - sum(path.stat().st_size for path in runs.rglob("*.png")) * 4 / 3 < 150_000
    assert without == len(text)
    assert "100,000" in text


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def change_config(run, **values):
    manifest = json.loads((run / "config.json").read_text())
    write_manifest(run, {**manifest, "config": {**manifest["config"], **values}})


BAD = {
    "nested deeply": lambda run: change_config(run, estimator=nested(400)),
    "a command of another kind": lambda run: change(run / "config.json", "command", to=["metagrad"]),
    "a name of another kind": lambda run: change_config(run, problem={"kind": ["sinusoid"], "dataset": {}}),
    "steps without an end": lambda run: (run / "metrics.jsonl").write_text('{"kind":"train","step":1e99,"loss":1}\n'),
    "a huge validation": lambda run: (run / "metrics.jsonl").write_text(
        '{"kind":"validation","step":3,"loss":1e307,"loss_half_width_95":1e307}\n' * 3
    ),
    "tests without steps": lambda run: change(run / "test.json", "test", "steps", to=-5),
    "numbers as names": lambda run: change(run / "test.json", "results", to={"1": {"mean": [1], "half_width_95": [1]}}),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_run_costs_at_most_its_own_entry(kind, runs, report):
    shutil.copytree(runs / "sines", runs / "bad")
    BAD[kind](runs / "bad")
    status, text, _, err = report(runs)
    assert (status, err) == (0, "")
    page = Page(text)
    assert all(f">{name}<" in text for name in ("sines", "compared", "bounds"))
    assert "bad" in page.text


@pytest.mark.parametrize("error", [KeyError("step"), TypeError("no number"), ZeroDivisionError(), RecursionError()])
def test_whatever_reading_an_entry_raises_is_a_note(error, runs, report, monkeypatch):
    """Also what nobody thought of."""

    def fail(path, *_):
        raise error

    monkeypatch.setattr("metagrad.reporting.gathering.comparison", fail)
    status, text, out, err = report(runs)
    assert (status, err) == (0, "")
    assert f"note: compared/comparison.json cannot be shown ({type(error).__name__}" in out
    assert all(f">{name}<" in text for name in ("sines", "bounds"))
