"""Anti-aliased pictures of a still world in which a few discs move."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Point = tuple[float, float]
Disc = tuple[Point, float, Colour]
"""Centre, radius, colour."""
FINE = 8
"""Points along a pixel's side: a pixel is the mean of 64."""


class Canvas:
    """Draws on a grid eight times as fine as the picture, and averages.

    Args:
        height: in pixels.
        width: in pixels.
        pixels: per unit of length.
        middle: the point of the world in the middle of the picture; y points up.
        colour: of the background.
    """

    def __init__(
        self, height: int, width: int, *, pixels: int, middle: Point, colour: Colour
    ) -> None:
        self._points = np.full((height * FINE, width * FINE, 3), colour, dtype=np.uint8)
        self._scale = pixels * FINE
        self._origin = (
            width * FINE / 2 - middle[0] * self._scale,
            height * FINE / 2 + middle[1] * self._scale,
        )

    def polygon(self, corners: Sequence[Point], colour: Colour) -> None:
        """Draw a convex polygon of the still world."""
        places = [self._place(corner) for corner in corners]
        rows, columns = self._within([(x, y, 0.0) for x, y in places], 1)
        across = np.arange(columns.start, columns.stop) + 0.5
        down = np.arange(rows.start, rows.stop)[:, None] + 0.5
        sides = np.array(
            [
                (x1 - x0) * (down - y0) - (y1 - y0) * (across - x0)
                for (x0, y0), (x1, y1) in zip(places, places[1:] + places[:1], strict=True)
            ]
        )
        self._points[rows, columns][(sides >= 0).all(0) | (sides <= 0).all(0)] = colour

    def frames(self, discs: Iterable[Sequence[Disc]]) -> NDArray[np.uint8]:
        """The world with discs on it, the later ones above the earlier.

        Args:
            discs: of each frame, at least one.

        Returns:
            ``[frames, 3, height, width]``.
        """
        still = _mean(self._points)
        pictures = []
        for frame in discs:
            places = [(*self._place(centre), radius * self._scale) for centre, radius, _ in frame]
            rows, columns = self._within(places, FINE)
            patch = self._points[rows, columns].copy()
            for (x, y, radius), (_, _, colour) in zip(places, frame, strict=True):
                across = np.arange(columns.start, columns.stop) + 0.5 - x
                down = np.arange(rows.start, rows.stop)[:, None] + 0.5 - y
                patch[across**2 + down**2 <= radius**2] = colour
            picture = still.copy()
            picture[_coarser(rows), _coarser(columns)] = _mean(patch)
            pictures.append(picture.transpose(2, 0, 1))
        return np.stack(pictures)

    def _place(self, point: Point) -> Point:
        return self._origin[0] + point[0] * self._scale, self._origin[1] - point[1] * self._scale

    def _within(
        self, places: Sequence[tuple[float, float, float]], grid: int
    ) -> tuple[slice, slice]:
        """The rows and columns that places with a radius touch, in whole cells of ``grid``."""
        spans = []
        for axis, end in ((1, self._points.shape[0]), (0, self._points.shape[1])):
            low = math.floor(min(place[axis] - place[2] for place in places) / grid) * grid
            high = math.ceil(max(place[axis] + place[2] for place in places) / grid) * grid
            spans.append(slice(min(max(low, 0), end), min(max(high, 0), end)))
        return spans[0], spans[1]


def _coarser(span: slice) -> slice:
    return slice(span.start // FINE, span.stop // FINE)


def _mean(points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = points.shape[0] // FINE, points.shape[1] // FINE
    blocks = points.reshape(height, FINE, width, FINE, 3).sum(axis=(1, 3), dtype=np.uint16)
    # Half a unit is added: rounded, not cut off.
    mean: NDArray[np.uint8] = ((blocks + FINE**2 // 2) // FINE**2).astype(np.uint8)
    return mean
