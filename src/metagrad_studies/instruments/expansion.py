"""All plain estimators of one task from one table of K(K+1)/2 curvature products: for studies that want every order."""

from functools import reduce
from typing import cast

from torch import Tensor

from metagrad import tree
from metagrad.batching import branch, over_tasks
from metagrad.estimators import Binomial, FirstOrder, Truncated
from metagrad.estimators.base import Chain, Pullback
from metagrad.inner.episode import TaskEpisode
from metagrad.inner.loop import InnerLoop
from metagrad.task import Task
from metagrad.tree import Tree
from metagrad_studies.instruments.task_errors import Estimates


def plain(num_steps: int) -> list[Pullback]:
    """FirstOrder, then every Truncated and plain Binomial that is not exact."""
    orders = range(1, num_steps)
    return [FirstOrder(), *(Truncated(order) for order in orders), *(Binomial(order) for order in orders)]


def expansion(chain: Chain, cotangent: Tree) -> list[list[Tree]]:
    """Terms of ∏ (I − E_k) applied to a cotangent: entry j, l sums those of the last j links with l factors −E_k.

        T_0 = [g],   T_{j+1}[l] = T_j[l] − E_k·T_j[l − 1],   k = K − 1 − j

    The sum of row j is Truncated(j), the sum of the first L + 1 terms of the last row Binomial(L), that of all Exact:
    so it is for plain SGD on the whole model, whose direct maps are the identity.

    Cost: K(K+1)/2 products for all orders together.
    """
    rows = [[cotangent]]
    for k in reversed(range(len(chain))):
        curved = [chain.curvature(k, chain.direct(k, term).gradient)[0] for term in rows[-1]]
        kept = [chain.direct(k, term).state for term in rows[-1]]
        between = [tree.add(same, below) for same, below in zip(kept[1:], curved[:-1], strict=True)]
        rows.append([kept[0], *between, curved[-1]])
    return rows


def plain_estimates(loop: InnerLoop, meta: Tree, tasks: Task, chunk: int) -> Estimates:
    """What `task_errors.estimates` gives for `plain(K)`, up to rounding, in a third of its time.

    Args:
        loop: whole model, plain SGD.
        meta: the meta-parameters.
        tasks: leaves [T, N, ...].
        chunk: tasks side by side.
    """
    asked = plain(loop.num_steps)

    def of_task(meta: Tree, task: Task) -> Tree:
        episode = TaskEpisode(loop, meta, task)
        outer = episode.outer()[0]
        rows = expansion(episode.chain, outer)
        exact, truncated = rows[-1], rows[1:-1]
        binomial = [exact[: order + 1] for order in range(1, loop.num_steps)]
        found = [
            tree.flat(reduce(tree.add, terms)) for terms in (exact, exact[:1], *truncated, *binomial)
        ]  # as `plain`
        return {"found": {str(i): gradient for i, gradient in enumerate(found)}, "norm": tree.norm(outer)}

    result = over_tasks(of_task, meta, tasks, chunk)
    exact, *others = tree.leaves(branch(result, "found"))
    return Estimates(exact, dict(zip(asked, others, strict=True)), cast(Tensor, branch(result, "norm")))
