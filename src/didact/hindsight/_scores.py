"""Metrics per seed, and their intervals, from predictions of test rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import invalid
from ._bootstrap import Floats, Interval, draws, group_index, matrix, percentiles

SMALLEST_PROBABILITY = 1e-12


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
    total = weight.sum()
    if prediction is not None:
        error = matrix("prediction", prediction, len(y)) - y
        mse, spread = error**2 @ weight / total, (y - y @ weight / total) ** 2 @ weight / total
        r2 = 1 - mse / spread if spread > 0 else np.full(len(mse), np.nan)
        found = {
            "squared_error": mse,
            "rmse": np.sqrt(mse),
            "mae": np.abs(error) @ weight / total,
            "r2": r2,
        }
        if nll is not None:
            found["log_loss"] = matrix("nll", nll, len(y)) @ weight / total
        return found
    p = np.asarray(probability, np.float64)
    if p.ndim != 3 or p.shape[1] != len(y) or not np.isfinite(p).all():
        raise invalid("probability", f"finite, of shape [seeds, {len(y)}, classes]", probability)
    if not np.isin(y, np.arange(p.shape[2])).all():
        raise invalid("label", f"class numbers from 0 to {p.shape[2] - 1}", label)
    of_label = np.take_along_axis(p, y.astype(np.int64)[None, :, None], axis=2)[..., 0]
    found = {
        "log_loss": -np.log(np.maximum(of_label, SMALLEST_PROBABILITY)) @ weight / total,
        "accuracy": (p.argmax(axis=2) == y) @ weight / total,
    }
    if p.shape[2] == 2:
        found["auc"] = np.array([_auc(row, y == 1, weight) for row in p[..., 1]])
    return found


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
    resample; resamples in which it has no definition are left out.

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
    whole = scores(label, **given)
    n_seeds = len(next(iter(whole.values())))
    index = group_index(groups, len(np.asarray(label)))
    drawn: dict[str, list[float]] = {name: [] for name in whole}
    for weights, counts in draws(n_seeds, int(index.max()) + 1, resamples, seed):
        for name, values in scores(label, **given, counts=counts[index]).items():
            drawn[name].append(float(weights @ values))
    return {
        name: percentiles(float(whole[name].mean()), np.array(values), level)
        for name, values in drawn.items()
    }


def _auc(score: Floats, positive: NDArray[np.bool_], weight: Floats) -> float:
    """Σ over distinct scores of positives there × (negatives below + half of those there)."""
    _, rank = np.unique(score, return_inverse=True)
    above = np.bincount(rank, weight * positive)
    below = np.bincount(rank, weight * ~positive)
    pairs = above.sum() * below.sum()
    if pairs == 0:
        return math.nan
    return float(above @ (np.cumsum(below) - below / 2) / pairs)
