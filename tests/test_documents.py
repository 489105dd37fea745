"""What the documents tell people to type exists, and so do the pictures and pages that they name."""

import re
import shlex
from pathlib import Path

import pytest

from metagrad_studies.catalogue import STUDIES

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
LINES = {
    shlex.join(shlex.split(line, comments=True))
    for text in PAGES.values()
    for block in re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith(("metagrad reproduce ", "python -m benchmarks"))
}


@pytest.mark.parametrize("line", sorted(line for line in LINES if line.startswith("metagrad reproduce ")))
def test_a_study_has_the_size_that_it_is_asked_for(line):
    _, _, name, *options = line.split()
    scale = options[options.index("--scale") + 1] if "--scale" in options else "small"
    assert scale in STUDIES[name].scales


@pytest.mark.parametrize("line", sorted(line for line in LINES if line.startswith("python -m benchmarks")))
def test_a_benchmark_is_there(line):
    module = line.split()[2]
    package = ROOT / Path(*module.split("."))
    assert package.with_suffix(".py").exists() or (package / "__main__.py").exists()


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_lead_somewhere(page):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#\s]+)\)", PAGES[page]):
        if "://" not in target:
            assert (folder / target).exists(), target
