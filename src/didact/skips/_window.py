"""Which frames a prediction may be matched with, and one of them drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ._given import Given, Indices

Place = NDArray[np.float32]


def bounds(
    given: Given, rows: Indices, at: Indices, last: Indices, shortest: int, horizon: int
) -> tuple[Indices, Indices]:
    """First and last frame of the windows of trajectories that have reached ``at``, ``[n]`` each.

    ``t + shortest .. t + horizon``, both clipped to the trajectory's own last frame. Where frames
    are missing a window begins at the first that is there, and if that lies beyond, it is that one.
    """
    low: Indices = np.minimum(at + shortest, last)
    high: Indices = np.minimum(at + horizon, last)
    if given.next is not None:
        low = given.next[rows, low]
        high = np.maximum(low, high)
    return low, high


def columns(low: Indices, high: Indices, width: int) -> Indices:
    """The frames of each window, ``[n, W]``; the last again where a window is shorter."""
    frames: Indices = np.minimum(low[:, None] + np.arange(width), high[:, None])
    return frames


def nearest(
    given: Given, rows: Indices, low: Indices, high: Indices, frames: Indices, costs: Tensor
) -> Indices:
    """The frame of least cost ``[n, W]``, the first of equals: ``[n]``."""
    if given.observed is None:
        found = costs.argmin(1).cpu().numpy()
    else:
        seen = given.observed[rows[:, None], frames]
        found = np.where(seen, costs.cpu().numpy(), np.inf).argmin(1)
    nearest: Indices = np.minimum(low + found, high)
    return nearest


def drawn(
    given: Given, rows: Indices, low: Indices, high: Indices, frames: Indices, place: Place
) -> Indices:
    """A frame of each window, each as likely: the one at ``place`` ∈ [0, 1) of those observed."""
    if given.observed is None:
        return low + (place * (high - low + 1)).astype(np.int64)
    inside = low[:, None] + np.arange(frames.shape[1]) <= high[:, None]
    rank = (given.observed[rows[:, None], frames] & inside).cumsum(1)
    number = (place * rank[:, -1]).astype(np.int64) + 1
    found: Indices = low + (rank >= number[:, None]).argmax(1)
    return found
