"""MAML++: rates by layer and step, and query losses after every inner step.

Antoniou, Edwards and Storkey 2019, arXiv:1810.09502. Training shifts the weights of the losses towards the last.
"""

import torch.nn.functional as F
from problem import network

import metagrad

WEIGHTS = (0.1, 0.1, 0.2, 0.2, 0.4)


def make(estimator):
    rule = metagrad.SGD(lr=metagrad.Learned(0.4, per=("step", "tensor")))
    return metagrad.MetaLearner(network(), F.cross_entropy, rule, len(WEIGHTS), estimator)


def backward(learner, tasks):
    for support, query in map(tasks.take, range(tasks.count)):
        adapted = learner.unroll(support, stops=range(1, len(WEIGHTS) + 1))
        losses = [F.cross_entropy(adapted.at(k + 1)(query.inputs), query.targets) for k in range(len(WEIGHTS))]
        loss = sum(weight * loss for weight, loss in zip(WEIGHTS, losses, strict=True)) / tasks.count
        loss.backward()
