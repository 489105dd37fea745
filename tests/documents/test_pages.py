"""What the documents tell people to type exists, and so does what they link to; pages are short enough to read."""

import re
import shlex
from pathlib import Path

import pytest

import metagrad
from documents.pages import DOCS, PAGES, README, ROOT, links, name, python, text, typed
from metagrad import cli
from metagrad.studies import catalogues

TUTORIALS = ROOT / "examples" / "tutorials"
EVERY = [README, *PAGES]
LINES = sorted({line for page in EVERY for line in typed(page)})
MOST_WORDS = {README: 700}


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("metagrad ")])
def test_every_command_is_understood(line, capsys, monkeypatch, tmp_path):
    """Parsed completely, options and values, up to where the work would begin."""
    monkeypatch.chdir(tmp_path)  # away from runs that someone has made here

    def stop(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("metagrad.commands.session.start", stop)
    monkeypatch.setattr("metagrad.commands.compare", stop)
    monkeypatch.setattr("metagrad_studies.core.catalogue.carry_out", stop)
    monkeypatch.setattr("metagrad.experiments.downloading.fetch", stop)
    monkeypatch.setattr("metagrad.terminal.free_path", lambda name: Path("no such", name))
    words = shlex.split(line)[1:]
    status = cli.main(words)
    if words[0] == "evaluate" or "--resume" in words:
        assert status == 2
        assert "does not exist" in capsys.readouterr().err
    elif words[0] == "report":
        assert status == 2
        assert "is not a directory; name one that holds runs" in capsys.readouterr().err
    else:
        assert status == (0 if words == ["list"] else cli.INTERRUPTED), capsys.readouterr().err


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("metagrad reproduce ")])
def test_a_study_has_the_size_that_it_is_asked_for(line):
    _, _, study, *options = shlex.split(line)
    scale = options[options.index("--scale") + 1] if "--scale" in options else "small"
    assert scale in catalogues()[study][study].scales


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("python -m benchmarks")])
def test_a_benchmark_is_there(line):
    package = ROOT / Path(*line.split()[2].split("."))
    assert package.with_suffix(".py").exists() or (package / "__main__.py").exists()


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_links_lead_somewhere(page):
    for target in links(page):
        built_from = TUTORIALS / f"{target.name}.py" if target.parent == DOCS / "tutorials" else target
        built_from = TUTORIALS / "GALLERY_HEADER.rst" if target == DOCS / "tutorials" / "index" else built_from
        assert built_from.exists(), target


@pytest.mark.parametrize("page", [*EVERY, ROOT / "CONTRIBUTING.md"], ids=name)
def test_files_that_are_named_are_there(page):
    for path in re.findall(r"`((?:tests|examples|benchmarks|src)/[\w/]+\.py)`", text(page)):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_a_page_is_short(page):
    assert len(text(page).split()) <= MOST_WORDS.get(page, 1500)


@pytest.mark.parametrize(
    "answer",
    [
        "how-to/choose-an-estimator.md",  # which estimator?
        "how-to/your-model.md",  # how do I use my model?
        "how-to/from-learn2learn.md",  # how do I go from learn2learn?
        "how-to/save-and-load.md",  # how do I save and load?
        "results/index.md",  # what did the paper claim, and did it hold?
        "how-to/add-a-rule.md",  # how do I add a rule?
    ],
)
@pytest.mark.parametrize("front", [DOCS / "index.md", README], ids=name)
def test_a_strangers_question_is_answered_within_two_clicks(front, answer):
    one = links(front)
    two = one | {target for page in one if page in PAGES for target in links(page)}
    assert DOCS / answer in two


def test_every_page_is_in_the_navigation():
    for page in PAGES:
        if page != DOCS / "index.md":
            named = [f"{page.stem}\n", f"{page.relative_to(DOCS).with_suffix('').as_posix()}\n"]
            named.append(f"{page.parent.name}/{page.stem}\n")
            assert any(entry in text(other) for entry in named for other in PAGES if "{toctree}" in text(other)), page


def test_every_public_name_is_documented():
    reference = "\n".join(text(page) for page in PAGES if page.parent == DOCS / "reference")
    directives = {line.split("::")[1].strip() for line in reference.splitlines() if line.startswith(".. auto")}
    assert {f"metagrad.{name}" for name in metagrad.__all__} <= directives


def test_every_part_of_the_package_is_in_the_layout():
    package = Path(metagrad.__file__).parent
    parts = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    named = set(re.findall(r"`(\w+)`", text(DOCS / "explanation" / "layout.md")))
    assert parts - {"__init__", "__main__"} <= named


HOW_TO = [page for page in PAGES if page.parent == DOCS / "how-to" and not page.name.startswith(("from-", "data"))]


@pytest.mark.parametrize("page", [page for page in HOW_TO if python(page) and page.name != "index.md"], ids=name)
def test_a_page_says_which_lines_its_code_goes_on_from(page):
    assert DOCS / "how-to" / "index.md" in links(page)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")  # transformers itself
@pytest.mark.parametrize("page", [page for page in HOW_TO if python(page) and page.name != "index.md"], ids=name)
def test_the_code_of_a_page_runs(page, monkeypatch, tmp_path):
    """As a reader would run it: the blocks of the page in order, after those of the index."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in [*python(DOCS / "how-to" / "index.md"), *python(page)]:
        exec(compile(code, name(page), "exec"), names)
