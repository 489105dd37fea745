"""LEO: adaptation in a latent space, from a code of the support set, then of the decoded weights.

Rusu et al. 2019, arXiv:1807.05960, with the mean of a class in place of the relation network.
"""

import torch
import torch.nn.functional as F
from problem import FEATURES, SHOTS, WAYS, started
from torch import nn

import metagrad


def make(estimator):
    model = nn.ModuleDict({"encoder": nn.Linear(FEATURES, 4), "decoder": nn.Linear(2, FEATURES)}).double()
    model.code, model.weights = (nn.Parameter(torch.zeros(WAYS, n).double()) for n in (2, FEATURES))
    by_code = metagrad.Objective(lambda m, b: F.cross_entropy(b.inputs @ m["decoder"](m.code).T, b.targets))
    by_weights = metagrad.Objective(lambda m, b: F.cross_entropy(b.inputs @ m.weights.T, b.targets))

    def stage(objective, name, rate):
        rule = metagrad.SGD(lr=metagrad.Learned(rate, per="element"))
        return metagrad.MetaLearner(model, objective, rule, 5, estimator, adapts=name, learn_start=False)

    return nn.ModuleList([stage(by_code, "code", 1.0), stage(by_weights, "weights", 0.1)])


def backward(learner, tasks):
    of_code, of_weights = learner
    for support, query in map(tasks.take, range(tasks.count)):
        mean, log_std = of_code.model["encoder"](support.inputs).view(WAYS, SHOTS, 4).mean(1).chunk(2, dim=1)
        code = mean + log_std.exp() * torch.randn_like(mean)
        moved = of_code.unroll(support, state=started(of_code, code=code)).model.code
        start = started(of_weights, weights=of_code.model["decoder"](moved))
        weights = of_weights.unroll(support, state=start).model.weights
        divergence = (mean.square() + (2 * log_std).exp() - 2 * log_std - 1).sum() / 2
        loss = F.cross_entropy(query.inputs @ weights.T, query.targets) + 1e-3 * divergence
        ((loss + 1e-9 * (moved.detach() - code).square().sum()) / tasks.count).backward()
