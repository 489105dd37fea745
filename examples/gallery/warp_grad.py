"""WarpGrad: layers between the adapted ones learn to precondition, from every point of the path, one step at a time.

Flennerhag et al. 2020, arXiv:1909.00025. The start is given; here it is not learned.
"""

import torch.nn.functional as F
from problem import transformed

import metagrad

STEPS = 5


def make(estimator):
    rule, adapts = metagrad.SGD(lr=0.4), ["0", "3"]
    return metagrad.MetaLearner(
        transformed(), F.cross_entropy, rule, STEPS, estimator, adapts=adapts, learn_start=False
    )


def backward(learner, tasks):
    for support, query in map(tasks.take, range(tasks.count)):
        state = None
        for _ in range(STEPS):
            adapted = learner.unroll(support, num_steps=1, state=state)
            loss = F.cross_entropy(adapted(query.inputs), query.targets) / (STEPS * tasks.count)
            loss.backward()
            state = adapted.state.detach()
