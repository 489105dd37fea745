"""`python -m benchmarks COMMAND`: arguments, and what becomes of errors."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.contenders import BY_NAME, USUAL
from benchmarks.estimators import estimators
from benchmarks.memory import memory
from benchmarks.precision import precision
from benchmarks.problems import KINDS, problem
from benchmarks.scaling import scaling
from benchmarks.speed import REPEATS, speed
from benchmarks.workers import BenchmarkError, Machine

USER_ERROR, INTERRUPTED = 2, 130


class Parser(argparse.ArgumentParser):
    """Complains in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        sys.exit(_complain(self.prog, message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for what the user has to know, 130 after Ctrl-C."""
    parser = Parser("python -m benchmarks", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (declare, _) in COMMANDS.items():
        words = HELP[name]
        command = commands.add_parser(name, help=words, description=words, allow_abbrev=False)
        declare(command)
        _common(command)
    given = parser.parse_args(arguments)
    try:
        COMMANDS[given.command][1](given)
    except BenchmarkError as error:
        return _complain(f"{parser.prog} {given.command}", str(error))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _complain(f"{parser.prog} {given.command}", f"{error.strerror or error}{where}")
    except KeyboardInterrupt:
        print(f"{parser.prog} {given.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _speed(given: argparse.Namespace) -> None:
    speed(
        [problem(name, steps=given.steps, tasks=given.tasks, seed=given.seed) for name in given.problem],
        [BY_NAME[name] for name in given.contenders or USUAL],
        _machine(given),
        must=given.contenders or (),
        repeats=given.repeats,
        options=_options(given),
        out=given.out,
        say=_say,
    )


def _memory(given: argparse.Namespace) -> None:
    base = problem(given.problem, tasks=given.tasks, seed=given.seed)
    memory(base, sorted(set(given.steps)), _machine(given), out=given.out, say=_say)


def _estimators(given: argparse.Namespace) -> None:
    base = problem("sinusoid", steps=given.steps, tasks=given.tasks, seed=given.seed)
    estimators(base, _machine(given), capture=given.capture, repeats=given.repeats, out=given.out, say=_say)


def _scaling(given: argparse.Namespace) -> None:
    scaling(
        problem(given.problem, seed=given.seed),
        sorted(set(given.steps)),
        sorted(set(given.tasks)),
        [BY_NAME[name] for name in given.contenders or USUAL],
        _machine(given),
        must=given.contenders or (),
        repeats=given.repeats,
        options=_options(given),
        out=given.out,
        say=_say,
    )


def _declare_speed(command: Parser) -> None:
    command.add_argument("--problem", nargs="+", choices=list(KINDS), default=["sinusoid"], help="default: sinusoid")
    command.add_argument("--steps", type=_count, default=5, help="inner steps K (default 5)")
    command.add_argument("--tasks", type=_count, help="tasks of the meta-batch (default: as the problem has them)")
    counts = ", ".join(f"{name} {count}" for name, count in REPEATS.items())
    command.add_argument("--repeats", type=_count, help=f"timed rounds (default: {counts})")
    _contenders(command)


def _declare_memory(command: Parser) -> None:
    command.add_argument("--problem", choices=list(KINDS), default="sinusoid")
    command.add_argument(
        "--steps", type=_count, nargs="+", default=[1, 2, 5, 10, 20, 50], help="inner steps (default 1 2 5 10 20 50)"
    )
    command.add_argument("--tasks", type=_count, help="tasks of the meta-batch (default: as the problem has them)")


def _declare_estimators(command: Parser) -> None:
    command.add_argument("--steps", type=_count, default=5, help="inner steps K (default 5)")
    command.add_argument("--tasks", type=_count, help="tasks of the meta-batch (default 25)")
    command.add_argument("--capture", choices=["off", "auto", "pieces", "whole"], default="off")
    command.add_argument("--repeats", type=_count, default=50, help="timed rounds (default 50)")


def _precision(given: argparse.Namespace) -> None:
    problems = [problem(name, steps=given.steps, seed=given.seed) for name in given.problem]
    precision(problems, _machine(given), out=given.out, say=_say)


def _declare_precision(command: Parser) -> None:
    command.add_argument("--problem", nargs="+", choices=list(KINDS), default=["sinusoid", "conv28"])
    command.add_argument("--steps", type=_count, default=5, help="inner steps K (default 5)")


def _declare_scaling(command: Parser) -> None:
    command.add_argument("--problem", choices=list(KINDS), default="sinusoid")
    command.add_argument(
        "--steps", type=_count, nargs="+", default=[1, 2, 5, 10, 20], help="inner steps (default 1 2 5 10 20)"
    )
    command.add_argument(
        "--tasks", type=_count, nargs="+", default=[1, 5, 25, 100], help="sizes of the meta-batch (default 1 5 25 100)"
    )
    command.add_argument("--repeats", type=_count, default=20, help="timed rounds at each point (default 20)")
    _contenders(command)


def _contenders(command: Parser) -> None:
    words = f"default: {' '.join(USUAL)}, less what is not installed"
    command.add_argument("--contenders", nargs="+", choices=list(BY_NAME), help=words)
    command.add_argument("--task-chunk", type=_count, help="metagrad: tasks side by side (default: its own)")
    command.add_argument("--streams", type=_count, help="metagrad: threads that take tasks at once (default: its own)")


def _common(command: Parser) -> None:
    command.add_argument("--threads", type=_count, help="threads of each contender (default: all cores)")
    command.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    command.add_argument("--seed", type=_number, default=0, help="of data and initial weights")
    command.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="default: benchmarks/results")


def _options(given: argparse.Namespace) -> dict[str, int]:
    named = {"task_chunk": given.task_chunk, "streams": given.streams}
    return {name: value for name, value in named.items() if value is not None}


def _machine(given: argparse.Namespace) -> Machine:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(given.device, given.threads or available)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _complain(command: str, message: str) -> int:
    print(f"{command}: error: {' '.join(message.split())}", file=sys.stderr)
    return USER_ERROR


COMMANDS: dict[str, tuple[Callable[[Parser], None], Callable[[argparse.Namespace], None]]] = {
    "speed": (_declare_speed, _speed),
    "memory": (_declare_memory, _memory),
    "estimators": (_declare_estimators, _estimators),
    "scaling": (_declare_scaling, _scaling),
    "precision": (_declare_precision, _precision),
}
HELP = {
    "speed": "time one mean meta-gradient of every contender, in turns, after all agree",
    "memory": "what one mean meta-gradient holds at its peak, against the number of inner steps",
    "estimators": "error against time of metagrad's estimators on the sinusoid",
    "scaling": "time against inner steps and throughput against the meta-batch",
    "precision": "error of meta-gradients in float32, TF32 and bfloat16 against float64",
}
