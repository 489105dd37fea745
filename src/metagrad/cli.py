"""The command line: `metagrad train | evaluate | compare | reproduce | report | list`, and what becomes of errors."""

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Generator, Sequence
from importlib import import_module

from metagrad import __version__, front, studies
from metagrad.experiments.options import CommandError, normal, unknown
from metagrad.foreign import plain, printable
from metagrad.spelling import spell_out
from metagrad.terminal import INTERRUPTED
from metagrad.training.interrupt import terminated_as_interrupted

USER_ERROR = 2

COMMANDS = {
    "train": "metagrad.commands:run_train",
    "evaluate": "metagrad.commands:run_evaluate",
    "compare": "metagrad.commands:run_compare",
    "reproduce": "metagrad.reproducing:run_reproduce",
    "report": "metagrad.reporting_command:run_report",
    "list": "metagrad.listing:run_list",
}
"""What carries out each command; imported once it is clear that it will be."""

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
    except (MemoryError, RuntimeError) as error:  # torch's OutOfMemoryError is one; torch may not be imported yet
        # The CPU allocator has no error class of its own.
        known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not known and "DefaultCPUAllocator" not in str(error):
            raise
        return _complain(
            _name(given), "the device ran out of memory; lower --machine.task-chunk, --meta-batch or the model's size"
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
    if given and given[0] in COMMANDS:
        arguments = normal(given[1:])
        front.check(given[0], arguments)
        module, _, function = COMMANDS[given[0]].partition(":")
        return getattr(import_module(module), function)(arguments)
    if given and not given[0].startswith("-"):
        raise unknown("command", given[0], COMMANDS)
    options = front.program(list(COMMANDS), __version__).parse(given)
    raise unknown("command", options.command, COMMANDS)


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
    logs, printed = [logging.getLogger(f"metagrad.{part}") for part in ("data", "experiments")], _Printed()
    before = [log.level for log in logs]
    for log in logs:
        log.addHandler(printed)
        log.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _Warned()
            yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.removeHandler(printed)
            log.setLevel(level)


class _Warned:
    """Prints each warning once, as a sentence; Python's own "once" ends where somebody catches warnings in between."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, message: Warning | str, *_: object, **__: object) -> None:
        text = printable(str(message), _LONGEST)
        if text not in self._said:
            self._said.add(text)
            print(f"metagrad: warning: {text}", file=sys.stderr)


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
