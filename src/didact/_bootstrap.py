"""An interval for a mean over rows and training seeds, when both are a sample."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_integer, check_number, invalid

Floats = NDArray[np.float64]
MOST_UNITS = 10_000


class IntervalRecord(TypedDict):
    """A mean and its interval (95 % unless the verdict's ``level`` says otherwise)."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Interval:
    """A mean over rows and seeds, and the ends of its interval."""

    mean: float
    low: float
    high: float

    def wider(self, factor: float) -> Interval:
        """Both ends so many times as far from the mean."""
        low, high = (self.mean + factor * (end - self.mean) for end in (self.low, self.high))
        return Interval(self.mean, low, high)

    def within(self, least: float, most: float) -> Interval:
        """Ends beyond what the number can be are brought back."""
        low, high = (min(max(end, least), most) for end in (self.low, self.high))
        return Interval(self.mean, low, high)

    def to_json(self) -> IntervalRecord:
        """The three numbers; one that is not finite becomes ``None``."""
        return {
            "mean": self.mean if math.isfinite(self.mean) else None,
            "low": self.low if math.isfinite(self.low) else None,
            "high": self.high if math.isfinite(self.high) else None,
        }


def paired_bootstrap(
    difference: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int,
) -> Interval:
    r"""Percentile interval of a mean, when both the rows and the training seeds are a sample.

    Each resample draws rows (or whole groups: the cluster bootstrap) and seeds with
    replacement, independently, and takes ``m* = Σ_s u_s Σ_r c_r d_sr / Σ_r c_r``, with ``c_r``
    the count of row r and ``u_s`` the share of seed s. The difference is paired: row r and seed
    s are the same in both losses, so what makes a row hard for both does not widen the interval.
    Memory is O(seeds · rows): one resample at a time, as counts.

    Resampling both ways is slightly cautious about row noise (Owen 2007), but a percentile
    interval of few seeds or groups is too narrow: it takes their variance for n/(n − 1) times
    smaller than it is, and its shape for normal. So its ends are moved away from the mean by
    ``t_ν / z · √(Σ v / Σ v (n − 1)/n)``, the sums over the two sources (seeds, groups), v the
    variance of the mean that each brings, and ν Satterthwaite's degrees of freedom of ``Σ v``. With
    one seed the interval is about rows alone.

    References:
        A. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007), 386-411.
        F. Satterthwaite, "An approximate distribution of estimates of variance components",
        Biometrics Bulletin 2 (1946), 110-114.

    Args:
        difference: ``[seeds, rows]``, finite; for example loss(baseline) − loss(candidate).
        groups: ``[rows]``, a label per row; rows of one group are drawn together.
        resamples: number of resamples.
        level: coverage aimed at, in (0, 1).
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        The mean over seeds and rows, and the interval, in the units of ``difference``.

    Raises:
        InvalidInput: a shape, a number or a non-finite difference breaks these rules.

    Example:
        >>> difference = np.random.default_rng(0).normal(0.5, 1.0, size=(3, 400))
        >>> interval = paired_bootstrap(difference, seed=0)
        >>> interval.low < 0.5 < interval.high
        True
    """
    values = matrix("difference", difference)
    index = group_index(groups, values.shape[1])
    sizes = np.bincount(index).astype(np.float64)
    sums = np.stack([np.bincount(index, row) for row in values])
    means = [
        weights @ (sums @ counts) / (sizes @ counts)
        for weights, counts in draws(len(values), len(sizes), resamples, seed)
    ]
    found = percentiles(float(values.mean()), np.array(means), level)
    return found.wider(widening(sums.astype(np.float64), sizes, level))


def widening(sums: Floats, sizes: Floats, level: float) -> float:
    """What a percentile interval of few seeds and groups lacks, as a factor.

    Args:
        sums: ``[seeds, groups]``, of the rows of each group.
        sizes: ``[groups]``, how many rows.
        level: of the interval.
    """
    from scipy.stats import norm, t

    size = np.abs(sums).max()
    if not size > 0:
        return 1.0
    sums = sums / size  # squares of tiny numbers are zero
    sources = []
    share = sizes / sizes.sum()
    of_seed, of_group = sums.sum(1) / sizes.sum(), (sums / sizes).mean(0)
    if len(of_seed) > 1:
        sources.append((float(of_seed.var(ddof=1)) / len(of_seed), len(of_seed)))
    if len(of_group) > 1:
        # Of groups of several sizes: that of a ratio of sums.
        off = (len(of_group) * share * (of_group - of_group @ share)) ** 2
        spread = float(off.sum()) / (len(of_group) - 1)
        sources.append((spread / len(of_group), len(of_group)))
    total = sum(v for v, _ in sources)
    if not total > 0:
        return 1.0
    parts = [(v / total, n) for v, n in sources]
    freedom = 1 / sum(v**2 / (n - 1) for v, n in parts)
    shrunk = sum(v * (n - 1) / n for v, n in parts)
    tail = (1 + level) / 2
    return float(t.ppf(tail, freedom) / norm.ppf(tail)) / math.sqrt(shrunk)


def draws(
    seeds: int, groups: int, resamples: int, seed: int
) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
    """Shares of the seeds (sum 1) and counts of the groups, resample by resample."""
    rng = np.random.default_rng(check_integer("seed", seed, at_least=0))
    for _ in range(check_integer("resamples", resamples)):
        picked = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds)
        yield picked / seeds, np.bincount(rng.integers(groups, size=groups), minlength=groups)


def percentiles(mean: float, drawn: Floats, level: float) -> Interval:
    """The interval of what was drawn, numbers without a definition (NaN) left out."""
    tail = (1 - check_number("level", level, above=0, below=1)) / 2
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Interval(mean, math.nan, math.nan)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def group_index(groups: ArrayLike | None, rows: int) -> NDArray[np.int64]:
    """The number of what each row is drawn with: its group, or itself.

    Of more than 10,000 groups (or rows) every 10,000th is drawn together: bundles of independent
    groups have means as independent, and of the same variance, and resamples stay small.
    """
    if groups is None:
        return np.arange(rows) % MOST_UNITS
    labels = np.asarray(groups)
    if labels.shape != (rows,):
        raise invalid("groups", f"of shape [{rows}], one label per row", labels.shape)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64) % MOST_UNITS


def matrix(parameter: str, values: ArrayLike, rows: int | None = None) -> Floats:
    """Finite float64 ``[seeds, rows]``, or a complaint that names seed and row."""
    found = np.asarray(values, np.float64)
    if found.ndim != 2 or not found.size or (rows is not None and found.shape[1] != rows):
        raise invalid(parameter, f"of shape [seeds, {rows or 'rows'}], not empty", found.shape)
    if not np.isfinite(found).all():
        where = np.argwhere(~np.isfinite(found))[0].tolist()
        raise invalid(parameter, "finite", f"{found[tuple(where)]} at [seed, row] {where}")
    return found
