"""The three derivatives of an inner loop as compiled graphs: each traced once, whatever the number of inner steps."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch._C import _functorch as functorch  # pyright: ignore
from torch.func import vmap

from metagrad import tree
from metagrad.capture.graphs import Known
from metagrad.capture.trace import Structure, flatten, unflatten
from metagrad.inner.derivatives import Derivatives, Outer
from metagrad.structure import Data
from metagrad.tree import Tree


@dataclass(frozen=True)
class CapturedDerivatives:
    """Another's derivatives, replayed; under `vmap` the mapped function is what is traced.

    Args:
        derivatives: what is traced.
        known: traces that may be replayed, by a survey of `derivatives` at the time of this meta-gradient.
    """

    derivatives: Derivatives
    known: Known = field(repr=False)

    def gradient(self, adapted: Tree, meta: Tree, support: Data) -> tuple[Tree, Tensor]:
        """As the one that is traced."""

        def gradient(adapted: Tree, meta: Tree, support: Data) -> tuple[Tree, Tensor]:
            slope, loss = self.derivatives.gradient(adapted, meta, support)
            return _lying_as(slope, adapted), loss

        return self._replay("the inner gradient", gradient, adapted, meta, support)

    def product(self, adapted: Tree, meta: Tree, support: Data, direction: Tree) -> tuple[Tree, Tree]:
        """As the one that is traced."""

        def product(adapted: Tree, meta: Tree, support: Data, direction: Tree) -> tuple[Tree, Tree]:
            curved, mixed = self.derivatives.product(adapted, meta, support, direction)
            return _lying_as(curved, adapted), mixed

        return self._replay("the curvature product", product, adapted, meta, support, direction)

    def outer(self, adapted: Tree, meta: Tree, query: Data) -> Outer:
        """As the one that is traced."""

        def outer(adapted: Tree, meta: Tree, query: Data) -> Outer:
            found = self.derivatives.outer(adapted, meta, query)
            return found._replace(adapted=_lying_as(found.adapted, adapted))

        return self._replay("the outer gradient", outer, adapted, meta, query)

    def descend(self, objective: Callable[[Tree], Tensor], at: Tree) -> tuple[Tree, Tensor]:
        """As written: an objective that is made for one call is not worth a trace."""
        return self.derivatives.descend(objective, at)

    def _replay(self, name: str, fn: Callable[..., Any], *arguments: Any) -> Any:
        leaves, structure = flatten(arguments)
        if not _mapped(leaves):
            return unflatten(*self.known.call(name, fn, None, leaves, structure))

        def of_leaves(*leaves: Tensor) -> Any:
            return fn(*unflatten(leaves, structure))

        piece = _Piece(name, of_leaves, (structure,), self.known, [])
        outputs = cast(tuple[Tensor, ...], _Mapped.apply(piece, *leaves))
        return unflatten(outputs, piece.structure[-1])


def _lying_as(result: Tree, adapted: Tree) -> Tree:
    """With the strides of what it is a cotangent of: it becomes an input of another piece, which knows one layout."""
    return tree.map(_in_format_of, result, adapted)


def _in_format_of(leaf: Tensor, parameter: Tensor) -> Tensor:
    if functorch.is_batchedtensor(leaf) or functorch.is_batchedtensor(parameter):
        return leaf
    # Not `contiguous`, which leaves the strides of axes of length one as they are; they too tell graphs apart.
    return leaf.new_empty_strided(leaf.shape, parameter.stride()).copy_(leaf)


def _mapped(leaves: list[Tensor]) -> bool:
    """Whether some `vmap` maps these; outside of it a piece is called without ceremony, which takes its time."""
    return any(functorch.is_batchedtensor(leaf) for leaf in leaves)


@dataclass(frozen=True)
class _Piece:
    """A function of tensors, and what tells its graphs apart; `structure` receives that of its result."""

    name: str
    fn: Callable[..., Any]
    variant: tuple[Hashable, ...]
    known: Known
    structure: list[Structure]

    def mapped(self, in_dims: tuple[int | None, ...]) -> "_Piece":
        """The function with one more axis."""
        return replace(self, fn=vmap(self.fn, in_dims=in_dims), variant=(*self.variant, in_dims))

    def replay(self, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Its value, from a graph."""
        flat, each = flatten(leaves)
        outputs, structure = self.known.call(self.name, self.fn, self.variant, flat, each)
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
