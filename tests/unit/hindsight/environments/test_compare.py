"""Gains and summaries against counts by hand, and what their intervals are worth."""

import numpy as np
import pytest

from didact._bootstrap import paired_bootstrap
from didact.hindsight._scores import resampled
from didact.hindsight.environments._compare import Gain, compare, summary


def _losses(seed: int, seeds: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.gamma(2.0, 0.3 + 0.2 * e, size=(seeds, 40 + 10 * e)) for e in range(3)]


def _compare(plain: list[np.ndarray], other: list[np.ndarray], **options: float) -> Gain:
    return compare({"other": other, "plain": plain}, to="plain", **options)["other"]  # type: ignore[arg-type]


def test_means_are_those_of_rows_and_the_worst_is_each_ones_own() -> None:
    plain, other = _losses(0), _losses(1)
    other[0] = other[0] + 5  # the worst of the other is its first, that of plain its last
    gain = _compare(plain, other, level=0.95, resamples=200)
    means = [float(a.mean() - b.mean()) for a, b in zip(plain, other, strict=True)]
    assert [interval.mean for interval in gain.environments] == pytest.approx(means)
    assert gain.mean.mean == pytest.approx(np.mean(means))
    assert gain.worst.mean == pytest.approx(plain[2].mean() - other[0].mean())
    assert gain.worst.low < gain.worst.mean < gain.worst.high


def test_in_one_environment_it_is_the_paired_bootstrap() -> None:
    plain, other = _losses(0)[:1], _losses(1)[:1]
    gain = _compare(plain, other, level=0.9, resamples=300)
    alone = paired_bootstrap(plain[0] - other[0], resamples=300, level=0.9, seed=0)
    for found in (gain.environments[0], gain.mean, gain.worst):
        assert (found.mean, found.low, found.high) == pytest.approx(
            (alone.mean, alone.low, alone.high)
        )


def test_every_candidate_has_the_draws_that_it_has_alone() -> None:
    plain, one, two = _losses(0), _losses(1), _losses(2)
    both = compare({"a": one, "plain": plain, "b": two}, to="plain", level=0.95, resamples=50)
    assert list(both) == ["a", "b"]
    assert both["b"] == _compare(plain, two, level=0.95, resamples=50)


def test_equals_have_no_gain_and_nobody_gains_more_than_all() -> None:
    plain = _losses(0)
    for interval in _compare(plain, plain, level=0.95, resamples=100).environments:
        assert (interval.low, interval.mean, interval.high) == (0, 0, 0)
    nothing = [np.zeros_like(loss) for loss in plain]
    gain = _compare(
        [loss[:2] for loss in plain], [loss[:2] for loss in nothing], level=0.99, resamples=300
    )
    assert gain.mean.high <= np.mean([loss[:2].mean() for loss in plain]) + 1e-12


def test_the_interval_of_the_mean_covers() -> None:
    rng, hit, tries = np.random.default_rng(0), 0, 60
    for _ in range(tries):
        truth = np.array([0.3, 0.0, -0.1])
        plain, other = [], []
        for gain, rows in zip(truth, (40, 60, 80), strict=True):
            base = rng.normal(5, 1, size=(1, rows))
            effect = rng.normal(0, 0.1, size=(4, 1))  # of a training run
            plain.append(base + rng.normal(0, 0.3, size=(4, rows)))
            other.append(base - gain + effect + rng.normal(0, 0.3, size=(4, rows)))
        found = _compare(plain, other, level=0.9, resamples=150).mean
        hit += found.low <= truth.mean() <= found.high
    assert 0.82 * tries <= hit  # at least 90 % but for the 2 σ of 60 tries


def test_summaries_take_mean_and_worst_by_what_is_worse() -> None:
    rng = np.random.default_rng(0)
    found: dict[str, list] = {}
    for e, quality in enumerate((2.0, 0.5, 1.0)):
        y = rng.integers(2, size=60)
        logit = quality * (2 * y - 1) + rng.normal(size=(3, 60))
        p = 1 / (1 + np.exp(-logit))
        given = {"probability": np.stack([1 - p, p], -1)}
        for name, metric in resampled(y, given, None, 200, 0.95, e).items():
            found.setdefault(name, []).append(metric)
    means, worst = summary(found)
    for name, of in found.items():
        values = [metric.mean for metric in of]
        assert means[name].mean == pytest.approx(np.mean(values))
        best_is_least = name == "log_loss"
        assert worst[name][1].mean == (max if best_is_least else min)(values)
        assert worst[name][0] == 1
        assert means[name].low <= means[name].mean <= means[name].high
    assert worst["auc"][1].high <= 1


def test_an_environment_without_a_definition_is_left_out() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((2, 30))
    both, one = rng.integers(2, size=30), np.ones(30, int)
    given = {"probability": np.stack([1 - p, p], -1)}
    of = [resampled(y, given, None, 50, 0.95, 0)["auc"] for y in (one, both)]
    means, worst = summary({"auc": of})
    assert means["auc"].mean == of[1].mean
    assert worst["auc"][0] == 1
    assert summary({"auc": of[:1]}) == ({}, {})
