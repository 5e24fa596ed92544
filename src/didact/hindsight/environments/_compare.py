"""Plain training against another candidate: in each environment, in their mean, at their worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..._bootstrap import Floats, Interval, draws, group_index, percentiles, widening
from .._scores import RANGES, Resampled

RESAMPLES = 4000


@dataclass(frozen=True)
class Gain:
    """Loss of plain training less that of a candidate: positive is good.

    ``worst``: the loss of plain training in its worst environment less that of the candidate in its
    own worst.
    """

    environments: tuple[Interval, ...]
    mean: Interval
    worst: Interval


def compare(
    losses: Mapping[str, Sequence[Floats]],
    *,
    to: str,
    level: float,
    resamples: int = RESAMPLES,
) -> dict[str, Gain]:
    """Gains on one candidate, with intervals from resampled rows and seeds.

    The environments are taken as given; the rows and seeds of each are drawn by themselves, the
    same for all candidates. Where there are few seeds the draws are moved away from their mean as
    in :func:`~didact._bootstrap.paired_bootstrap`, by the factor of the difference; mean
    and worst are then taken draw by draw.

    Args:
        losses: candidate → losses ``[seeds, rows]`` of each environment.
        to: whom the others are compared with, plain training.
        level: of each interval.
        resamples: how many.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> plain = [rng.uniform(0.9, 1.1, (3, 50)), rng.uniform(1.9, 2.1, (3, 40))]
        >>> losses = {"plain": plain, "half": [plain[0], plain[1] / 2]}
        >>> gain = compare(losses, to="plain", level=0.95)["half"]
        >>> round(gain.mean.mean, 2), round(gain.worst.mean, 2), gain.worst.low > 0.9
        (0.5, 1.0, True)
    """
    names = [to, *(name for name in losses if name != to)]
    each: dict[str, list[Interval]] = {name: [] for name in names}
    gains: dict[str, list[Floats]] = {name: [] for name in names}
    ours: dict[str, list[Floats]] = {name: [] for name in names}
    theirs: dict[str, list[Floats]] = {name: [] for name in names}
    for e in range(len(losses[to])):
        stacked = np.stack([losses[name][e] for name in names])
        means, drawn = stacked.mean((1, 2)), _drawn(stacked, resamples, seed=e)
        for k, name in enumerate(names):
            factor = _factor(stacked[0] - stacked[k], level)
            gains[name].append(_wide(drawn[0] - drawn[k], means[0] - means[k], factor))
            theirs[name].append(_wide(drawn[0], means[0], factor))
            ours[name].append(_wide(drawn[k], means[k], factor))
            each[name].append(_interval(means[0] - means[k], gains[name][-1], means[0], level))
    whole = {name: [float(loss.mean()) for loss in losses[name]] for name in names}
    mean = {name: float(np.mean(of)) for name, of in whole.items()}
    worst = {name: max(of) for name, of in whole.items()}
    return {
        name: Gain(
            tuple(each[name]),
            _interval(mean[to] - mean[name], np.mean(gains[name], axis=0), mean[to], level),
            _interval(
                worst[to] - worst[name],
                np.max(theirs[name], axis=0) - np.max(ours[name], axis=0),
                worst[to],
                level,
            ),
        )
        for name in names[1:]
    }


def _drawn(losses: Floats, resamples: int, seed: int) -> Floats:
    """Means of ``[candidates, seeds, rows]`` on resamples, ``[candidates, resamples]``."""
    index = group_index(None, losses.shape[2])
    sizes = np.bincount(index).astype(np.float64)
    sums = np.stack([[np.bincount(index, row) for row in of] for of in losses])
    return np.stack(
        [
            (sums @ counts) @ weights / (sizes @ counts)
            for weights, counts in draws(losses.shape[1], len(sizes), resamples, seed)
        ],
        axis=1,
    )


def _factor(difference: Floats, level: float) -> float:
    index = group_index(None, difference.shape[1])
    sums = np.stack([np.bincount(index, row) for row in difference]).astype(np.float64)
    return widening(sums, np.bincount(index).astype(np.float64), level)


def _interval(centre: float, drawn: Floats, most: float, level: float) -> Interval:
    """No gain is larger than the loss that there was."""
    return percentiles(float(centre), drawn, level).within(-np.inf, most)


def summary(
    found: Mapping[str, Sequence[Resampled]], level: float = 0.95
) -> tuple[dict[str, Interval], dict[str, tuple[int, Interval]]]:
    """Each metric's mean over environments; and the worst of them, with its number.

    Environments in which a metric has no definition are left out of it.

    Args:
        found: metric → what it is in each environment.
        level: of the intervals.
    """
    means, worst = {}, {}
    for name, of in found.items():
        known = [e for e, metric in enumerate(of) if np.isfinite(metric.mean)]
        if not known:
            continue
        wide = np.array([_wide(of[e].drawn, of[e].mean, of[e].factor) for e in known])
        sign = -1 if name in RANGES else 1  # of which less is worse
        least, most = RANGES.get(name, (0.0, np.inf))
        centre = float(np.mean([of[e].mean for e in known]))
        means[name] = percentiles(centre, wide.mean(0), level).within(least, most)
        lowest = max(known, key=lambda e: sign * of[e].mean)
        drawn = sign * (sign * wide).max(0)
        worst[name] = lowest, percentiles(of[lowest].mean, drawn, level).within(least, most)
    return means, worst


def _wide(drawn: Floats, centre: float, factor: float) -> Floats:
    return centre + factor * (drawn - centre)
