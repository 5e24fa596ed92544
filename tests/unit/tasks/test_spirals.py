"""Spirals with shortcuts: geometry point by point, and what gives which class away where."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import InvalidInput
from didact.tasks import spirals


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("revolutions", [1.0, 3.0])
def test_points_lie_on_the_spiral_of_their_class(revolutions: float) -> None:
    data = spirals(60, 2, revolutions=revolutions, generator=seeded())
    scale = math.sqrt(((1 + 0.08 + 0.08**2) / 3 + 0.02**2 / 3) / 2)
    for point, y in zip(data.x[:, :2].double(), data.y.tolist(), strict=True):
        a, b = (float(v) * scale for v in point)
        radius, angle = math.hypot(a, b), math.atan2(b, a)
        # The angle tells r up to 1/revolutions; one of these is within the noise.
        turns = (angle - math.pi * y) / (2 * math.pi)
        places = [(turns + k) / revolutions for k in range(-1, 2 + math.ceil(revolutions))]
        assert min(abs(place - radius) for place in places) < 0.02 + 1e-6
        assert 0.06 < radius < 1.02


def test_coordinates_have_unit_variance() -> None:
    data = spirals(100_000, 2, shortcut_scale=1.0, generator=seeded(1))
    # A spiral's ends do not cancel: 1 is the mean over both coordinates.
    assert float(data.x[:, :2].square().mean()) == pytest.approx(1, abs=0.01)
    assert data.x[:, :2].square().mean(0).tolist() == pytest.approx([1, 1], abs=0.1)
    one_each = spirals(1, 100_000, shortcut=3, shortcut_scale=0.5, generator=seeded(2))
    assert one_each.x[:, 2:].std(0).tolist() == pytest.approx([0.5] * 3, rel=0.02)


def test_a_shortcut_gives_the_class_away_in_its_environment_alone() -> None:
    data = spirals(50, 4, shortcut=8, generator=seeded(3))
    vectors = []
    for e in range(4):
        rows = data.environment == e
        signed = data.x[rows, 2:] * (2 * data.y[rows] - 1)[:, None]
        assert bool((signed == signed[0]).all())
        vectors.append(signed[0])
    assert torch.stack(vectors).unique(dim=0).shape[0] == 4
    test = spirals(1, 20_000, shortcut=8, generator=seeded(4))
    for vector in vectors:
        right = ((test.x[:, 2:] @ vector > 0) == (test.y == 1)).double().mean()
        assert float(right) == pytest.approx(0.5, abs=0.02)


def test_the_classes_are_as_likely_and_no_line_separates_them() -> None:
    data = spirals(20_000, 1, shortcut=0, generator=seeded(5))
    assert float(data.y.double().mean()) == pytest.approx(0.5, abs=0.02)
    for angle in torch.linspace(0, math.pi, 30):
        side = data.x @ torch.stack([angle.cos(), angle.sin()]) > 0
        assert abs(float((side == (data.y == 1)).double().mean()) - 0.5) < 0.2


def test_a_seed_is_a_data_set_and_the_global_state_is_not_touched() -> None:
    before = torch.random.get_rng_state()
    first, second = (spirals(9, 3, generator=seeded(4)) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, second, strict=True))
    assert torch.random.get_rng_state().equal(before)


@given(n=st.integers(1, 20), environments=st.integers(1, 20), shortcut=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_shapes_and_types(n: int, environments: int, shortcut: int) -> None:
    data = spirals(n, environments, shortcut=shortcut, generator=seeded())
    assert data.x.shape == (n * environments, 2 + shortcut)
    assert data.x.dtype == torch.get_default_dtype()
    assert data.y.dtype == torch.int64
    assert set(data.y.tolist()) <= {0, 1}
    assert data.environment.tolist() == [e for e in range(environments) for _ in range(n)]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"n": 0}, "`n` should be a positive integer"),
        ({"environments": 0}, "`environments` should be a positive integer"),
        ({"shortcut": -1}, "`shortcut` should be an integer of at least 0"),
        ({"shortcut_scale": -1}, "`shortcut_scale` should be a finite number at least 0"),
        ({"revolutions": 0}, "`revolutions` should be a finite number above 0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        spirals(**{"n": 5, "generator": seeded(), **arguments})
