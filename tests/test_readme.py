"""The README's two set-up commands, and its ten lines of MAML."""

import re

import pytest

from documents.pages import README, ROOT, python, typed


def test_two_commands_do_all_the_set_up():
    setups = [line for line in typed(README) if line.startswith("python3 -m venv")]
    assert len(setups) == 2
    run, test = setups
    assert run.endswith("pip install -c constraints.txt . && metagrad train sinusoid")
    assert test.endswith("pip install -c constraints.txt '.[test]' && pytest -n auto")
    versions = {re.search(r"pip install torch==(\S+)", line)[1] for line in setups}
    assert len(versions) == 1  # torch comes first, by itself, so that nothing pinned changes its build
    assert not re.search(r"^torch==", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)


@pytest.mark.slow
def test_ten_lines_of_maml_train(capsys):
    (snippet,) = python(README)
    statements = [line for line in snippet.splitlines() if line and not line.startswith(("import", "from", " ", ")"))]
    assert len(statements) <= 10
    exec(compile(snippet, "README.md", "exec"), {})
    errors = re.search(r"error after 0…5 inner steps: tensor\(\[(.*)\]\)", capsys.readouterr().out)[1].split(",")
    assert len(errors) == 6
    assert float(errors[5]) < 0.5 * float(errors[0])
