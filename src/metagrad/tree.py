"""Linear algebra of nested dicts of tensors.

A tree is a tensor, or a dict from names to trees. An absent name stands for zero: `add({}, x)` is `x`, and a
cotangent that cannot reach some parameters simply does not mention them. So structure carries the information
"nothing flows here", which a dense tensor of zeros would hide.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Tree = Tensor | dict[str, "Tree"]


def map(fn: Callable[..., Tensor], tree: Tree, *others: Tree) -> Tree:
    """Apply `fn` leaf by leaf to trees that share the structure of the first.

    Example:
        >>> map(torch.neg, {"weight": torch.tensor(2.0)})
        {'weight': tensor(-2.)}
    """
    if isinstance(tree, dict):
        return {name: map(fn, branch, *(_branch(other, name) for other in others)) for name, branch in tree.items()}
    return fn(tree, *others)


def items(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield (dotted path, leaf) pairs in insertion order.

    Example:
        >>> list(items({"layer": {"weight": torch.tensor(2.0)}}))
        [('layer.weight', tensor(2.))]
    """
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield from items(branch, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, tree


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in insertion order.

    Example:
        >>> leaves({"layer": {"weight": torch.tensor(2.0)}, "bias": torch.tensor(1.0)})
        [tensor(2.), tensor(1.)]
    """
    return [leaf for _, leaf in items(tree)]


def add(first: Tree, second: Tree) -> Tree:
    """Sum over the union of names.

    Example:
        >>> add({"weight": torch.tensor(2.0)}, {"bias": torch.tensor(1.0)})
        {'weight': tensor(2.), 'bias': tensor(1.)}
    """
    if isinstance(first, dict) and isinstance(second, dict):
        return _merged(add, first, second)
    # {} is the zero of any shape, a tensor's included.
    if isinstance(first, dict) and not first:
        return second
    if isinstance(second, dict) and not second:
        return first
    if isinstance(first, dict) or isinstance(second, dict):
        raise TypeError("cannot add a tensor to a dict of trees: the two trees differ in structure")
    return first + second


def scale(tree: Tree, factor: float | Tensor) -> Tree:
    """Multiply every leaf by one number.

    Example:
        >>> scale({"weight": torch.tensor(2.0)}, 0.5)
        {'weight': tensor(1.)}
    """
    return map(lambda leaf: leaf * factor, tree)


def subtract(first: Tree, second: Tree) -> Tree:
    """Difference over the union of names.

    Example:
        >>> subtract({"weight": torch.tensor(2.0)}, {"weight": torch.tensor(0.5)})
        {'weight': tensor(1.5000)}
    """
    return add(first, scale(second, -1.0))


def dot(first: Tree, second: Tree) -> Tensor:
    """Inner product of two trees of one structure, as a 0-d tensor.

    Example:
        >>> dot({"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([3.0, 4.0])})
        tensor(11.)
    """
    products = leaves(map(lambda a, b: (a * b).sum(), first, second))
    if not products:
        raise ValueError("the inner product of two empty trees has no type: give at least one tensor")
    return torch.stack(products).sum()


def norm(tree: Tree) -> Tensor:
    """Euclidean norm over all leaves, as a 0-d tensor.

    Example:
        >>> norm({"a": torch.tensor(3.0), "b": torch.tensor(4.0)})
        tensor(5.)
    """
    return dot(tree, tree).sqrt()


def quotient(part: Tensor, whole: Tensor, where: Tensor | None = None) -> Tensor:
    """`part` over `whole` where it is asked for (where the whole is positive, if not said), and 0 elsewhere."""
    where = whole > 0 if where is None else where
    return torch.where(where, part / torch.where(where, whole, 1.0), 0.0)


def flat(tree: Tree) -> Tensor:
    """All leaves one after another as one vector."""
    return torch.cat([leaf.reshape(-1) for leaf in leaves(tree)])


def shaped(vector: Tensor, like: Tree) -> Tree:
    """The inverse of `flat`: a vector in the shapes of a tree."""
    pieces = iter(vector.split([leaf.numel() for leaf in leaves(like)]))
    return map(lambda leaf: next(pieces).reshape(leaf.shape), like)


def conjugate_gradient(operator: Callable[[Tree], Tree], target: Tree, start: Tree, iterations: int) -> Tree:
    """X with operator(x) = target, after a fixed number of iterations from `start`; {} starts from zero.

    A direction of negative curvature (the operator is not positive definite) stops the iteration where it is. The
    length is fixed, so that it runs under `vmap`. Cost: `iterations` applications, and one for a start other than zero.
    """
    solution = start or scale(target, 0.0)
    residual = search = subtract(target, operator(start)) if start else target
    squared = dot(residual, residual)
    going = squared >= 0
    for _ in range(iterations):
        product = operator(search)
        bend = dot(search, product)
        # Not positive: at an exact solution there is nothing left to add, on negative curvature nothing to trust.
        going = going & (bend > 0)
        length = quotient(squared, bend, going)
        solution = add(solution, scale(search, length))
        residual = subtract(residual, scale(product, length))
        fresh = dot(residual, residual)
        search = add(residual, scale(search, quotient(fresh, squared)))
        squared = fresh
    return solution


def stack(trees: Sequence[Tree]) -> Tree:
    """Join trees of one structure along a new leading axis.

    Example:
        >>> stack([{"a": torch.tensor(1.0)}, {"a": torch.tensor(2.0)}])
        {'a': tensor([1., 2.])}
    """
    return map(lambda *same: torch.stack(same), trees[0], *trees[1:])


def join(first: Tree, second: Tree) -> Tree:
    """Put two trees of one structure one after the other along their leading axes.

    Example:
        >>> join({"a": torch.tensor([1.0])}, {"a": torch.tensor([2.0, 3.0])})
        {'a': tensor([1., 2., 3.])}
    """
    return map(lambda a, b: torch.cat([a, b]), first, second)


def pick(tree: Tree, index: int | slice) -> Tree:
    """Entry (or entries) `index` of the leading axis of every leaf: a view.

    Example:
        >>> pick({"a": torch.tensor([1.0, 2.0])}, 1)
        {'a': tensor(2.)}
    """
    return map(lambda leaf: leaf[index], tree)


def detach(tree: Tree) -> Tree:
    """The same values outside every autograd graph; inference tensors become ordinary ones.

    Example:
        >>> detach({"a": torch.ones(1, requires_grad=True)})
        {'a': tensor([1.])}
    """
    return map(lambda leaf: leaf.detach().clone() if leaf.is_inference() else leaf.detach(), tree)


def fill(tree: Tree, like: Tree) -> Tree:
    """`tree` with a tensor of zeros wherever `like` has a leaf that `tree` does not mention.

    Example:
        >>> fill({}, like={"a": torch.ones(2)})
        {'a': tensor([0., 0.])}
    """
    if isinstance(like, dict):
        if not isinstance(tree, dict):
            raise ValueError("the trees differ in structure: one is a tensor where the other has branches")
        return {name: fill(tree.get(name, {}), branch) for name, branch in like.items()}
    if isinstance(tree, dict) and tree:
        raise ValueError(
            f"the trees differ in structure: one has branches {', '.join(tree)} where the other has a tensor"
        )
    return torch.zeros_like(like) if isinstance(tree, dict) else tree


def overlay(base: Tree, part: Tree) -> Tree:
    """`base` with the leaves that `part` mentions replaced by those of `part`.

    Example:
        >>> overlay({"a": torch.tensor(1.0), "b": torch.tensor(2.0)}, {"b": torch.tensor(3.0)})
        {'a': tensor(1.), 'b': tensor(3.)}
    """
    if isinstance(base, dict) and isinstance(part, dict):
        return base | {name: overlay(base[name], branch) for name, branch in part.items()}
    return part


def union(first: Tree, second: Tree) -> Tree:
    """The leaves that either tree mentions; where both do, those of the first.

    Example:
        >>> union({"a": torch.tensor(1.0)}, {"a": torch.tensor(9.0), "b": torch.tensor(2.0)})
        {'a': tensor(1.), 'b': tensor(2.)}
    """
    if isinstance(first, dict) and isinstance(second, dict):
        return _merged(union, first, second)
    return first


def restrict(tree: Tree, like: Tree) -> Tree:
    """The leaves of `tree` that `like` mentions too, in its order; both mention them."""
    return map(lambda _, leaf: leaf, like, tree)


def select(wanted: Callable[[Tensor], bool], tree: Tree) -> Tree:
    """The leaves of which something is true, without branches that have none."""
    if isinstance(tree, dict):
        chosen = {name: select(wanted, branch) for name, branch in tree.items()}
        return {name: branch for name, branch in chosen.items() if isinstance(branch, Tensor) or branch}
    return tree if wanted(tree) else {}


def absent(tree: Tree, like: Tree) -> list[str]:
    """Dotted paths of the leaves of `like` that `tree` does not mention.

    Example:
        >>> absent({"a": torch.ones(1)}, like={"a": torch.ones(1), "b": {"c": torch.ones(1)}})
        ['b.c']
    """
    mentioned = {path for path, _ in items(tree)}
    return [path for path, _ in items(like) if path not in mentioned]


def _merged(both: Callable[[Tree, Tree], Tree], first: dict[str, Tree], second: dict[str, Tree]) -> Tree:
    """The branches of either, and `both` of those that have one name."""
    merged = dict(first)
    for name, branch in second.items():
        merged[name] = both(merged[name], branch) if name in merged else branch
    return merged


def _branch(tree: Tree, name: str) -> Tree:
    if not isinstance(tree, dict) or name not in tree:
        raise ValueError(f"the trees differ in structure: one of them has no branch {name!r}")
    return tree[name]
