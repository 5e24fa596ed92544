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

    def polygons(self, shapes: Sequence[Sequence[Point]], colour: Colour) -> None:
        """Draw convex polygons of the still world, all with the same number of corners."""
        corners = np.array([[self._place(corner) for corner in shape] for shape in shapes])
        low = np.floor(corners.min(1)).astype(np.int64)
        size = np.ceil(corners.max(1)).astype(np.int64) - low
        columns = low[:, :1] + np.arange(size[:, 0].max())
        rows = low[:, 1:] + np.arange(size[:, 1].max())
        # [shape, row, column, side]: on which side of which side of a polygon a point is.
        x, y = corners[:, None, None, :, 0], corners[:, None, None, :, 1]
        to_x, to_y = np.roll(x, -1, axis=-1), np.roll(y, -1, axis=-1)
        across, down = columns[:, None, :, None] + 0.5 - x, rows[:, :, None, None] + 0.5 - y
        side = (to_x - x) * down - (to_y - y) * across
        # Corners may be given in either direction.
        which, row, column = ((side >= 0).all(-1) | (side <= 0).all(-1)).nonzero()
        row, column = rows[which, row], columns[which, column]
        height, width, _ = self._points.shape
        seen = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        self._points[row[seen], column[seen]] = colour

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
            rows, columns = self._around(places)
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

    def _around(self, places: Sequence[tuple[float, float, float]]) -> tuple[slice, slice]:
        """The rows and columns that discs (x, y, radius) touch, in whole pixels."""
        spans = []
        for axis, end in ((1, self._points.shape[0]), (0, self._points.shape[1])):
            low = math.floor(min(place[axis] - place[2] for place in places) / FINE) * FINE
            high = math.ceil(max(place[axis] + place[2] for place in places) / FINE) * FINE
            spans.append(slice(min(max(low, 0), end), min(max(high, 0), end)))
        return spans[0], spans[1]


def _coarser(span: slice) -> slice:
    return slice(span.start // FINE, span.stop // FINE)


def _mean(points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = points.shape[0] // FINE, points.shape[1] // FINE
    rows = points.reshape(height, FINE, width * FINE * 3).sum(axis=1, dtype=np.uint16)
    blocks = rows.reshape(height, width, FINE, 3).sum(axis=2, dtype=np.uint16)
    # Half a unit is added: rounded, not cut off.
    mean: NDArray[np.uint8] = ((blocks + FINE**2 // 2) // FINE**2).astype(np.uint8)
    return mean
