"""Task B: what the paper's section 4.1 says, example by example."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import InvalidInput
from didact.tasks import task_b


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_logits_and_hints_by_a_loop(scale: float) -> None:
    data = task_b(40, 6, classes=3, privileged=5, logit_scale=scale, generator=seeded())
    for i in range(40):
        for c in range(3):
            h = scale * sum(float(data.weight[c, d] * data.x[i, d]) for d in range(6))
            assert float(data.h[i, c]) == pytest.approx(h, abs=1e-5)
        for p in range(5):
            mixed = sum(float(data.mixing[p, c] * data.h[i, c]) for c in range(3))
            assert float(data.x_star[i, p]) == pytest.approx(mixed, abs=1e-5)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_labels_are_draws_from_the_softmax(scale: float) -> None:
    n = 40_000
    data = task_b(n, 8, classes=3, privileged=2, logit_scale=scale, generator=seeded(1))
    p = [[math.exp(h) for h in row] for row in data.h.tolist()]
    p = [[value / sum(row) for value in row] for row in p]
    hits = [row[y] for row, y in zip(p, data.y.tolist(), strict=True)]
    # E p(y) = E Σ p², and its error is at most 1/(2√n).
    expected = sum(value * value for row in p for value in row) / n
    assert sum(hits) / n == pytest.approx(expected, abs=2.5 / math.sqrt(n))
    for c in range(3):
        share = sum(y == c for y in data.y.tolist()) / n
        assert share == pytest.approx(sum(row[c] for row in p) / n, abs=2.5 / math.sqrt(n))


def test_the_matrices_are_uniform_like_linear_layers() -> None:
    data = task_b(1, 500, classes=4, privileged=600, generator=seeded(2))
    for matrix, fan_in in ((data.weight, 500), (data.mixing, 4)):
        values = (matrix * math.sqrt(fan_in)).flatten().sort().values
        assert (values - torch.linspace(-1, 1, len(values))).abs().max() < 0.06
        assert values.abs().max() <= 1 + 1e-6


def test_the_defaults_are_the_papers() -> None:
    data = task_b(1000, generator=seeded())
    shapes = [tuple(tensor.shape) for tensor in data]
    assert shapes == [(1000, 128), (1000, 32), (1000,), (1000, 4), (4, 128), (32, 4)]


def test_the_scale_changes_the_logits_and_not_the_draws() -> None:
    plain = task_b(20, generator=seeded())
    authors = task_b(20, generator=seeded(), logit_scale=3)
    assert authors.x.equal(plain.x)
    assert torch.allclose(authors.h, 3 * plain.h)


def test_train_and_test_share_the_task_and_nothing_else() -> None:
    generator = seeded()
    train = task_b(50, generator=generator)
    test = task_b(50, generator=generator, weights=(train.weight, train.mixing))
    assert torch.allclose(test.h, test.x @ train.weight.T, atol=1e-6)
    assert torch.allclose(test.x_star, test.h @ train.mixing.T, atol=1e-6)
    assert not (test.x == train.x).any()


def test_a_seed_is_a_data_set_and_the_global_state_is_not_touched() -> None:
    before = torch.random.get_rng_state()
    first, second = (task_b(9, generator=seeded(4)) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, second, strict=True))
    assert torch.random.get_rng_state().equal(before)


@given(
    n=st.integers(1, 30),
    dimension=st.integers(1, 30),
    classes=st.integers(2, 9),
    privileged=st.integers(1, 9),
)
@settings(max_examples=40, deadline=None)
def test_shapes_and_types(n: int, dimension: int, classes: int, privileged: int) -> None:
    data = task_b(n, dimension, classes=classes, privileged=privileged, generator=seeded())
    assert data.x.shape == (n, dimension)
    assert data.x_star.shape == (n, privileged)
    assert data.h.shape == (n, classes)
    assert data.y.shape == (n,)
    assert data.y.dtype == torch.int64
    assert 0 <= int(data.y.min()) <= int(data.y.max()) < classes


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"n": 0}, "`n` should be a positive integer"),
        ({"dimension": 0}, "`dimension` should be a positive integer"),
        ({"classes": 1}, "`classes` should be an integer of at least 2"),
        ({"privileged": 0}, "`privileged` should be a positive integer"),
        ({"logit_scale": 0}, "`logit_scale` should be a finite number above 0"),
        ({"weights": (torch.zeros(4, 9), torch.zeros(32, 4))}, r"`weights\[0\]` should be"),
        ({"weights": (torch.zeros(4, 128), torch.zeros(4, 4))}, r"`weights\[1\]` should be"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        task_b(**{"n": 5, "generator": seeded(), **arguments})
