"""The checks before a push are those of CI, and the citation names this version."""

import re
import tomllib

import yaml

import metagrad
from documents.pages import README, ROOT, typed


def test_pre_commit_has_exactly_the_checks_of_ci():
    script = (ROOT / ".ci" / "run").read_text()
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    (tests,) = [line for line in typed(README) if line.startswith("python3 -m venv") and "pytest" in line]
    checks = [tests.rpartition(" && ")[2], *re.findall(r"^check (.*)$", script, flags=re.MULTILINE)]
    assert sorted(hooks) == sorted(checks)


def test_ci_takes_its_two_set_up_lines_from_the_readme():
    patterns = re.findall(r"grep -E '([^']*)' README\.md", (ROOT / ".ci" / "run").read_text())
    assert len(patterns) == 2
    lines = README.read_text(encoding="utf-8").splitlines()
    assert all(len([line for line in lines if re.search(pattern, line)]) == 1 for pattern in patterns)


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"] == metagrad.__version__
    assert f"## {metagrad.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
