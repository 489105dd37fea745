"""The command line: `metagrad train | evaluate | compare | reproduce | report | list`, and what becomes of errors."""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence

import torch

from metagrad import __version__, studies
from metagrad.commands import run_compare, run_evaluate, run_list, run_train
from metagrad.experiments.options import CommandError, Parser, normal
from metagrad.foreign import plain, printable
from metagrad.reporting_command import run_report
from metagrad.reproducing import run_reproduce
from metagrad.spelling import spell_out
from metagrad.terminal import INTERRUPTED
from metagrad.training.interrupt import terminated_as_interrupted

USER_ERROR = 2

_LONGEST = 4000  # characters of an error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for an error of the user's, 130 after Ctrl-C or SIGTERM.

    An error of the user's is one that metagrad's own code raises, or the system about a file: one sentence on stderr.
    Anything else is a mistake in the program and keeps its traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    spell_out(sys.stdout, sys.stderr)
    try:
        with terminated_as_interrupted(), _notes_printed():
            return _run(given)
    except CommandError as error:
        return _complain(error.command, str(error))
    except BrokenPipeError:  # `metagrad list | head`: whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        # The CPU allocator has no error class of its own.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        return _complain(
            _name(given), "the device ran out of memory; lower --machine.task_chunk, --meta_batch or the model's size"
        )
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _complain(_name(given), f"{error.strerror or error}{where}")
    except ValueError as error:
        if not _raised_by_metagrad(error):
            raise
        return _complain(_name(given), str(error))
    except KeyboardInterrupt:
        print(f"{_name(given)}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(given: list[str]) -> int:
    commands: Mapping[str, Callable[[list[str]], int]] = {
        "train": run_train,
        "evaluate": run_evaluate,
        "compare": run_compare,
        "reproduce": run_reproduce,
        "report": run_report,
        "list": run_list,
    }
    if given and given[0] in commands:
        return commands[given[0]](normal(given[1:]))
    parser = Parser("metagrad", "Meta-learning with any meta-gradient estimator between first-order and exact.")
    parser.add_argument("--version", action="version", version=f"metagrad {__version__}")
    parser.add_argument(
        "command",
        choices=list(commands),
        help="train: meta-train a model and test it; evaluate: test a run again; compare: measure all estimators; "
        "reproduce: a figure or table of a paper, measured; report: all results of a directory on one page; "
        "list: presets, estimators, rules, studies; "
        "`metagrad COMMAND --help` tells more (try `metagrad train sinusoid`)",
    )
    parser.parse(given)
    raise AssertionError("a command that parses is dispatched above")


class _Printed(logging.Handler):
    """Prints each note once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            print(plain(text), flush=True)


@contextlib.contextmanager
def _notes_printed() -> Generator[None]:
    """What the library notes about data, on stdout while a command runs."""
    logs, printed = [logging.getLogger(f"metagrad.{part}") for part in ("tasks", "experiments")], _Printed()
    before = [log.level for log in logs]
    for log in logs:
        log.addHandler(printed)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.removeHandler(printed)
            log.setLevel(level)


def _name(given: list[str]) -> str:
    return f"metagrad {given[0]}" if given and not given[0].startswith("-") else "metagrad"


def _complain(command: str, message: str) -> int:
    print(f"{command}: error: {printable(message, _LONGEST)}", file=sys.stderr)
    return USER_ERROR


def _raised_by_metagrad(error: BaseException) -> bool:
    frames = list(traceback.walk_tb(error.__traceback__))
    module = frames[-1][0].f_globals.get("__name__", "") if frames else ""
    return module.split(".")[0] in {"metagrad", *studies.packages()}


if __name__ == "__main__":
    sys.exit(main())
