"""Which settings, and how many epochs: from the losses of environments that were held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._metrics import PATIENCE
from .._train import LEAST_IMPROVEMENT

Curve = Sequence[float | None]
"""Loss by epoch; None where it was not finite."""


def ended(curve: Curve, patience: int) -> int | None:
    """After how many epochs a curve had gone ``patience`` without a gain of 0.1 %; None: not yet.

    >>> ended([3.0, 2.0, 2.5, 1.9999, 1.0], patience=2), ended([3.0, 2.0, 1.0], patience=2)
    (4, None)
    """
    mark, last = math.inf, 0
    for epoch, value in enumerate(curve, start=1):
        if value is not None and value < mark * (1 - LEAST_IMPROVEMENT):
            mark, last = value, epoch
        if epoch - last >= patience:
            return epoch
    return None


@dataclass(frozen=True)
class Chosen:
    """Epochs (from 1) and the mean loss on what was held out, infinite where there is none."""

    epochs: int
    loss: float
    cut_short: int


def choose(
    curves: Sequence[Curve], weights: Sequence[float], *, patience: int, budget: int
) -> Chosen:
    """The epoch at which the mean over what was held out is least.

    Each curve ends where its own patience does, whatever else its run was judged on, so that a
    choice knows nothing of the part that it leaves out. A curve that ended before others keeps its
    last value.

    Args:
        curves: one for each part that was held out; empty where a run diverged.
        weights: of the parts, such as their numbers of environments.
        patience: epochs without a gain.
        budget: of epochs; a curve that it ended is cut short.

    Example:
        >>> choose([[3.0, 1.0, 2.0], [3.0, 2.0, 1.5]], [1, 1], patience=9, budget=9)
        Chosen(epochs=2, loss=1.5, cut_short=0)
    """
    if not all(curves):
        return Chosen(1, math.inf, 0)
    cut = [curve[: ended(curve, patience)] for curve in curves]
    longest = max(map(len, cut))
    padded = [[*curve, *[curve[-1]] * (longest - len(curve))] for curve in cut]
    values = np.array([[math.inf if v is None else v for v in curve] for curve in padded])
    mean = np.average(values, axis=0, weights=list(weights))
    best = int(np.argmin(mean))
    short = sum(
        len(curve) == budget and ended(curve, min(patience, PATIENCE)) is None for curve in cut
    )
    return Chosen(best + 1, float(mean[best]), short)
