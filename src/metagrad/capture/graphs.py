"""Traced functions by what they depend on: looked up at each call, traced when something is new."""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._pytree import TreeSpec  # pyright: ignore[reportPrivateUsage]

from metagrad.capture.survey import Survey
from metagrad.capture.trace import CaptureError, Compiler, Traced, flatten, kind
from metagrad.tree import Tree

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
    made: dict[str, dict[Hashable, Traced]] = field(default_factory=dict[str, dict[Hashable, Traced]])
    held: list[Survey] = field(default_factory=list[Survey])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, name: str, fn: Callable[..., Tree], variant: Hashable, survey: Survey, *arguments: Any) -> Tree:
        """`fn(*arguments)`, replayed.

        Args:
            name: of the function, in messages; one name for all its graphs.
            fn: pure; reads its arguments and what `survey` found.
            variant: what tells functions of one name apart.
            survey: of everything else that `fn` depends on.
            arguments: trees of tensors.

        Raises:
            CaptureError: it cannot be traced or compiled, or needs more graphs than `limit`.
            ValueError: `fn` draws random numbers, or whatever it raises itself.
        """
        flat, spec = flatten(arguments)
        key = (variant, survey.mark, str(spec), tuple(map(kind, flat)))
        known = self.made.setdefault(name, {})
        traced = known.get(key)
        if traced is None:
            with self.lock:
                traced = known.get(key) or self._trace(name, fn, flat, spec, survey)
                known[key] = traced
        return traced(flat, survey.tensors)

    def _trace(self, name: str, fn: Callable[..., Tree], flat: list[Tensor], spec: TreeSpec, survey: Survey) -> Traced:
        if len(self.made[name]) == self.limit:
            raise CaptureError(
                f"{name} was traced {self.limit} times and would have to be again: shapes, or something that the "
                "model, loss or rule read, change from call to call"
            )
        self.announce(f"compiling {name} …")
        traced = Traced(fn, flat, spec, survey.tensors, self.compiler)
        self.held.append(survey)
        self.announce(f"compiled {name} in {traced.seconds:.0f} s")
        return traced
