"""Schedules at points known by hand."""

import math

import pytest

from didact import InvalidInput
from didact.skips import cosine, linear, reciprocal


def test_by_hand() -> None:
    assert [linear(i, 8) for i in (0, 2, 8, 9)] == [1.0, 0.75, 0.0, 0.0]
    assert [reciprocal(i, 100) for i in (0, 20, 100, 180)] == [1.0, 1 / 2, 1 / 6, 1 / 10]
    assert [cosine(i, 4) for i in (0, 2, 4, 400)] == [1.0, 0.5, 0.0, 0.0]
    assert cosine(1, 3) == pytest.approx((1 + math.cos(math.pi / 3)) / 2)


@pytest.mark.parametrize("schedule", [linear, reciprocal, cosine])
def test_probabilities_that_fall(schedule: object) -> None:
    values = [schedule(i, 15_000) for i in range(0, 40_000, 100)]
    assert all(isinstance(value, float) and 0 <= value <= 1 for value in values)
    assert values == sorted(values, reverse=True)
    for i, over in ((-1, 10), (0.5, 10), (1, 0), (1, -3.0), (1, math.nan)):
        with pytest.raises(InvalidInput):
            schedule(i, over)
