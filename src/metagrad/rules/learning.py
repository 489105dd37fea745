"""What a rule has learned, as parameters of a module."""

from torch import Tensor, nn

from metagrad import tree
from metagrad.rules.base import UpdateRule
from metagrad.tree import Tree


class LearnedSettings(nn.ParameterList):
    """The meta-parameters of an update rule: any tree of tensors, held as a list of parameters.

    Args:
        rule: whose they are.
        adapted: what it is to move, for names and shapes.
        num_steps: K.
    """

    def __init__(self, rule: UpdateRule, adapted: Tree, num_steps: int) -> None:
        initial = tree.detach(rule.initial_meta(adapted, num_steps))
        super().__init__([nn.Parameter(value) for value in tree.leaves(initial)])
        self._paths = tree.map(lambda _: _EMPTY, initial)
        self._rule, self._num_steps = rule, num_steps

    def tree(self) -> Tree:
        """The values as the rule's tree, shared."""
        values = iter(self)
        return tree.map(lambda _: next(values), self._paths)

    def named(self) -> dict[str, Tensor]:
        """The values by dotted name: "lr" for one rate, "lr.head.weight" for one of many."""
        return dict(tree.items(self.tree()))

    def check(self, adapted: Tree) -> None:
        """Refuse other parameters than those that the settings were made for.

        Raises:
            ValueError: some were frozen or thawed since.
        """
        if not len(self):
            return
        now = {path for path, _ in tree.items(self._rule.initial_meta(adapted, self._num_steps))}
        then = {path for path, _ in tree.items(self._paths)}
        if now != then:
            changed = ", ".join(sorted({path.partition(".")[2] or path for path in now ^ then}))
            raise ValueError(
                f"{changed} was frozen or thawed since the learned settings were made; make a new MetaLearner"
            )


_EMPTY = Tensor()
