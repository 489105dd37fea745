"""The two ends of the scale: every curvature factor, or none."""

from dataclasses import dataclass

from metagrad import tree
from metagrad.estimators.base import Adjoint, Chain, Cost, Pullback
from metagrad.estimators.family import Family
from metagrad.tree import Tree


@dataclass(frozen=True)
class Exact(Pullback):
    """The exact meta-gradient, one link at a time: MAML with memory that does not grow with the inner steps.

        u ← u_s + lift(H_k·u_g)   for k = K−1 … 0,   from u = ∇(query loss)

    Each product rebuilds the graph of one inner gradient and frees it, in place of keeping K graphs.

    Cost: K curvature products in K rounds. When it is wrong: never, up to rounding.
    Source: Finn et al. 2017, equation 4 of the binomial paper; recomputation as in Shaban et al. 2019.

    Example:
        >>> Exact().cost(num_steps=5)
        Cost(products=5, rounds=5, solves=0)
    """

    def pull(self, chain: Chain, cotangent: Tree) -> Adjoint:
        """Pull through direct and curvature maps, last link first."""
        meta: Tree = {}
        for k in reversed(range(len(chain))):
            pulled = chain.direct(k, cotangent)
            curved, mixed = chain.curvature(k, pulled.gradient)
            cotangent = tree.add(pulled.state, curved)
            meta = tree.add(meta, tree.add(pulled.meta, mixed))
        return Adjoint(cotangent, meta)

    def single_products(self, num_steps: int) -> int:
        """All."""
        return num_steps

    def cost(self, num_steps: int) -> Cost:
        """K products, one after another."""
        return Cost(products=num_steps, rounds=num_steps)


@dataclass(frozen=True)
class FirstOrder(Pullback):
    """Direct maps only: FOMAML.

        u ← u_s   for k = K−1 … 0

    For SGD the outer gradient passes unchanged to the start. What the rule itself learns (rates) still gets its
    gradient; the mixed term of a proximal anchor or of a body outside the adapted part is dropped with the curvature.

    Cost: no curvature product. When it is wrong: relative error of the order of K·α·‖H‖, whatever K.
    Source: Finn et al. 2017, section 5.2.

    Example:
        >>> FirstOrder().cost(num_steps=5)
        Cost(products=0, rounds=0, solves=0)
    """

    def pull(self, chain: Chain, cotangent: Tree) -> Adjoint:
        """Pull through the direct maps, last link first."""
        meta: Tree = {}
        for k in reversed(range(len(chain))):
            pulled = chain.direct(k, cotangent)
            cotangent = pulled.state
            meta = tree.add(meta, pulled.meta)
        return Adjoint(cotangent, meta)

    def cost(self, num_steps: int) -> Cost:
        """Nothing beyond the inner loop."""
        return Cost(products=0, rounds=0)


Exact.families = (
    Family(
        name="Exact",
        usual=Exact(),
        aliases=("MAML",),
        keeps="every curvature factor: MAML, one recomputed graph at a time",
        products="K",
        rounds="K",
        take="nothing forces you to less: it is MAML with memory that does not grow with K",
        wrong="never",
        color="#444444",
        marker="H",
    ),
)

FirstOrder.families = (
    Family(
        name="FirstOrder",
        usual=FirstOrder(),
        aliases=("FOMAML",),
        keeps="no curvature: FOMAML",
        products="0",
        rounds="0",
        take="`Exact()` is too slow and inner steps are small",
        wrong="error about K·α‖H‖",
        color="#000000",
        marker="s",
    ),
)
