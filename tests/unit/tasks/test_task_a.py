"""Task A: what the paper's section 4.1 says, example by example."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import InvalidInput
from didact.tasks import task_a


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_label_and_hint_by_a_loop() -> None:
    data = task_a(200, 7, generator=seeded())
    for x, x_star, y in zip(data.x.tolist(), data.x_star.tolist(), data.y.tolist(), strict=True):
        h = [sum(a * b for a, b in zip(row, x, strict=True)) for row in data.weight.tolist()]
        assert y == float((h[0] > 0) != (h[1] > 0))
        assert {abs(s) for s in x_star[:2]} == {1.0}
        assert x_star[2] == pytest.approx(x_star[0] * h[0], abs=1e-5)
        assert x_star[3] == pytest.approx(x_star[1] * h[1], abs=1e-5)
        # The hint decides the label: signs times products give back the hidden numbers' signs.
        assert y == float((x_star[0] * x_star[2] > 0) != (x_star[1] * x_star[3] > 0))


def test_the_distributions() -> None:
    n, dimension = 20_000, 16
    data = task_a(n, dimension, generator=seeded(1))
    assert data.x.mean(0).abs().max() < 5 / math.sqrt(n)
    covariance = data.x.T @ data.x / n
    assert (covariance - torch.eye(dimension)).abs().max() < 0.06
    # Four combinations of signs, each a quarter, whatever the label.
    for first in (-1, 1):
        for second in (-1, 1):
            share = (data.x_star[:, :2] == torch.tensor([first, second])).all(1).float().mean()
            assert abs(share - 0.25) < 0.02
    correlation = torch.corrcoef(torch.cat([data.x_star.T, data.y[None]]))[-1, :-1]
    assert correlation.abs().max() < 0.03


def test_the_weight_is_uniform_like_a_linear_layer() -> None:
    dimension = 2_000
    weight = task_a(1, dimension, generator=seeded(2)).weight * math.sqrt(dimension)
    quantiles = weight.flatten().sort().values
    expected = torch.linspace(-1, 1, 2 * dimension)
    assert (quantiles - expected).abs().max() < 0.06
    assert weight.abs().max() <= 1


def test_train_and_test_share_the_task_and_nothing_else() -> None:
    generator = seeded()
    train = task_a(50, 8, generator=generator)
    test = task_a(50, 8, generator=generator, weight=train.weight)
    assert test.weight is train.weight
    assert not (test.x == train.x).any()
    assert ((test.x @ train.weight.T > 0).sum(1) == 1).float().equal(test.y)


def test_a_seed_is_a_data_set_and_the_global_state_is_not_touched() -> None:
    before = torch.random.get_rng_state()
    first, second = (task_a(9, 5, generator=seeded(4)) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, second, strict=True))
    assert not task_a(9, 5, generator=seeded(5)).x.equal(first.x)
    assert torch.random.get_rng_state().equal(before)


@given(n=st.integers(1, 40), dimension=st.integers(1, 40), seed=st.integers(0, 2**60))
@settings(max_examples=40, deadline=None)
def test_shapes_and_types(n: int, dimension: int, seed: int) -> None:
    data = task_a(n, dimension, generator=seeded(seed))
    shapes = [tuple(tensor.shape) for tensor in data]
    assert shapes == [(n, dimension), (n, 4), (n,), (2, dimension)]
    assert {tensor.dtype for tensor in data} == {torch.float32}
    assert set(data.y.tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"n": 0}, r"`n` should be a positive integer\. Found 0"),
        ({"dimension": 2.0}, r"`dimension` should be a positive integer\. Found 2\.0"),
        ({"weight": torch.zeros(3, 4)}, r"`weight` should be a tensor of shape \(2, 4\)"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        task_a(**{"n": 5, "dimension": 4, "generator": seeded(), **arguments})
