"""One task after its inner loop, whose curvature products are taken once, however many estimators ask for them."""

import hashlib
from collections.abc import Sequence

import torch

from metagrad import tree
from metagrad.estimators.base import Chain, Episode, Pulled
from metagrad.tree import Tree

_Known = Sequence[dict[bytes, tuple[Tree, Tree]]]


class RememberedChain:
    """A chain that looks up what it was asked before: a direction at a link, equal to the bit.

    Orders of one expansion ask for the same products again: of all orders of the plain one K(K + 1)/2 are different, of
    K(K + 1)(K + 2)/6. Those of a round are taken one by one. Not under `vmap`, where directions have no values.

    Memory: every product for as long as the chain lives.
    """

    def __init__(self, chain: Chain, known: _Known | None = None) -> None:
        self._chain = chain
        self._known: _Known = [{} for _ in range(len(chain))] if known is None else known

    def __len__(self) -> int:
        return len(self._chain)

    def window(self, start: int, stop: int) -> "RememberedChain":
        """The links `start` to `stop - 1`, with what is known of them."""
        return RememberedChain(self._chain.window(start, stop), self._known[start:stop])

    def beyond(self) -> Chain:
        """The step that would come next, as it is."""
        return self._chain.beyond()

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        """As it is; no product."""
        return self._chain.direct(k, cotangent)

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """One product at link k, or what it was."""
        known, asked = self._known[k], _digest(direction)
        if asked not in known:
            known[asked] = self._chain.curvature(k, direction)
        return known[asked]

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """One product per link; the last first, as trajectories that are recomputed want it."""
        found = [self.curvature(k, tree.pick(directions, k)) for k in reversed(range(len(self)))][::-1]
        return tree.stack([curved for curved, _ in found]), tree.stack([mixed for _, mixed in found])


class Remembered:
    """An episode with such a chain."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode
        self.chain = RememberedChain(episode.chain)

    def outer(self) -> tuple[Tree, Tree]:
        """As it is."""
        return self._episode.outer()

    def from_start(self, cotangent: Tree) -> Tree:
        """As it is."""
        return self._episode.from_start(cotangent)

    def displacement(self) -> Tree:
        """As it is."""
        return self._episode.displacement()

    def nudged(self, nudge: float) -> Tree:
        """As it is."""
        return self._episode.nudged(nudge)


def _digest(direction: Tree) -> bytes:
    """Of names and values: a direction that does not mention a name is another one."""
    found = hashlib.blake2b(digest_size=16)
    for name, leaf in tree.items(direction):
        found.update(f"{name} {tuple(leaf.shape)} {leaf.dtype}\n".encode())
        found.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.digest()
