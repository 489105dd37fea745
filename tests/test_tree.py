import pytest
import torch

from metagrad import tree


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def equal(first, second):
    return dict(tree.items(first)).keys() == dict(tree.items(second)).keys() and all(
        torch.equal(a, b) for a, b in zip(tree.leaves(first), tree.leaves(second), strict=True)
    )


A = {"x": t(1, 2), "in": {"y": t(3)}}
B = {"x": t(10, 20), "in": {"y": t(30), "z": t(40)}}


def test_absent_names_stand_for_zero():
    assert equal(tree.add(A, B), {"x": t(11, 22), "in": {"y": t(33), "z": t(40)}})
    assert equal(tree.add(B, A), tree.add(A, B))
    assert equal(tree.add({}, A), A)
    assert equal(tree.add(A, {}), A)
    assert equal(tree.add({}, t(5)), t(5))
    assert equal(tree.subtract(A, B), {"x": t(-9, -18), "in": {"y": t(-27), "z": t(-40)}})
    assert equal(tree.fill({"in": {"y": t(3)}}, B), {"x": t(0, 0), "in": {"y": t(3), "z": t(0)}})
    assert tree.absent(A, B) == ["in.z"]
    assert tree.absent(B, A) == []


def test_inner_product_and_norm_run_over_all_leaves():
    assert tree.dot(A, A) == 14
    assert tree.norm({"a": t(3), "b": {"c": t(4)}}) == 5
    with pytest.raises(ValueError, match="two empty trees"):
        tree.dot({}, {})


def test_overlay_replaces_and_union_keeps():
    part = {"in": {"y": t(9)}}
    assert equal(tree.overlay(B, part), {"x": t(10, 20), "in": {"y": t(9), "z": t(40)}})
    assert equal(tree.union(part, B), {"in": {"y": t(9), "z": t(40)}, "x": t(10, 20)})


def test_stack_and_pick_are_inverse():
    stacked = tree.stack([A, tree.scale(A, 2.0)])
    assert stacked["x"].shape == (2, 2)
    assert equal(tree.pick(stacked, 1), tree.scale(A, 2.0))


def test_structures_that_differ_are_an_error_not_a_broadcast():
    with pytest.raises(ValueError, match="no branch 'z'"):
        tree.map(torch.add, B, A)
    with pytest.raises(TypeError, match="differ in structure"):
        tree.add(A, t(1))
    with pytest.raises(ValueError, match="differ in structure"):
        tree.fill(t(1), A)
    with pytest.raises(ValueError, match="differ in structure"):
        tree.fill(A, t(1))


def test_detach_makes_ordinary_tensors_of_inference_tensors():
    with torch.inference_mode():
        made = {"x": torch.ones(2)}
    with torch.inference_mode(False):
        assert not tree.detach(made)["x"].is_inference()
