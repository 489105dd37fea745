"""Print the table of the gallery's page: how far estimates are from the exact meta-gradient of each method.

Run: python examples/gallery/table.py
"""

import importlib

import torch
from problem import draw

from metagrad import Binomial, Exact, FirstOrder

METHODS = {
    "maml_plus_plus": "MAML++",
    "meta_sgd": "Meta-SGD",
    "meta_curvature": "Meta-Curvature",
    "mt_net": "MT-net",
    "cavia": "CAVIA",
    "leo": "LEO",
    "proto_maml": "ProtoMAML",
    "warp_grad": "WarpGrad",
    "imaml": "iMAML",
    "fo_b_maml": "FO-B-MAML",
}


def meta_gradient(method, estimator, tasks):
    """Every learned number's gradient in one vector, from the same random numbers for every estimator."""
    torch.manual_seed(0)
    learner = method.make(estimator)
    method.backward(learner, tasks)
    slopes = [torch.zeros_like(p) if p.grad is None else p.grad for p in learner.parameters()]
    return torch.cat([slope.flatten() for slope in slopes])


def errors(name, estimators):
    """Relative errors against `Exact()`."""
    method, tasks = importlib.import_module(name), draw(4)
    exact = meta_gradient(method, Exact(), tasks)
    others = [meta_gradient(method, estimator, tasks) for estimator in estimators]
    return [((other - exact).norm() / exact.norm()).item() for other in others]


def main():
    for name, title in METHODS.items():
        first_order, binomial = errors(name, [FirstOrder(), Binomial(2, center="auto")])
        print(f"| {title} | {first_order:.1e} | {binomial:.1e} |")


if __name__ == "__main__":
    main()
