"""Adjoints about a learned center: a model of each link's curvature, learned within one task, takes most of it.

Link k is D + C, direct plus curvature, and C is H between a map onto the gradient and a lift. `Binomial` expands in
all of C; a scalar center moves a multiple of D out of it. Here a whole operator moves: H = S + (H − S), with a
symmetric model S for each link that is cheap to apply (`link_models.py`). The expansion is in H − S.

A round takes the products H·u of some links, each at the best estimate so far of the direction u that reaches the link.
The products improve the models, and all adjoints are pulled again through the models, without a call of the network.
On every direction of which a product was taken, H − S is zero. So what the estimate leaves out is H − S applied to the
*change* of a link's direction since its last product.

Round r = 1 … L takes the products of links L − r … K − r in `Binomial`, and of links 0 … K − r in `Parallel`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from metagrad import tree
from metagrad.estimators.base import Adjoint, Chain, Pulled
from metagrad.estimators.exact import FirstOrder
from metagrad.estimators.link_models import Answers, LinkModels, Product
from metagrad.tree import Tree


def pull_about_learned_center(chain: Chain, cotangent: Tree, lowest: Sequence[int]) -> Adjoint:
    """Pull a cotangent back in as many rounds as `lowest` has entries, at most K.

    Round r = 1, 2, … takes the products of links lowest[r − 1] … K − r. The link at the top has its final direction by
    then, so its adjoint is as good as what reaches it: K rounds are exact. Diagnostics, if there was a round:
    "error_estimate", see `_error`.

    Args:
        chain: of K links.
        cotangent: on the last state.
        lowest: falls by at most one from round to round, and ends at 0.
    """
    steps = len(chain)
    if not lowest:
        return FirstOrder().pull(chain, cotangent)
    adjoint = cotangent
    meta: Tree = {}
    # Each link of the coming round, with what reaches it pulled through its direct map: first as `FirstOrder` would.
    direct: dict[int, Pulled] = {}
    for k in range(steps - 1, lowest[0] - 1, -1):
        direct[k] = chain.direct(k, adjoint)
        adjoint = direct[k].state

    models: LinkModels | None = None
    guesses: list[Product] = []
    for level, low in enumerate(lowest):
        last, top = level == len(lowest) - 1, steps - 1 - level
        directions = tree.stack([direct[k].gradient for k in range(low, top + 1)])
        curved, mixed = chain.window(low, top + 1).curvature_everywhere(directions)
        answers = Answers.of(directions, curved, mixed)
        earlier, guesses = guesses, []
        models = LinkModels.first(answers) if models is None else models.after(answers)

        # The link at the top is finished: its product was taken at its final direction.
        adjoint = tree.add(direct[top].state, tree.pick(curved, top - low))
        meta = tree.add(meta, tree.add(direct[top].meta, tree.pick(mixed, top - low)))
        direct = {}
        # The links below: pulled anew from the better adjoint, with the model in place of the network.
        for k in range(top - 1, low - 1, -1):
            direct[k] = chain.direct(k, adjoint)
            guesses.append(models.product(k - low, direct[k].gradient))
            curved_k, mixed_k = answers.shaped(guesses[-1])
            adjoint = tree.add(direct[k].state, curved_k)
            if last:
                meta = tree.add(meta, tree.add(direct[k].meta, mixed_k))
        if last:
            return Adjoint(adjoint, meta, {"error_estimate": _error(_distrust(answers, earlier), guesses, adjoint)})
        if lowest[level + 1] < low:
            direct[low - 1] = chain.direct(low - 1, adjoint)
    raise AssertionError("the last round returns")


def _distrust(answers: Answers, guesses: Sequence[Product]) -> Tensor:
    """How wrong the models were a round ago, ‖product − guess‖ / ‖change‖ over all links; 0-d.

    Before there are models the guess is 0 and the change is the whole direction.
    """
    width = answers.directions.shape[1]
    missed, change = answers.values[:, :width], answers.directions
    if guesses:  # from the top down, and none for a new link at the low end
        missed = missed[-len(guesses) :] - torch.stack([guess.curved for guess in reversed(guesses)])
        change = torch.stack([guess.change for guess in guesses])
    change = change.norm()
    return tree.quotient(missed.norm(), change, change > 0)


def _error(distrust: Tensor, guesses: Sequence[Product], start: Tree) -> Tensor:
    """Estimate of the relative error: what the models say of changes, as wrong as they were in the last round."""
    size = tree.norm(start)
    if not guesses:
        return torch.zeros_like(size)
    change = torch.stack([guess.change for guess in guesses]).norm()
    return tree.quotient(distrust * change, size, size > 0)
