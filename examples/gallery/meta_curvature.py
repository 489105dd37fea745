"""Meta-Curvature: the inner gradient of a matrix is multiplied by learned matrices from both sides.

Park and Oliva 2019, arXiv:1902.03356.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from problem import network

import metagrad


@dataclass(frozen=True)
class Curved(metagrad.UpdateRule):
    """φ⁺ = φ − α·L G R for a matrix, φ − α·s∘g for a vector; L, R and s are learned, from the identity."""

    lr: float = 0.4

    def initial_meta(self, adapted, num_steps):
        matrices = {name: p for name, p in adapted.items() if p.ndim == 2}
        left = {name: torch.eye(len(p)).to(p) for name, p in matrices.items()}
        right = {name: torch.eye(p.shape[1]).to(p) for name, p in matrices.items()}
        return {
            "left": left,
            "right": right,
            "scale": {n: torch.ones_like(p) for n, p in adapted.items() if p.ndim < 2},
        }

    def step(self, state, gradient, meta, k):
        move = {name: factor * gradient[name] for name, factor in meta["scale"].items()}
        move |= {name: left @ gradient[name] @ meta["right"][name] for name, left in meta["left"].items()}
        return {"adapted": {name: p - self.lr * move[name] for name, p in state["adapted"].items()}}


def make(estimator):
    return metagrad.MetaLearner(network(), F.cross_entropy, Curved(), num_steps=5, estimator=estimator)


def backward(learner, tasks):
    learner.backward(tasks)
