"""CAVIA: a context vector adapts from zero, the network stays. Zintgraf et al. 2019, arXiv:1810.03642."""

import torch
import torch.nn.functional as F
from problem import FEATURES, WAYS, WIDTH
from torch import nn

import metagrad


class Conditioned(nn.Module):
    """The context is one more input of every example."""

    def __init__(self):
        super().__init__()
        self.context = nn.Parameter(torch.zeros(5))
        self.net = nn.Sequential(nn.Linear(FEATURES + 5, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WAYS))

    def forward(self, inputs):
        return self.net(torch.cat([inputs, self.context.expand(len(inputs), -1)], dim=-1))


def make(estimator):
    model, rule = Conditioned().double(), metagrad.SGD(lr=1.0)
    return metagrad.MetaLearner(model, F.cross_entropy, rule, 5, estimator, adapts="context", learn_start=False)


def backward(learner, tasks):
    learner.backward(tasks)
