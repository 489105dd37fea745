"""The three derivatives of an inner loop as compiled graphs: each traced once, whatever the number of inner steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_flatten, tree_unflatten  # pyright: ignore[reportPrivateUsage]

from metagrad.capture.graphs import Graphs
from metagrad.capture.survey import Survey
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
        flat, spec = tree_flatten(arguments)

        def of_leaves(*leaves: Tensor) -> Any:
            return fn(*cast(tuple[Any, ...], tree_unflatten(list(leaves), spec)))

        piece = _Piece(of_leaves, (name, str(spec)), self.graphs, self.survey)
        outputs = cast(tuple[Tensor, ...], _Mapped.apply(piece, *flat))
        # Every graph of one piece returns one structure, noted when it was traced.
        return tree_unflatten(list(outputs), self.graphs.structures[name, str(spec)])


class _Piece(NamedTuple):
    """A function of tensors, with what tells its graphs apart."""

    fn: Callable[..., Any]
    name: tuple[object, ...]
    graphs: Graphs
    survey: Survey

    def mapped(self, in_dims: tuple[int | None, ...]) -> "_Piece":
        """The function with one more axis."""
        return self._replace(fn=vmap(self.fn, in_dims=in_dims), name=(*self.name, in_dims))

    def replay(self, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Its value, from a graph."""
        name, spec, *_ = self.name

        def flat(*leaves: Tensor) -> tuple[Tensor, ...]:
            outputs, structure = tree_flatten(self.fn(*leaves))
            self.graphs.structures[cast(tuple[str, str], (name, spec))] = structure
            return cast(tuple[Tensor, ...], tuple(outputs))

        return cast(Any, self.graphs.call(cast(str, name), flat, self.survey, self.name, leaves))


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
    def vmap(info: Any, in_dims: tuple[int | None, ...], piece: _Piece, *leaves: Tensor) -> Any:
        """Map the piece, and ask again: there may be another `vmap` around this one."""
        outputs = cast(tuple[Tensor, ...], _Mapped.apply(piece.mapped(in_dims[1:]), *leaves))
        return outputs, (0,) * len(outputs)
