"""What the README tells people to type is understood."""

import re
import shlex
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_the_library_snippet_runs(capsys):
    snippets = [block for kind, block in BLOCKS if kind == "python"]
    assert len(snippets) == 1
    exec(compile(snippets[0], "README.md", "exec"), {})
    errors = re.search(r"error after 0…5 inner steps: tensor\(\[(.*)\]\)", capsys.readouterr().out)[1].split(",")
    assert len(errors) == 6
    assert float(errors[5]) < float(errors[0])


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("metagrad ")])
def test_every_command_is_understood(command, capsys, monkeypatch, tmp_path):
    """Parsed completely, options and values, up to where the work would begin."""
    monkeypatch.chdir(tmp_path)  # away from runs that someone has made here

    def stop(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("metagrad.commands.session.start", stop)
    monkeypatch.setattr("metagrad.commands.compare", stop)
    monkeypatch.setattr("metagrad.reproducing.carry_out", stop)
    monkeypatch.setattr("metagrad.terminal.free_path", lambda name: Path("no such", name))
    status = cli.main(shlex.split(command)[1:])
    if "runs/" in command:
        assert status == 2
        assert "is not a run directory" in capsys.readouterr().err
    elif command.startswith("metagrad report"):
        assert status == 2
        assert "is not a directory; name one that holds runs" in capsys.readouterr().err
    else:
        assert status == (0 if command == "metagrad list" else cli.INTERRUPTED)
