"""What `frontier` compares on one task: the estimators as they are, and ideas beyond one center.

Errors are of the cotangent on the first state, which for the whole model and plain SGD is the meta-gradient.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.frontier_chains import Log, LowRank, Moved, Watched, completed, krylov, mean
from benchmarks.frontier_plans import carried_out, first_again
from benchmarks.frontier_terms import (
    Terms,
    center_by_norms,
    centers_between,
    chebyshev_weights,
    fitted,
    order_weights,
    per_link_centers,
)
from metagrad import Binomial, Exact, FirstOrder, Parallel, Split, Truncated, tree
from metagrad.estimators.base import Chain, Cost, Pullback
from metagrad.tree import Tree
from metagrad_studies.spectra import extremes, flat

AUTO = "Binomial, center auto"
ONE = Binomial(order=1, center="auto")
FEW_STEPS = 6
"""Up to as many, all layouts of groups and all 2^K terms are looked at."""

KRYLOV = (1, 2, 4)
"""Lanczos steps of the deflating variants."""

CENTERS = (0.0, 0.3, 1.0)
"""Where fits of centers begin, on every link alike."""

ITERATIONS = 40
"""Of L-BFGS in a fit, and of Lanczos iteration for the interval of Chebyshev weights."""


@dataclass(frozen=True)
class Found:
    """One estimate of one task: relative error, products and rounds."""

    family: str
    label: str
    error: float
    products: int
    rounds: int


@dataclass(frozen=True)
class Case:
    """One task, and what there is from before.

    Attributes:
        chain: its inner loop.
        cotangent: its outer gradient.
        others: a model for each link from the products of the previous meta-step, on its own tasks and weights.
        same: the same from products of this very task at those weights, which training never has.
        probes: terms of some of those other tasks, at the present weights.
    """

    chain: Chain
    cotangent: Tree
    others: Mapping[int, LowRank]
    same: Mapping[int, LowRank]
    probes: Sequence[Terms]


def shipped(steps: int) -> Iterator[tuple[str, str, Pullback]]:
    """Family, label and estimator of what metagrad has."""
    yield "FirstOrder", "", FirstOrder()
    for order in range(1, steps):
        yield "Truncated", f"window {order}", Truncated(order)
        yield "Binomial", f"L = {order}", Binomial(order)
        yield "Binomial, scale paper", f"L = {order}", Binomial(order, scale="paper")
        yield AUTO, f"L = {order}", Binomial(order, center="auto")
        yield "Parallel", f"L = {order}", Parallel(order)
        yield "Split, exact late", f"window {order}", Split(order, late=Exact(), early=ONE)
        yield "Split, exact early", f"window {order}", Split(order, late=ONE, early=Exact())


def grouped(steps: int) -> Iterator[tuple[str, Pullback]]:
    """The loop in consecutive groups, each expanded by itself at an order up to its size: label and estimator.

    Every way to do so if there are few steps; else one round each, in sizes that only grow or only shrink.
    """
    if steps <= FEW_STEPS:
        layouts = list(_layouts(steps))
    else:
        ways = {way for sizes in _partitions(steps, steps) for way in (sizes, sizes[::-1])}
        layouts = [tuple((size, 1) for size in way) for way in sorted(ways)]
    for layout in layouts:
        (_, order), *earlier = reversed(layout)
        estimator: Pullback = Binomial(order, center="auto")
        for size, order in earlier:
            estimator = Split(size, late=Binomial(order, center="auto"), early=estimator)
        yield " + ".join(f"{size}" if order == 1 else f"{size} (L = {order})" for size, order in layout), estimator


def _layouts(steps: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """(Size, order) of each group, the last links first; order = size is exact, and so is a group of one for each."""
    if steps == 0:
        yield ()
    for size in range(1, steps + 1):
        for order in range(1, max(size, 2)):
            for rest in _layouts(steps - size):
                yield ((size, order), *rest)


def _partitions(steps: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Sizes that add up to `steps`, none above the one before."""
    if steps == 0:
        yield ()
    for size in range(1, min(steps, largest) + 1):
        for rest in _partitions(steps - size, size):
            yield (size, *rest)


def compared(case: Case) -> list[Found]:
    """Every estimate of one task."""
    exact = flat(Exact().pull(case.chain, case.cotangent).start)
    size = exact.norm()

    def found(family: str, label: str, estimate: Tensor, cost: Cost) -> Found:
        return Found(family, label, ((estimate - exact).norm() / size).item(), cost.products, cost.rounds)

    results = [found(f, label, *_pulled(e, case.chain, case.cotangent)) for f, label, e in shipped(len(case.chain))]
    results += [
        found("groups", label, *_pulled(e, case.chain, case.cotangent)) for label, e in grouped(len(case.chain))
    ]
    results += [found(*entry) for entry in _deflated(case)]
    results += [found(*entry) for entry in _planned(case)]
    for whose, models in (("other tasks", case.others), ("the same task", case.same)):
        moved = Moved(case.chain, models)
        for order in range(1, len(case.chain)):
            for ending, estimator in (("", Binomial(order)), (", auto", Binomial(order, center="auto"))):
                estimate, cost = _pulled(estimator, moved, case.cotangent)
                results.append(found(f"kept from {whose}{ending}", f"L = {order}", estimate, cost))
        for label, estimator in grouped(len(case.chain)):
            results.append(found(f"kept from {whose}, groups", label, *_pulled(estimator, moved, case.cotangent)))
    return [*results, *_fixed(case)] if len(case.chain) <= FEW_STEPS else results


def kept_models(chains: Sequence[tuple[Chain, Tree]], order: int) -> dict[int, LowRank]:
    """A model for each link, the mean over some chains of what `Binomial(order, center="auto")` asks there.

    Args:
        chains: each with its outer gradient.
        order: of the expansion.
    """
    found: dict[int, list[LowRank]] = {}
    for chain, cotangent in chains:
        log = Log()
        Binomial(order, center="auto").pull(Watched(chain, log), cotangent)
        for k, pairs in log.pairs.items():
            found.setdefault(k, []).append(completed(*(torch.stack(side) for side in zip(*pairs, strict=True))))
    return {k: mean(models) for k, models in found.items()}


def _pulled(estimator: Pullback, chain: Chain, cotangent: Tree) -> tuple[Tensor, Cost]:
    log = Log()
    estimate = flat(estimator.pull(Watched(chain, log), cotangent).start)
    return estimate, Cost(log.products, log.rounds)


def _deflated(case: Case) -> Iterator[tuple[str, str, Tensor, Cost]]:
    """Outlying directions of curvature, by Lanczos iteration from the outer gradient, moved out of the expansion.

    The first link's model is needed when everything else is done, so its iteration can run beside the other rounds;
    those of all links come before.
    """
    chain, steps = case.chain, len(case.chain)
    start = chain.direct(steps - 1, case.cotangent).gradient
    for count in KRYLOV:
        pairs = [krylov(chain, k, start, count) for k in range(steps)]
        models = {k: completed(*pair) for k, pair in enumerate(pairs)}
        for order in range(1, steps):
            for ending, estimator in (("", Binomial(order)), (", auto", Binomial(order, center="auto"))):
                label = f"{count} steps, L = {order}"
                estimate, cost = _pulled(estimator, Moved(chain, {0: models[0]}), case.cotangent)
                beside = Cost(cost.products + count, max(cost.rounds, count))
                yield f"first link deflated{ending}", label, estimate, beside
                estimate, cost = _pulled(estimator, Moved(chain, models), case.cotangent)
                yield f"all links deflated{ending}", label, estimate, cost.plus(Cost(count * steps, count))


def _planned(case: Case) -> Iterator[tuple[str, str, Tensor, Cost]]:
    """Between `Binomial` with a learned center and `Parallel`: the first link alone is asked in every round."""
    steps = len(case.chain)
    for order in range(1, steps):
        log = Log()
        estimate = carried_out(Watched(case.chain, log), case.cotangent, first_again(steps, order))
        yield "the first link in every round, auto", f"L = {order}", estimate, Cost(log.products, order)


def _fixed(case: Case) -> Iterator[Found]:
    """Fixed combinations of the terms: centers of each link and weights of the orders, fitted and in hindsight."""
    own, steps = Terms.of(case.chain, case.cotangent), len(case.chain)
    first = tree.map(torch.ones_like, case.cotangent)
    assert isinstance(first, dict)
    highest = extremes(case.chain, first["adapted"], ITERATIONS).high.to(own.gram)
    largest = highest.max().item()
    measured = centers_between(highest[0], highest[-1], steps)

    def found(family: str, order: int, coefficients: Tensor, products: int) -> Found:
        error = own.squared_error(coefficients).clamp_min(0.0).sqrt().item()
        return Found(family, f"L = {order}", error, products, order)

    for order in range(1, steps):
        band, all_orders = order * (steps - order + 1), order * steps - order * (order - 1) // 2
        centers, weights = per_link_centers(steps, order), order_weights(steps, order)
        center_starts = [torch.full((steps,), s, dtype=own.gram.dtype) for s in CENTERS]
        weight_starts = [torch.ones(order + 1, dtype=own.gram.dtype)]
        families: tuple[tuple[str, Callable[[Tensor], Tensor], list[Tensor], int], ...] = (
            ("center of each link", centers, center_starts, band),
            ("weights of the orders", weights, weight_starts, all_orders),
        )
        for family, coefficients, starts, products in families:
            hindsight = fitted([own], coefficients, starts, ITERATIONS)
            yield found(f"{family}, in hindsight", order, coefficients(hindsight), products)
            learned = fitted(case.probes, coefficients, starts, ITERATIONS)
            yield found(f"{family}, fitted on others", order, coefficients(learned), products)
        by_norms = center_by_norms(own, order).expand(steps)
        yield found("one center, by the last orders' norms", order, centers(by_norms), all_orders)
        yield found("centers by Lanczos at first and last link", order, centers(measured), band)
        nodes = chebyshev_weights(steps, order, max(largest, torch.finfo(torch.float32).eps))
        yield found("Chebyshev weights", order, weights(nodes.to(own.gram)), all_orders)
