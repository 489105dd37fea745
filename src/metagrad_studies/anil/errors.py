"""Errors of meta-gradients where only a linear head adapts, beside what theory allows there."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from metagrad import SGD, Exact, FirstOrder, Task, tree
from metagrad.estimators import CurvatureRange, Estimator, error_bound
from metagrad.estimators.base import Pullback
from metagrad.experiments.config import Experiment, build_learner
from metagrad.experiments.expression import ESTIMATORS, parse


def head_errors(
    config: Experiment, weights: Mapping[str, Tensor], tasks: Sequence[Task], estimators: Sequence[str]
) -> list[dict[str, Any]]:
    """Each estimator on each task, in float64.

    "error" is ‖estimate − exact‖/‖exact‖ of the whole meta-gradient; "head_error" is ‖estimate − exact‖/‖g‖ of its part
    on the head alone, g the outer gradient there, which theorem 3.8 bounds; "bound" is `error_bound` for Hessians
    between 0 and c/α, None for estimators that it does not know; "curvature" is that c.

    The head's loss is the mean cross-entropy of logits that are linear in its weights, and what enters it does not
    change while it adapts. Softmax covariances are at most ½, so that c = (α/2)·λmax(ΦᵀΦ/N), Φ the N inputs with a
    further column of ones, is at least α times the curvature at every step.

    Raises:
        ValueError: what adapts is not one linear layer, or the rule is not `SGD`.
    """
    precise = replace(config.machine, dtype="float64", device="cpu", capture="off", precision="float32")
    config = replace(config, machine=precise, proximal=None)
    rows: list[dict[str, Any]] = []
    for number, task in enumerate(one.to(torch.device("cpu"), torch.float64) for one in tasks):
        exact, curvature = _gradient(config, Exact(), weights, task), _curvature(config, weights, task)
        outer = _gradient(config, FirstOrder(), weights, task)
        size = _norm(_head(config, outer))
        for text in estimators:
            estimator = parse(text, ESTIMATORS)
            estimate = _gradient(config, estimator, weights, task)
            wrong = {name: estimate[name] - exact[name] for name in exact}
            rows.append(
                {
                    "estimator": text,
                    "task": number,
                    "error": _norm(wrong) / _norm(exact),
                    "head_error": _norm(_head(config, wrong)) / size,
                    "bound": _bound(estimator, curvature, config.num_steps),
                    "curvature": curvature,
                }
            )
    return rows


def _gradient(config: Experiment, estimator: Estimator, weights: Mapping[str, Tensor], task: Task) -> dict[str, Tensor]:
    learner = build_learner(replace(config, estimator=estimator))
    learner.load_state_dict(dict(weights))
    return {path: leaf.detach() for path, leaf in tree.items(learner.meta_gradient(task).gradient)}


def _curvature(config: Experiment, weights: Mapping[str, Tensor], task: Task) -> float:
    """An upper bound on the α·H of every inner step."""
    learner = build_learner(config)
    learner.load_state_dict(dict(weights))
    layer = dict(learner.model.named_modules()).get(config.adapts[0]) if len(config.adapts) == 1 else None
    rule = config.rule
    if not isinstance(layer, nn.Linear) or not isinstance(rule, SGD) or rule != SGD(rule.lr):
        raise ValueError(f"the head must be one linear layer that SGD adapts, got {config.adapts} and {config.rule}")
    features: list[Tensor] = []
    with torch.no_grad():
        handle = layer.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        learner.model(task.support.inputs[0])
        handle.remove()
    inputs = torch.cat([features[0], torch.ones(len(features[0]), 1, dtype=features[0].dtype)], dim=1)
    return cast(float, rule.lr) / 2 * torch.linalg.matrix_norm(inputs, 2).square().item() / len(inputs)


def _bound(estimator: Estimator, curvature: float, steps: int) -> float | None:
    try:
        return error_bound(cast(Pullback, estimator), CurvatureRange.convex([curvature] * steps))
    except TypeError:  # no bound is known of this estimator
        return None


def _head(config: Experiment, gradient: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {path: leaf for path, leaf in gradient.items() if path.startswith(f"model.{config.adapts[0]}.")}


def _norm(gradient: Mapping[str, Tensor]) -> float:
    return torch.cat([leaf.flatten() for leaf in gradient.values()]).norm().item()
