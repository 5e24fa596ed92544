"""S students at once are S unrolls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from didact.unroll import SGD, Adam, AdamW, functional

from ._asserts import (
    assert_matches_finite_differences,
    assert_vmap_matches_single_runs,
    run_unroll,
)
from ._oracle import Case, mlp_loss, randn, tensor

S, N = 3, 5
LR = torch.tensor([0.05, 0.1, 0.2], dtype=torch.float64)
RULES: dict[str, Any] = {
    "sgd": SGD(0.1),
    "sgd per seed": SGD(LR, momentum=LR + 0.6, weight_decay=tensor(0.1)),
    "adam": Adam(tensor(0.05)),
    "adam per seed": Adam(LR, betas=(LR + 0.5, LR + 0.7), eps=LR / 10, weight_decay=LR),
    "adamw per seed": AdamW(LR, weight_decay=LR),
}
VMAP = {"vmap": True}


def mlp_seeds(optimizer: Any) -> Case:
    theta = {"w1": randn(S, 3, 4), "b1": randn(S, 4, seed=1), "w2": randn(S, 4, 2, seed=2)}
    batches, targets = randn(N, S, 5, 3, seed=3), randn(N, S, 5, 4, seed=4)
    return Case(mlp_loss, theta, batches, targets, optimizer, options=VMAP)


@pytest.mark.parametrize("rule", RULES)
def test_mlp(rule: str) -> None:
    assert_vmap_matches_single_runs(mlp_seeds(RULES[rule]))


@pytest.mark.parametrize("rule", ["sgd per seed", "adam per seed"])
def test_batch_norm_with_buffers(rule: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh()).double()
    one, buffers, call = functional(module)

    def loss(theta, buffers, batch, target):
        out, buffers = call(theta, buffers, batch)
        return (out - target).square().mean(), buffers

    theta = {k: torch.stack([p + 0.3 * randn(*p.shape, seed=s) for s in range(S)])
             for k, p in one.items()}  # fmt: skip
    many = {k: torch.stack([b] * S) for k, b in buffers.items()}
    batches, targets = randn(N, S, 5, 3, seed=3), randn(N, S, 5, 4, seed=4)
    case = Case(loss, theta, batches, targets, RULES[rule], many, options=VMAP)
    assert_vmap_matches_single_runs(case)


def test_weight_norm() -> None:
    module = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)).double()
    one, _, call = functional(module)

    def loss(theta, batch, target):
        return (call(theta, {}, batch)[0].tanh() - target).square().mean()

    theta = {k: p + 0.3 * randn(S, *p.shape) for k, p in one.items()}
    batches, targets = randn(N, S, 5, 3, seed=3), randn(N, S, 5, 4, seed=4)
    assert_vmap_matches_single_runs(Case(loss, theta, batches, targets, SGD(0.3), options=VMAP))


def test_nested_inputs_with_none_and_integers() -> None:
    def loss(theta, batch, target):
        assert batch[1] is None
        assert target is None
        logits = batch[0]["x"] @ theta["w"]
        return nn.functional.cross_entropy(logits.tanh() * 3, batch[0]["y"])

    labels = torch.randint(0, 2, (N, S, 5), generator=torch.Generator().manual_seed(0))
    batches = ({"x": randn(N, S, 5, 3), "y": labels}, None)
    case = Case(loss, {"w": randn(S, 3, 2)}, batches, None, SGD(LR), options=VMAP)
    assert_vmap_matches_single_runs(case)


def test_dropout_differs_by_seed_and_is_replayed() -> None:
    def loss(theta, batch, target):
        hidden = nn.functional.dropout(batch @ theta["w"], 0.4)
        return (hidden.tanh() - target).square().mean()

    theta = {"w": randn(1, 3, 4).repeat(S, 1, 1)}
    batches, targets = randn(N, 1, 5, 3).repeat(1, S, 1, 1), randn(N, 1, 5, 4).repeat(1, S, 1, 1)
    case = Case(loss, theta, batches, targets, SGD(LR[0], momentum=tensor(0.5)), options=VMAP)
    assert_matches_finite_differences(case)
    after = run_unroll(case)[0]["w"]
    assert not torch.equal(after[0], after[1])
