"""One task after its inner loop, whose curvature products are taken once, however many estimators ask for them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from metagrad import tree
from metagrad.estimators import Chain, Episode, Pulled
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
        return RememberedChain(self._chain.window(start, stop), self._known[start:stop])

    def beyond(self) -> Chain:
        return self._chain.beyond()

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        return self._chain.direct(k, cotangent)

    def curvature(self, k: int, direction: Tree) -> tuple[Tree, Tree]:
        """One product at link k, or what it was."""
        known, key = self._known[k], _digest(direction)
        if key not in known:
            known[key] = self._chain.curvature(k, direction)
        return known[key]

    def curvature_everywhere(self, directions: Tree) -> tuple[Tree, Tree]:
        """One product per link; the last first, as trajectories that are recomputed want it."""
        products = [self.curvature(k, tree.pick(directions, k)) for k in reversed(range(len(self)))][::-1]
        return tree.stack([curved for curved, _ in products]), tree.stack([mixed for _, mixed in products])


class Remembered:
    """An episode with such a chain; everything else is the episode's."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode
        self.chain = RememberedChain(episode.chain)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._episode, name)


def _digest(direction: Tree) -> bytes:
    """Of names and values: a direction that does not mention a name is another one."""
    digest = hashlib.blake2b(digest_size=16)
    for name, leaf in tree.items(direction):
        digest.update(f"{name} {tuple(leaf.shape)} {leaf.dtype}\n".encode())
        digest.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()
