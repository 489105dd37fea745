"""What the README tells people to type works, and its estimator table tells the truth."""

import re
import shlex
from pathlib import Path

import pytest

import metagrad
from metagrad import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line.partition("#")[0].strip() for kind, block in BLOCKS if not kind for line in block.splitlines()]


def test_two_commands_do_all_the_set_up():
    setups = [c for c in COMMANDS if c.startswith("python3 -m venv")]
    assert len(setups) == 2
    run, test = setups
    assert run.endswith("pip install -c constraints.txt . && metagrad train sinusoid")
    assert test.endswith("pip install -c constraints.txt '.[test]' && pytest")
    pinned = (ROOT / "constraints.txt").read_text()
    assert all(re.search(r"pip install (torch==\S+)", c)[1] in pinned for c in setups)


def test_the_library_snippet_runs(capsys):
    snippets = [block for kind, block in BLOCKS if kind == "python"]
    assert len(snippets) == 1
    exec(compile(snippets[0], "README.md", "exec"), {})
    assert "tensor" in capsys.readouterr().out


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("metagrad ")])
def test_every_command_is_understood(command, capsys):
    """Parsed up to its values, with --help in place of the work."""
    if "--resume" in command or "evaluate" in command:
        command = re.sub(r"runs/\S+", "no-such-run", command)
        assert cli.main(shlex.split(command)[1:]) == 2
        assert "is not a run directory" in capsys.readouterr().err
        return
    with pytest.raises(SystemExit) as left:
        cli.main([*shlex.split(command)[1:], "--help"])
    assert left.value.code == 0


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("Exact()", lambda K: (K, K, 0)),
        ("FirstOrder()", lambda K: (0, 0, 0)),
        ("Truncated(window=2)", lambda K: (min(2, K), min(2, K), 0)),
        ("Binomial(order=2)", lambda K: (min(2, K) * (K - min(2, K) + 1), min(2, K), 0)),
        ("Hybrid(window=3, order=2)", lambda K: (2 * (min(3, K) - 1) if K > 1 else 1, min(2, K), 0)),
        ("Implicit()", lambda K: (6, 6, 0)),
        ("FiniteDifference()", lambda K: (0, 0, 2)),
        ("Reptile()", lambda K: (0, 0, 0)),
    ],
)
def test_the_costs_of_the_table(text, cost):
    estimator = eval(text, vars(metagrad))
    assert f"`{type(estimator).__name__}(" in README
    for steps in (1, 2, 3, 5, 9):
        assert estimator.cost(steps) == cost(steps)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
