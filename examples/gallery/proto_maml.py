"""ProtoMAML: MAML whose last layer starts from the class means of the support set, on the tape.

Triantafillou et al. 2020, arXiv:1903.03096.
"""

import torch.nn.functional as F
from problem import SHOTS, WAYS, WIDTH, network, started

import metagrad


def make(estimator):
    return metagrad.MetaLearner(network(), F.cross_entropy, metagrad.SGD(lr=0.1), num_steps=5, estimator=estimator)


def backward(learner, tasks):
    for support, query in map(tasks.take, range(tasks.count)):
        means = learner.model[:2](support.inputs).view(WAYS, SHOTS, WIDTH).mean(dim=1)
        start = dict(learner.model.named_parameters())
        start |= {"2.weight": 2 * means, "2.bias": -means.square().sum(dim=1)}
        adapted = learner.unroll(support, state=started(learner, **start))
        loss = F.cross_entropy(adapted(query.inputs), query.targets) / tasks.count
        loss.backward()
