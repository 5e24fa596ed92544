"""Plain training against another candidate: in each environment, in their mean, at their worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .._bootstrap import Floats, Interval, percentiles, resampled_means
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
    plain: Sequence[Floats], other: Sequence[Floats], *, level: float, resamples: int = RESAMPLES
) -> Gain:
    """Gains with intervals from resampled rows and seeds; the environments are taken as given.

    Every environment's rows and seeds are drawn by themselves, the same for both. Where there are
    few seeds its draws are moved away from their mean as in
    :func:`~didact.hindsight._bootstrap.paired_bootstrap`, by the factor of the difference; mean and
    worst are then taken draw by draw.

    Args:
        plain, other: losses ``[seeds, rows]`` of each environment.
        level: of each interval.
        resamples: how many.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> plain = [rng.uniform(0.9, 1.1, (3, 50)), rng.uniform(1.9, 2.1, (3, 40))]
        >>> gain = compare(plain, [plain[0], plain[1] / 2], level=0.95)
        >>> round(gain.mean.mean, 2), round(gain.worst.mean, 2), gain.worst.low > 0.9
        (0.5, 0.99, True)
    """
    each, gains, ones, others = [], [], [], []
    for e, (a, b) in enumerate(zip(plain, other, strict=True)):
        centre = float((a - b).mean())
        difference, factor = resampled_means(a - b, None, resamples, level, seed=e)
        of_plain, _ = resampled_means(a, None, resamples, level, seed=e)
        most = float(a.mean())  # no loss is below 0
        each.append(percentiles(centre, difference, level).wider(factor).within(-np.inf, most))
        gains.append(_wide(difference, centre, factor))
        ones.append(_wide(of_plain, most, factor))
        others.append(_wide(of_plain - difference, float(b.mean()), factor))
    losses = [float(a.mean()) for a in plain]
    mean = float(np.mean([interval.mean for interval in each]))
    worst = max(losses) - max(float(b.mean()) for b in other)
    of_worst = np.max(ones, axis=0) - np.max(others, axis=0)
    return Gain(
        tuple(each),
        percentiles(mean, np.mean(gains, axis=0), level).within(-np.inf, float(np.mean(losses))),
        percentiles(worst, of_worst, level).within(-np.inf, max(losses)),
    )


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
