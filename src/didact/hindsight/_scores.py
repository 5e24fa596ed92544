"""Metrics per seed, and their intervals, from predictions of test rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._bootstrap import Floats, Interval, draws, group_index, matrix, percentiles, widening
from .._checks import invalid

SMALLEST_PROBABILITY = 1e-12
RANGES = {"accuracy": (0.0, 1.0), "auc": (0.0, 1.0), "r2": (-math.inf, 1.0)}
"""Metric → its least and largest value; all others are losses, from 0 on."""


def scores(
    label: ArrayLike,
    *,
    probability: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    nll: ArrayLike | None = None,
    counts: ArrayLike | None = None,
) -> dict[str, Floats]:
    """Metrics per seed, from the predictions of a classifier or of a regressor.

    - Classes (``probability``): ``log_loss`` = mean −log p(label), in nats, with p at least
      1e-12; ``accuracy``; and for two classes ``auc``, the chance that a random row of class 1
      has a higher p(class 1) than a random row of class 0, ties counting one half.
    - Numbers (``prediction``): ``squared_error``, its mean in squared units of the label;
      ``rmse`` and ``mae`` in its units; ``r2`` = 1 − squared error / variance; and if ``nll`` is
      given, ``log_loss`` = its mean (the loss of the binned label).

    A metric without a definition (``auc`` of one class, ``r2`` of equal labels) is NaN.

    Args:
        label: ``[rows]``: class numbers from 0, or numbers.
        probability: ``[seeds, rows, classes]``. Give this or ``prediction``.
        prediction: ``[seeds, rows]``.
        nll: ``[seeds, rows]``, −log probability of the label's bin; with ``prediction`` only.
        counts: ``[rows]``, how often each row counts (default: once); for resampling.

    Returns:
        Metric name → ``[seeds]``, first the loss by which candidates are compared.

    Raises:
        InvalidInput: shapes do not agree, or not exactly one kind of prediction is given.

    Example:
        >>> scores([0, 1, 1], probability=[[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]])["auc"]
        array([1.])
        >>> scores([1.0, 3.0], prediction=[[2.0, 3.0]])["mae"]
        array([0.5])
    """
    if (probability is None) == (prediction is None) or (nll is not None and prediction is None):
        raise invalid("probability", "given, or `prediction` (with or without `nll`)", probability)
    y = np.asarray(label, np.float64)
    if y.ndim != 1 or not len(y) or not np.isfinite(y).all():
        raise invalid("label", "finite numbers of shape [rows], at least one", label)
    weight = np.ones(len(y)) if counts is None else np.asarray(counts, np.float64)
    if weight.shape != y.shape or not weight.sum() > 0:
        raise invalid("counts", f"of shape [{len(y)}] with a positive sum", weight.shape)
    given = {"probability": probability, "prediction": prediction, "nll": nll}
    return _weighted(_units(y, np.arange(len(y)), **given), weight)


@dataclass(frozen=True)
class _Units:
    """What the metrics of any resample are made of, summed over what is drawn together.

    ``sizes``: rows of each unit; ``sums``: metric → ``[seeds, units]``; of a regression
    ``moments``: of the label less its mean, first and second, ``[2, units]``. An AUC is no sum:
    ``index``: the unit of each row, ``ranks``: its place among the distinct scores, by seed.
    """

    sizes: Floats
    sums: dict[str, Floats]
    moments: Floats | None
    index: NDArray[np.int64]
    ranks: list[NDArray[np.int64]]
    positive: NDArray[np.bool_]


def _units(
    y: Floats,
    index: NDArray[np.int64],
    *,
    probability: ArrayLike | None,
    prediction: ArrayLike | None,
    nll: ArrayLike | None,
) -> _Units:
    ranks: list[NDArray[np.int64]] = []
    moments: Floats | None = None
    if prediction is not None:
        error = matrix("prediction", prediction, len(y)) - y
        rows = {"squared_error": error**2, "mae": np.abs(error)}
        if nll is not None:
            rows["log_loss"] = matrix("nll", nll, len(y))
        centred = y - y.mean()
        moments = _summed(index, np.stack([centred, centred**2]))
    else:
        p = np.asarray(probability, np.float64)
        if p.ndim != 3 or p.shape[1] != len(y) or not np.isfinite(p).all():
            rule = f"finite, of shape [seeds, {len(y)}, classes]"
            raise invalid("probability", rule, probability)
        if not np.isin(y, np.arange(p.shape[2])).all():
            raise invalid("label", f"class numbers from 0 to {p.shape[2] - 1}", y)
        of_label = np.take_along_axis(p, y.astype(np.int64)[None, :, None], axis=2)[..., 0]
        rows = {
            "log_loss": -np.log(np.maximum(of_label, SMALLEST_PROBABILITY)),
            "accuracy": (p.argmax(axis=2) == y).astype(np.float64),
        }
        if p.shape[2] == 2:
            ranks = [np.unique(row, return_inverse=True)[1] for row in p[..., 1]]
    sums = {name: _summed(index, values) for name, values in rows.items()}
    sizes = np.bincount(index).astype(np.float64)
    return _Units(sizes, sums, moments, index, ranks, y == 1)


def _summed(index: NDArray[np.int64], rows: Floats) -> Floats:
    """``[k, rows]`` → ``[k, units]``."""
    found: Floats = np.stack([np.bincount(index, row) for row in rows])
    return found


def _weighted(found: _Units, counts: Floats) -> dict[str, Floats]:
    """Metrics per seed where each unit counts so often."""
    total = found.sizes @ counts
    metrics = {name: sums @ counts / total for name, sums in found.sums.items()}
    if found.moments is not None:
        mse = metrics["squared_error"]
        mean, square = found.moments @ counts / total
        spread = square - mean**2
        defined = spread > 1e-12 * square  # the rest of a difference of equals is not a spread
        r2 = 1 - mse / spread if defined else np.full(len(mse), np.nan)
        first = {"squared_error": mse, "rmse": np.sqrt(mse), "mae": metrics["mae"], "r2": r2}
        return {**first, **metrics}
    if found.ranks:
        weight = counts[found.index]
        metrics["auc"] = np.array([_auc(rank, found.positive, weight) for rank in found.ranks])
    return metrics


@dataclass(frozen=True)
class Resampled:
    """A metric averaged over seeds, and what it is on resamples, ``[resamples]``.

    ``factor``: what their percentiles lack (:func:`~._bootstrap.widening`).
    """

    mean: float
    drawn: Floats
    factor: float


def score_intervals(
    label: ArrayLike,
    *,
    probability: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    nll: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    resamples: int = 500,
    level: float = 0.95,
    seed: int,
) -> dict[str, Interval]:
    """:func:`scores` averaged over seeds, each with the interval of :func:`paired_bootstrap`.

    A metric that is no mean over rows (``rmse``, ``r2``, ``auc``) is computed anew on every
    resample; resamples in which it has no definition are left out, and its interval is widened as
    that of the first metric. No interval leaves the range of its metric.

    Args:
        label, probability, prediction, nll: as in :func:`scores`.
        groups, resamples, level, seed: as in :func:`paired_bootstrap`.

    Returns:
        Metric name → interval, in the units of the metric; NaN where there is no definition.

    Raises:
        InvalidInput: as in these two functions.

    Example:
        >>> y = np.arange(50.0)
        >>> score_intervals(y, prediction=[y + 2.0], seed=0)["rmse"]
        Interval(mean=2.0, low=2.0, high=2.0)
    """
    given: dict[str, Any] = {"probability": probability, "prediction": prediction, "nll": nll}
    found = resampled(label, given, groups, resamples, level, seed)
    return {
        name: percentiles(metric.mean, metric.drawn, level)
        .wider(metric.factor)
        .within(*RANGES.get(name, (0.0, math.inf)))
        for name, metric in found.items()
    }


def resampled(
    label: ArrayLike,
    given: dict[str, Any],
    groups: ArrayLike | None,
    resamples: int,
    level: float,
    seed: int,
) -> dict[str, Resampled]:
    """What :func:`score_intervals` makes intervals of; ``given``: its predictions."""
    whole = scores(label, **given)
    n_seeds = len(next(iter(whole.values())))
    y = np.asarray(label, np.float64)
    index = group_index(groups, len(y))
    units = _units(y, index, **{"probability": None, "prediction": None, "nll": None, **given})
    drawn: dict[str, list[float]] = {name: [] for name in whole}
    for weights, counts in draws(n_seeds, int(index.max()) + 1, resamples, seed):
        for name, values in _weighted(units, counts.astype(np.float64)).items():
            drawn[name].append(float(weights @ values))
    lacking = {name: widening(sums, units.sizes, level) for name, sums in units.sums.items()}
    first = next(iter(whole))  # a mean over rows, like all that are in `lacking`
    return {
        name: Resampled(
            float(whole[name].mean()), np.array(values), lacking.get(name, lacking[first])
        )
        for name, values in drawn.items()
    }


def _auc(rank: NDArray[np.int64], positive: NDArray[np.bool_], weight: Floats) -> float:
    """Σ over distinct scores of positives there × (negatives below + half of those there)."""
    above = np.bincount(rank, weight * positive)
    below = np.bincount(rank, weight * ~positive)
    pairs = above.sum() * below.sum()
    if pairs == 0:
        return math.nan
    return float(above @ (np.cumsum(below) - below / 2) / pairs)
