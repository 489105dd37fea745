"""A chain of explicit random matrices: estimators are tested on it against dense products.

The state has two branches, like that of momentum: "adapted" (D numbers) and "memory" (E numbers). Link k maps a
cotangent u (D + E numbers) by dense matrices: to the state S u, to the gradient G u (D numbers), to the
meta-parameters R u (Q numbers); the curvature of a direction d is H d on "adapted", and its mixed term is M d.
"""

import itertools

import torch
from torch import Tensor

from metagrad.estimators import Pulled
from metagrad.tree import Tree

D, E, Q = 4, 2, 3


class MatrixLink:
    def __init__(self, generator: torch.Generator, step_size: float):
        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.S = torch.eye(D + E, dtype=torch.float64) + 0.1 * random(D + E, D + E)
        self.G = -step_size * (torch.eye(D, D + E, dtype=torch.float64) + 0.3 * random(D, D + E))
        self.R = random(Q, D + E)
        root = random(D, D)
        self.H = root @ root.T / D + torch.eye(D, dtype=torch.float64)
        self.M = random(Q, D)

    def direct_matrix(self) -> Tensor:
        return self.S

    def curvature_matrix(self) -> Tensor:
        lift = torch.eye(D + E, D, dtype=torch.float64)
        return lift @ self.H @ self.G


class MatrixChain:
    """Counts its curvature products and the rounds in which they were asked for."""

    def __init__(self, links: list[MatrixLink], last: MatrixLink | None = None, counter: dict | None = None):
        self.links, self.last = links, last
        self.counter = {"products": 0, "rounds": 0} if counter is None else counter

    @classmethod
    def random(cls, length: int, step_size: float = 0.3, seed: int = 0) -> "MatrixChain":
        generator = torch.Generator().manual_seed(seed)
        links = [MatrixLink(generator, step_size) for _ in range(length + 1)]
        return cls(links[:length], links[length])

    def __len__(self):
        return len(self.links)

    def window(self, start: int, stop: int) -> "MatrixChain":
        return MatrixChain(self.links[start:stop], self.last, self.counter)

    def beyond(self) -> "MatrixChain":
        return MatrixChain([self.last], None, self.counter)

    def direct(self, k: int, cotangent: Tree) -> Pulled:
        link, u = self.links[k], flatten(cotangent)
        return Pulled(unflatten(link.S @ u), link.G @ u, {"rule": link.R @ u})

    def curvature(self, k: int, direction: Tensor) -> tuple[Tree, Tree]:
        self.counter["products"] += 1
        self.counter["rounds"] += 1
        link = self.links[k]
        return {"adapted": link.H @ direction}, {"rule": link.M @ direction}

    def curvature_everywhere(self, directions: Tensor) -> tuple[Tree, Tree]:
        assert len(directions) == len(self)
        self.counter["products"] += len(self)
        self.counter["rounds"] += 1
        curved = torch.stack([link.H @ d for link, d in zip(self.links, directions, strict=True)])
        mixed = torch.stack([link.M @ d for link, d in zip(self.links, directions, strict=True)])
        return {"adapted": curved}, {"rule": mixed}


class MatrixEpisode:
    """A chain and an outer gradient, for estimators that ask for an episode; nothing else may be asked for."""

    def __init__(self, chain: MatrixChain, cotangent: Tree):
        self.chain, self.cotangent = chain, cotangent

    def outer(self) -> tuple[Tree, Tree]:
        return self.cotangent, {}


def flatten(state: Tree) -> Tensor:
    adapted = state["adapted"]
    return torch.cat([adapted, state.get("memory", torch.zeros(E, dtype=adapted.dtype))])


def unflatten(vector: Tensor) -> Tree:
    return {"adapted": vector[:D], "memory": vector[D:]}


def cotangent(seed: int = 7) -> Tree:
    generator = torch.Generator().manual_seed(seed)
    return {"adapted": torch.randn(D, generator=generator, dtype=torch.float64)}


def brute_force(
    chain: MatrixChain, u: Tree, order: int, scale: float = 1.0, center: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Sum over all subsets of at most `order` links, written down as the definition says: (start, meta)."""
    parts = []
    for link in chain.links:
        direct, curved = link.direct_matrix(), link.curvature_matrix()
        parts.append(
            {
                "kept": (1 - center) * direct,
                "expanded": scale * curved + center * direct,
                "kept_meta": (1 - center) * link.R,
                "expanded_meta": scale * link.M @ link.G + center * link.R,
            }
        )

    def subsets_sum(first: int, meta: bool) -> Tensor:
        """Links first … K−1, the map of link `first` being the one onto the meta-parameters if `meta`."""
        total = torch.zeros(Q if meta else D + E, dtype=torch.float64)
        for chosen in itertools.product([False, True], repeat=len(parts) - first):
            if sum(chosen) > order:
                continue
            vector = flatten(u)
            for k in reversed(range(first, len(parts))):
                name = "expanded" if chosen[k - first] else "kept"
                vector = parts[k][f"{name}_meta" if meta and k == first else name] @ vector
            total = total + vector
        return total

    meta = torch.zeros(Q, dtype=torch.float64)
    for k in range(len(parts)):
        meta = meta + subsets_sum(k, meta=True)
    return subsets_sum(0, meta=False), meta
