"""Losses of `torch.nn.functional` with their options, and what torch has no second derivative of.

A row's name begins with the name of the function, up to the first blank.
"""

from functools import partial
from inspect import signature

import torch
import torch.nn.functional as F
from torch import nn

from layers import CLASSES, SHARES, SIGNS, VALUES, WORDS, function

DRAW = torch.Generator().manual_seed(3)
WEIGHTS = torch.rand(4, generator=DRAW, dtype=torch.float64) + 0.3
SEVERAL_CLASSES = torch.tensor([[0, 2, -1, -1]] * 5)

REDUCED = {
    "l1_loss": lambda x, **r: F.l1_loss(x, VALUES, **r),
    "mse_loss": lambda x, **r: F.mse_loss(x, VALUES, **r),
    "smooth_l1_loss": lambda x, **r: F.smooth_l1_loss(x, VALUES, **r),
    "smooth_l1_loss beta": lambda x, **r: F.smooth_l1_loss(x, VALUES, beta=2.5, **r),
    "smooth_l1_loss 0": lambda x, **r: F.smooth_l1_loss(x, VALUES, beta=0.0, **r),
    "huber_loss": lambda x, **r: F.huber_loss(x, VALUES, **r),
    "huber_loss delta": lambda x, **r: F.huber_loss(x, VALUES, delta=2.5, **r),
    "binary_cross_entropy": lambda x, **r: F.binary_cross_entropy(x.sigmoid(), SHARES, **r),
    "binary_cross_entropy weight": lambda x, **r: F.binary_cross_entropy(x.sigmoid(), SHARES, WEIGHTS, **r),
    "binary_cross_entropy_with_logits": lambda x, **r: F.binary_cross_entropy_with_logits(x, SHARES, **r),
    "binary_cross_entropy_with_logits weight": lambda x, **r: F.binary_cross_entropy_with_logits(
        x, SHARES, WEIGHTS, pos_weight=WEIGHTS + 1, **r
    ),
    "cross_entropy": lambda x, **r: F.cross_entropy(x, CLASSES, **r),
    "cross_entropy weight": lambda x, **r: F.cross_entropy(x, CLASSES, weight=WEIGHTS, **r),
    "cross_entropy smoothed": lambda x, **r: F.cross_entropy(x, CLASSES, label_smoothing=0.2, **r),
    "cross_entropy both": lambda x, **r: F.cross_entropy(x, CLASSES, WEIGHTS, label_smoothing=0.2, **r),
    "cross_entropy ignoring": lambda x, **r: F.cross_entropy(x, CLASSES, ignore_index=2, **r),
    "cross_entropy shares": lambda x, **r: F.cross_entropy(x, SHARES, WEIGHTS, label_smoothing=0.1, **r),
    "cross_entropy dense": lambda x, **r: F.cross_entropy(x.view(1, 4, 5), CLASSES[None], **r),
    "nll_loss": lambda x, **r: F.nll_loss(x.log_softmax(1), CLASSES, **r),
    "nll_loss weight": lambda x, **r: F.nll_loss(x.log_softmax(1), CLASSES, WEIGHTS, ignore_index=2, **r),
    "nll_loss dense": lambda x, **r: F.nll_loss(
        x.log_softmax(1).view(1, 5, 2, 2), CLASSES[None, :4].view(1, 2, 2), **r
    ),
    "kl_div": lambda x, **r: F.kl_div(x.log_softmax(1), SHARES, **r),
    "kl_div log": lambda x, **r: F.kl_div(x.log_softmax(1), SHARES.log(), log_target=True, **r),
    "poisson_nll_loss": lambda x, **r: F.poisson_nll_loss(x, 3 * SHARES, **r),
    "poisson_nll_loss full": lambda x, **r: F.poisson_nll_loss(x.exp(), 5 * SHARES, log_input=False, full=True, **r),
    "gaussian_nll_loss": lambda x, **r: F.gaussian_nll_loss(x, VALUES, x.flip(0).exp(), full=True, **r),
    "hinge_embedding_loss": lambda x, **r: F.hinge_embedding_loss(x, SIGNS[:, None].expand(5, 4), **r),
    "margin_ranking_loss": lambda x, **r: F.margin_ranking_loss(x[:, 0], x[:, 1], SIGNS, margin=0.3, **r),
    "soft_margin_loss": lambda x, **r: F.soft_margin_loss(x, SIGNS[:, None].expand(5, 4), **r),
    "multilabel_soft_margin_loss": lambda x, **r: F.multilabel_soft_margin_loss(x, SHARES.round(), WEIGHTS, **r),
    "cosine_embedding_loss": lambda x, **r: F.cosine_embedding_loss(x, x.flip(1).sin(), SIGNS, margin=0.1, **r),
    "triplet_margin_loss": lambda x, **r: F.triplet_margin_loss(x, x.flip(1), x.sin(), **r),
    "triplet_margin_loss swap": lambda x, **r: F.triplet_margin_loss(x, x.flip(1), x.sin(), p=1.0, swap=True, **r),
    "triplet_margin_with_distance_loss": lambda x, **r: F.triplet_margin_with_distance_loss(
        x, x.flip(1), x.sin(), swap=True, **r
    ),
}
# Of later versions of torch than the oldest.
if "weight" in signature(F.l1_loss).parameters:
    REDUCED |= {
        "l1_loss weight": lambda x, **r: F.l1_loss(x, VALUES, weight=SHARES, **r),
        "mse_loss weight": lambda x, **r: F.mse_loss(x, VALUES, weight=SHARES, **r),
        "huber_loss weight": lambda x, **r: F.huber_loss(x, VALUES, weight=SHARES, **r),
    }
if hasattr(F, "linear_cross_entropy"):
    REDUCED["linear_cross_entropy"] = lambda x, **r: F.linear_cross_entropy(x, VALUES.sin(), CLASSES, **r)

LOSSES = {
    f"{name} ({reduction})": (function(partial(loss, reduction=reduction)), (5, 4))
    for name, loss in REDUCED.items()
    for reduction in ("mean", "sum", "none")
}
LOSSES["kl_div (batchmean)"] = (function(lambda x: F.kl_div(x.log_softmax(1), SHARES, reduction="batchmean")), (5, 4))

# torch has no second derivative of these: first derivatives are held all the same.
FIRST_ONLY = {
    "Hardsigmoid": (nn.Hardsigmoid, (5, 4)),
    "Hardsigmoid inplace": (partial(nn.Hardsigmoid, inplace=True), (5, 4)),
    **{f"EmbeddingBag {mode}": (partial(nn.EmbeddingBag, 6, 4, mode=mode), WORDS) for mode in ("sum", "mean", "max")},
    **{
        f"cdist {p}": (function(lambda x, p=p: torch.cdist(x[:2], x[2:].sin(), p)), (6, 4))
        for p in (1.0, 2.0, 3.0, float("inf"))
    },
    **{f"pdist {p}": (function(partial(F.pdist, p=p)), (5, 4)) for p in (1.0, 2.0, 3.0, float("inf"))},
    "multi_margin_loss": (function(lambda x: F.multi_margin_loss(x, CLASSES, p=2, weight=WEIGHTS)), (5, 4)),
    "multilabel_margin_loss": (function(lambda x: F.multilabel_margin_loss(x, SEVERAL_CLASSES)), (5, 4)),
    "ctc_loss": (
        function(
            lambda x: F.ctc_loss(
                x.view(5, 1, 4).log_softmax(2), torch.tensor([[1, 2]]), torch.tensor([5]), torch.tensor([2])
            )
        ),
        (5, 4),
    ),
}
