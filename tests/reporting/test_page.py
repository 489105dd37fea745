"""The page of whole runs, comparisons and studies: complete, self-contained, and open to everyone."""

import base64
import json
import re
import shutil
from datetime import UTC, datetime

import pytest

from metagrad.reporting.gathering import gather
from metagrad.reporting.page import html
from reporting.pages import Page


@pytest.fixture(scope="module")
def text(made):
    return html(gather(made, made / "report.html"), datetime(2026, 1, 2, 3, 4, tzinfo=UTC))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_every_reference_has_its_target_and_every_id_is_unique(page):
    assert len(page.ids) == len(set(page.ids))
    for _, attributes, _ in page.elements:
        for name in ("href", "aria-labelledby", "aria-describedby"):
            for reference in attributes.get(name, "").split():
                if name != "href" or reference.startswith("#"):
                    assert reference.removeprefix("#") in page.ids, reference


def test_nothing_outside_the_file_is_asked_for(page, text):
    for tag, attributes, _ in page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base"), tag
        assert not any(name.startswith("on") or name in ("srcset", "style") for name in attributes), attributes
        for name in ("href", "src"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_structure_for_keyboards_and_screen_readers(page):
    assert page.of("html") == [{"lang": "en"}]
    assert [len(page.of(tag)) for tag in ("header", "nav", "main", "footer", "h1", "title")][:5] == [1, 1, 1, 1, 1]
    assert page.headings[0] == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    links = [attributes for attributes in page.of("a")]
    assert links[0]["href"] == "#main"
    for attributes in page.of("img"):
        assert len(attributes["alt"]) > 20
        assert int(attributes["width"]) > 0 < int(attributes["height"])
    for attributes in page.of("svg"):
        assert attributes.get("aria-hidden") == "true" or (
            attributes["role"] == "img" and attributes["aria-labelledby"]
        )
    assert all(attributes["scope"] in ("col", "row") for attributes in page.of("th"))
    assert len(page.of("table")) == len(page.of("caption")) > 5
    regions = [attributes for attributes in page.of("div") if "scroll" in attributes.get("class", "")]
    assert len(regions) >= len(page.of("table"))
    assert all(a["role"] == "region" and a["tabindex"] == "0" for a in regions)
    assert all("aria-label" in a or "aria-labelledby" in a for a in regions)


def test_the_numbers_of_the_records_are_there(page, made):
    test = json.loads((made / "sines" / "test.json").read_text())["results"]["loss"]
    for mean, half in zip(test["mean"], test["half_width_95"], strict=True):
        assert f"{mean:.4f} ± {half:.4f}" in page.text
    study = json.loads((made / "bounds" / "result.json").read_text())
    for listing in study["tables"]:
        assert listing["title"] in page.text
        assert all(cell in page.texts for line in listing["rows"] for cell in line)
    for finding in study["findings"]:
        assert finding["claim"] in page.text
        assert finding["measured"] in page.text
    assert "0.00043" in page.texts  # the comparison's error
    assert "Implicit()*" in page.texts
    last = json.loads((made / "sines" / "metrics.jsonl").read_text().splitlines()[-1])
    assert f"{last['loss']:.4f} ± {last['loss_half_width_95']:.4f}" in page.text
    assert "1 study 1 comparison 1 run 2 claims: 2 held" in page.text


def test_every_table_figure_and_number_leads_to_its_command(page, made):
    commands = [attributes["id"] for attributes in page.of("p") if attributes.get("class") == "command"]
    assert len(commands) == 4
    targets = [attributes["href"][1:] for attributes in page.of("a") if attributes.get("class") == "made"]
    assert set(targets) == set(commands)
    for command in (
        "metagrad reproduce fig2 --scale small",
        "metagrad compare sinusoid",
        "metagrad evaluate runs/sines",
        json.loads((made / "sines" / "config.json").read_text())["command"],
    ):
        assert command in page.text


def test_pictures_are_inside(page, made):
    sources = [attributes["src"] for attributes in page.of("img")]
    assert len(sources) == 4
    inside = {base64.b64decode(source.partition("base64,")[2]) for source in sources}
    assert inside == {path.read_bytes() for path in made.rglob("*.png")}
    assert len(page.of("svg")) >= 2  # the learning curve and its key


def test_configuration_settings_and_environment(page):
    for word in ("problem.hidden", "optimizer.schedule", "num_steps", "convex_steps", "torch", "python", "machine"):
        assert word in page.texts
    assert "What the source leaves open" in page.texts


def test_verdicts_are_words(page):
    badges = [attributes["class"] for attributes in page.of("span") if "badge" in attributes.get("class", "")]
    assert badges == ["badge held"] * 2
    assert page.text.count("✓ held") == 2


def test_the_page_depends_on_the_directory_and_the_time_only(made, text):
    assert html(gather(made, made / "report.html"), datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == text
    assert str(made) not in text  # nothing of the machine


def test_a_claim_that_did_not_hold_and_one_undecided(runs, report):
    path = runs / "bounds" / "result.json"
    result = json.loads(path.read_text())
    result["findings"][0]["held"], result["findings"][1]["held"] = False, None
    path.write_text(json.dumps(result))
    status, text, *_ = report(runs)
    page = Page(text)
    assert status == 0
    assert "✗ did not hold" in page.text
    assert "? undecided" in page.text
    assert "1 did not hold, 1 undecided" in page.text


def test_a_run_or_a_study_alone(made, tmp_path, report):
    for name, command in (("sines", "metagrad evaluate sines"), ("bounds", "metagrad reproduce fig2")):
        alone = shutil.copytree(made / name, tmp_path / name)
        status, text, out, _ = report(alone)
        assert (status, "note" in out) == (0, False)
        assert command in Page(text).text


def test_the_cells_of_a_study_are_not_listed(runs, report):
    shutil.copytree(runs / "sines", runs / "bounds" / "cells" / "seed=0" / "run")
    status, text, out, _ = report(runs)
    assert (status, "1 run\n" in out, "note" in out) == (0, True, False)
    assert "seed=0" not in text


def test_names_that_look_alike_keep_apart_and_ten_comes_after_two(runs, report):
    for name in ("a b", "a-b", "a-b--train", "a b/../run 10", "run 2"):
        shutil.copytree(runs / "sines", runs / name)
    _, text, out, _ = report(runs)
    page = Page(text)
    assert "6 runs" in out
    assert len(page.ids) == len(set(page.ids))
    assert text.index(">run 2<") < text.index(">run 10<")
    assert "metagrad evaluate 'runs/run 10'" in page.text


def test_an_older_run_gets_its_command_from_its_configuration(runs, report):
    path = runs / "sines" / "config.json"
    manifest = json.loads(path.read_text())
    del manifest["command"]
    path.write_text(json.dumps(manifest))
    _, text, *_ = report(runs)
    assert re.search(r"metagrad train sinusoid --\S+ ", Page(text).text)
    assert "--problem.hidden 8" in Page(text).text


def test_other_tests_of_a_run_are_shown_too_with_their_own_command(runs, report):
    test = json.loads((runs / "sines" / "test.json").read_text())
    test["test"]["tasks"], test["weights"], test["results"]["loss"]["mean"][0] = 77, "last", 12.3456
    (runs / "sines" / "again.json").write_text(json.dumps(test))
    page = Page(report(runs)[1])
    assert "77 test tasks" in page.text
    assert "12.3456 ±" in page.text
    assert "metagrad evaluate runs/sines --tasks 77 --weights last" in page.text
    assert page.text.count("metagrad evaluate runs/sines") == 2


def test_a_directory_of_data_is_not_told(runs, report):
    path = runs / "sines" / "config.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["problem"]["data"] = "/home/someone/secret"
    path.write_text(json.dumps(manifest))
    assert "someone" not in report(runs)[1]
