"""Pictures: pixel by pixel the mean of what is at 64 points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact.tasks._canvas import Canvas

SEEN = {"pixels": 3, "middle": (1.0, -2.0), "colour": (200, 100, 0)}


def _points(row: int, column: int, height: int, width: int) -> list[tuple[float, float]]:
    """The world's coordinates of the 64 points of a pixel."""
    return [
        (
            1.0 + (column + (b + 0.5) / 8 - width / 2) / 3,
            -2.0 - (row + (a + 0.5) / 8 - height / 2) / 3,
        )
        for a in range(8)
        for b in range(8)
    ]


@given(
    angles=st.lists(st.floats(0, 6.28), min_size=3, max_size=6, unique=True),
    middle=st.tuples(st.floats(0, 2), st.floats(-3, -1)),
    places=st.lists(st.tuples(st.floats(-1, 3), st.floats(-4, 0)), min_size=1, max_size=3),
    turned=st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_every_pixel_is_the_mean_of_its_points(
    angles: list[float],
    middle: tuple[float, float],
    places: list[tuple[float, float]],
    turned: bool,
) -> None:
    corners = [
        (middle[0] + 0.8 * math.cos(a), middle[1] + 0.5 * math.sin(a))
        for a in sorted(angles, reverse=turned)
    ]
    canvas = Canvas(5, 4, **SEEN)
    canvas.polygons([corners, [(x + 9.0, y) for x, y in corners]], (0, 0, 0))
    discs = [(place, 0.4 - 0.1 * k, (10 * k, 200, 30)) for k, place in enumerate(places)]
    (frame,) = canvas.frames([discs])
    for row in range(5):
        for column in range(4):
            total = np.zeros(3)
            slack = 0
            for x, y in _points(row, column, 5, 4):
                # Nearest edge and on which side of each: a literal half-plane test.
                sides = [
                    (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
                    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True)
                ]
                colour = (200, 100, 0)
                if all(s >= 0 for s in sides) or all(s <= 0 for s in sides):
                    colour = (0, 0, 0)
                slack += min(map(abs, sides)) < 1e-9
                for place, radius, paint in discs:
                    if math.dist(place, (x, y)) <= radius:
                        colour = paint
                    slack += abs(math.dist(place, (x, y)) - radius) < 1e-9
                total += colour
            assert np.abs(frame[:, row, column] - total / 64).max() <= 0.5 + 4 * slack


def test_a_wall_of_half_a_pixel_is_half_as_dark() -> None:
    canvas = Canvas(4, 4, pixels=4, middle=(0.5, 0.5), colour=(255, 255, 255))
    canvas.polygons([[(0.25, 0.0), (0.375, 0.0), (0.375, 1.0), (0.25, 1.0)]], (0, 0, 0))
    (frame,) = canvas.frames([[((9.0, 9.0), 0.1, (255, 0, 0))]])
    assert frame[0].tolist() == [[255, 128, 255, 255]] * 4


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.99, 0.03), (-5.0, 0.5), (3.0, 3.0)])
def test_a_disc_leaves_no_mark_on_the_next_frame(place: tuple[float, float]) -> None:
    canvas = Canvas(8, 8, pixels=8, middle=(0.5, 0.5), colour=(255, 255, 255))
    away = [((50.0, 50.0), 0.2, (0, 0, 255))]
    first, second = canvas.frames([[(place, 0.2, (0, 0, 255))], away])
    assert (second == 255).all()
    # Blue is what it was; the red that is missing is the disc's area within the picture.
    inside = np.mean(
        [
            math.dist(place, ((b + 0.5) / 64, (a + 0.5) / 64)) <= 0.2
            for a in range(64)
            for b in range(64)
        ]
    )
    assert (first[2] == 255).all()
    assert 1 - first[0].mean() / 255 == pytest.approx(inside, abs=0.002)
