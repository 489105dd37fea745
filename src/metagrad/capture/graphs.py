"""Traced functions by what they depend on: looked up at each call, traced when something is new."""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from metagrad.capture.survey import Survey
from metagrad.capture.trace import Compiler, Structure, Traced, kind
from metagrad.capture.values import CaptureError

Announce = Callable[[str], None]


@dataclass
class Graphs:
    """The traced functions of one learner.

    Args:
        compiler: makes a function from a traced graph.
        announce: told, in a sentence, when something is about to be compiled and when it is done.
        limit: how many graphs one function may need. Each costs seconds to make; where shapes or settings change at
            every call, replaying cannot pay.
    """

    compiler: Compiler
    announce: Announce
    limit: int
    made: dict[Hashable, dict[Hashable, Traced]] = field(default_factory=dict[Hashable, dict[Hashable, Traced]])
    held: list[Survey] = field(default_factory=list[Survey])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def under(self, survey: Survey) -> "Known":
        """Those that may be replayed while the survey's mark holds."""
        return Known(self, survey, self.made.setdefault(survey.mark, {}))


@dataclass(frozen=True)
class Known:
    """Traced functions under one mark; found by name, variant and kinds of inputs."""

    graphs: Graphs
    survey: Survey
    made: dict[Hashable, Traced]

    def call(
        self, name: str, fn: Callable[..., Any], variant: Hashable, flat: list[Tensor], structure: Structure
    ) -> tuple[list[Tensor], Structure]:
        """Leaves and structure of `fn` at some leaves put together as `structure`, replayed.

        Args:
            name: of the function, in messages; one name for all its graphs.
            fn: pure; reads its arguments and what was surveyed.
            variant: what tells functions of one name apart.
            flat: the leaves of its arguments.
            structure: how they are put together.

        Raises:
            CaptureError: it cannot be traced or compiled, or needs more graphs than the limit.
            ValueError: `fn` draws random numbers, or whatever it raises itself.
        """
        key = (name, variant, structure, tuple(map(kind, flat)))
        traced = self.made.get(key)
        if traced is None:
            with self.graphs.lock:
                traced = self.made.get(key) or self._trace(name, fn, flat, structure)
                self.made[key] = traced
        return traced(flat, self.survey.tensors), traced.structure

    def _trace(self, name: str, fn: Callable[..., Any], flat: list[Tensor], structure: Structure) -> Traced:
        graphs = self.graphs
        of_this_name = [key for known in graphs.made.values() for key in known if isinstance(key, tuple)]
        if sum(key[0] == name for key in of_this_name) >= graphs.limit:
            raise CaptureError(
                f"{name} was traced {graphs.limit} times and would have to be again: shapes, or something that the "
                "model, loss or rule read, change from call to call"
            )
        graphs.announce(f"compiling {name} …")
        traced = Traced(fn, flat, structure, self.survey.tensors, graphs.compiler)
        graphs.held.append(self.survey)
        graphs.announce(f"compiled {name} in {traced.seconds:.0f} s")
        return traced
