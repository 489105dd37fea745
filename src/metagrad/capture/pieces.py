"""The three derivatives of an inner loop as compiled graphs: each traced once, whatever the number of inner steps."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import TreeSpec, tree_unflatten  # pyright: ignore[reportPrivateUsage]

from metagrad.capture.graphs import Graphs
from metagrad.capture.survey import Survey
from metagrad.capture.trace import flatten
from metagrad.inner.derivatives import Derivatives, Outer
from metagrad.tasks.task import Batch
from metagrad.tree import Tree


@dataclass(frozen=True)
class CapturedDerivatives:
    """Another's derivatives, replayed; under `vmap` the mapped function is what is traced.

    Args:
        derivatives: what is traced.
        graphs: where traces are kept.
        survey: of `derivatives`, at the time of this meta-gradient.
    """

    derivatives: Derivatives
    graphs: Graphs = field(repr=False)
    survey: Survey = field(repr=False)

    def gradient(self, adapted: Tree, meta: Tree, support: Batch) -> tuple[Tree, Tensor]:
        """As the one that is traced."""
        return self._replay("the inner gradient", self.derivatives.gradient, adapted, meta, support)

    def product(self, adapted: Tree, meta: Tree, support: Batch, direction: Tree) -> tuple[Tree, Tree]:
        """As the one that is traced."""
        return self._replay("the curvature product", self.derivatives.product, adapted, meta, support, direction)

    def outer(self, adapted: Tree, meta: Tree, query: Batch) -> Outer:
        """As the one that is traced."""
        return self._replay("the outer gradient", self.derivatives.outer, adapted, meta, query)

    def _replay(self, name: str, fn: Callable[..., Any], *arguments: Any) -> Any:
        leaves, spec = flatten(arguments)

        def of_leaves(*leaves: Tensor) -> Any:
            return fn(*cast(tuple[Any, ...], tree_unflatten(list(leaves), spec)))

        piece = _Piece(name, of_leaves, (str(spec),), self.graphs, self.survey, [])
        outputs = cast(tuple[Tensor, ...], _Mapped.apply(piece, *leaves))
        return tree_unflatten(list(outputs), piece.structure[-1])


@dataclass(frozen=True)
class _Piece:
    """A function of tensors, and what tells its graphs apart; `structure` receives that of its result."""

    name: str
    fn: Callable[..., Any]
    variant: tuple[object, ...]
    graphs: Graphs
    survey: Survey
    structure: list[TreeSpec]

    def mapped(self, in_dims: tuple[int | None, ...]) -> "_Piece":
        """The function with one more axis."""
        return replace(self, fn=vmap(self.fn, in_dims=in_dims), variant=(*self.variant, in_dims))

    def replay(self, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Its value, from a graph."""
        result = self.graphs.call(self.name, self.fn, self.variant, self.survey, *leaves)
        outputs, structure = flatten(result)
        self.structure.append(structure)
        return tuple(outputs)


class _Mapped(torch.autograd.Function):
    """Calls a piece, and tells `vmap`, which cannot look into a compiled graph, what the mapped piece is."""

    @staticmethod
    def forward(piece: _Piece, *leaves: Tensor) -> tuple[Tensor, ...]:
        """Replay."""
        return piece.replay(leaves)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: pieces are values, never differentiated."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> Any:
        """Map the piece, and ask again: there may be another `vmap` around this one."""
        piece, *leaves = cast(tuple[_Piece, *tuple[Tensor, ...]], inputs)
        outputs = cast(tuple[Tensor, ...], _Mapped.apply(piece.mapped(in_dims[1:]), *leaves))
        return outputs, (0,) * len(outputs)
