"""Extreme eigenvalues of symmetric maps, such as the curvature factors E_k = α·H_k along an inner loop."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metagrad import checks, tree
from metagrad.estimators import Chain, CurvatureRange
from metagrad.tree import Tree


class Extremes(NamedTuple):
    """Smallest and largest eigenvalue of each of some matrices, and how far they may be off.

    `residual` is ‖A·y − value·y‖ of the worse of the two Ritz vectors: an eigenvalue lies within that distance.
    """

    low: Tensor
    high: Tensor
    residual: Tensor


def extremes(chain: Chain, start: Tree, iterations: int) -> Extremes:
    """Those of every link of a chain whose rule is plain SGD, all links side by side.

    E_k·u is minus what link k adds to u by curvature: (I − E_k)·u = u_s + lift(H·u_g). `start` is the first direction,
    shaped like the adapted parameters; random, the same for all links. Pure, so it can be mapped over tasks. Cost,
    accuracy and errors as of `lanczos`.
    """

    def apply(vectors: Tensor) -> Tensor:
        gradients = [chain.direct(k, {"adapted": tree.shaped(vectors[k], start)}).gradient for k in range(len(chain))]
        curved, _ = chain.curvature_everywhere(tree.stack(gradients))
        return -torch.cat([leaf.flatten(1) for leaf in tree.leaves(curved)], dim=1)

    return lanczos(apply, tree.flat(start), len(chain), iterations)


def lanczos(apply: Callable[[Tensor], Tensor], first: Tensor, count: int, iterations: int) -> Extremes:
    """Extreme eigenvalues of `count` symmetric matrices at once, by Lanczos iteration with full reorthogonalisation.

    `apply` takes [count, n] to [count, n], each row by its own matrix; `first` is the first direction of all, [n], not
    zero. As many iterations as n give every eigenvalue.

    Cost: `iterations` products a matrix, and as many vectors kept. When it is wrong: values are approached from inside
    the spectrum (`residual` says how near); a Krylov space that is exhausted counts 0 among the eigenvalues, which
    widens the range of a matrix that is not singular.

    Raises:
        ValueError: fewer than one iteration.
    """
    checks.integer("iterations", iterations, least=1)
    vectors = [(first / first.norm()).expand(count, -1)]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    scale = first.new_zeros(count)
    for _ in range(iterations):
        image = apply(vectors[-1])
        diagonal.append((image * vectors[-1]).sum(-1))
        basis = torch.stack(vectors, dim=1)  # [count, vectors so far, n]
        for _ in range(2):  # once loses orthogonality where values have converged
            image = image - torch.einsum("ki,kin->kn", torch.einsum("kin,kn->ki", basis, image), basis)
        length = image.norm(dim=-1)
        scale = torch.maximum(scale, diagonal[-1].abs() + length)
        exhausted = length <= 16 * torch.finfo(length.dtype).eps * scale
        beside.append(torch.where(exhausted, 0.0, length))
        vectors.append(torch.where(exhausted[:, None], 0.0, image / torch.where(exhausted, 1.0, length)[:, None]))
    small = torch.diag_embed(torch.stack(diagonal, dim=-1))
    if iterations > 1:
        off = torch.stack(beside[:-1], dim=-1)
        small = small + torch.diag_embed(off, offset=1) + torch.diag_embed(off, offset=-1)
    values, ritz = torch.linalg.eigh(small)
    residual = beside[-1] * torch.maximum(ritz[:, -1, 0].abs(), ritz[:, -1, -1].abs())
    return Extremes(values[:, 0], values[:, -1], residual)


def ranges(spectrum: Extremes) -> list[CurvatureRange]:
    """The range of every link, widened by the residual, for each of T tasks; `spectrum` is [T, K]."""
    low, high = (spectrum.low - spectrum.residual).tolist(), (spectrum.high + spectrum.residual).tolist()
    return [CurvatureRange(tuple(lows), tuple(highs)) for lows, highs in zip(low, high, strict=True)]


def direction(like: Tree, seed: int) -> Tree:
    """Standard normal numbers in the shapes of `like`, from a seed."""
    generator = torch.Generator().manual_seed(seed)
    return tree.map(lambda leaf: torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype).to(leaf.device), like)
