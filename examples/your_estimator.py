"""Write an estimator: about ten lines of linear algebra on the chain, and measure it against the exact meta-gradient.

Run: python examples/your_estimator.py
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from metagrad import SGD, Binomial, Exact, FirstOrder, InnerLoop, Truncated, WholeModel, meta_gradient, tree
from metagrad.data.regression import Sinusoids
from metagrad.estimators import Adjoint, Chain, Cost
from metagrad.estimators.base import Pullback
from metagrad.functional import trainable
from metagrad.networks import MLP


@dataclass(frozen=True)
class EveryOther(Pullback):
    """Curvature at every second inner step, counted from the last: half the products of `Exact`."""

    def pull(self, chain: Chain, cotangent: tree.Tree) -> Adjoint:
        meta: tree.Tree = {}
        for back, k in enumerate(reversed(range(len(chain)))):
            pulled = chain.direct(k, cotangent)
            cotangent, meta = pulled.state, tree.add(meta, pulled.meta)
            if back % 2 == 0:
                curved, mixed = chain.curvature(k, pulled.gradient)
                cotangent, meta = tree.add(cotangent, curved), tree.add(meta, mixed)
        return Adjoint(cotangent, meta)

    def cost(self, num_steps: int) -> Cost:
        products = (num_steps + 1) // 2
        return Cost(products=products, rounds=products)


def main() -> dict[str, float]:
    torch.manual_seed(0)
    model = MLP([1, 40, 40, 1]).double()
    loop = InnerLoop(WholeModel(model, F.mse_loss), SGD(lr=0.01), num_steps=5)
    meta = {"model": {**trainable(model)}}
    tasks = Sinusoids(dtype=torch.float64).sample(20, torch.Generator().manual_seed(1))

    exact = meta_gradient(loop, Exact(), meta, tasks).gradient
    errors: dict[str, float] = {}
    print(f"{'estimator':<45} {'products':>8} {'rounds':>7} {'relative error':>15}")
    for estimator in (FirstOrder(), Truncated(3), EveryOther(), Binomial(1), Binomial(3), Exact()):
        result = meta_gradient(loop, estimator, meta, tasks)
        error = tree.norm(tree.subtract(result.gradient, exact)) / tree.norm(exact)
        errors[repr(estimator)] = error.item()
        print(f"{estimator!r:<45} {result.cost.products:>8} {result.cost.rounds:>7} {error.item():>15.1e}")
    return errors


if __name__ == "__main__":
    main()
