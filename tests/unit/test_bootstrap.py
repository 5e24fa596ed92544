"""The interval against the loop over rows and against coverage simulations."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm, t

from didact._bootstrap import Interval, paired_bootstrap
from didact._checks import InvalidInput


def coverage(sample, truth=0.0, trials=150, **options):
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(trials):
        difference, groups = sample(rng)
        found = paired_bootstrap(difference, groups=groups, resamples=150, seed=trial, **options)
        hits += found.low <= truth <= found.high
    return hits / trials


def test_rows_are_covered_as_often_as_promised():
    assert 0.90 <= coverage(lambda rng: (rng.normal(size=(1, 80)), None)) <= 0.99
    assert 0.70 <= coverage(lambda rng: (rng.normal(size=(1, 80)), None), level=0.8) <= 0.89


def test_rows_and_seeds_together_are_covered():
    def crossed(rng):
        return rng.normal(size=(10, 1)) * 0.3 + rng.normal(size=(1, 60)) + rng.normal(
            size=(10, 60)
        ), None

    assert 0.88 <= coverage(crossed) <= 0.99


def test_groups_are_covered_only_by_the_cluster_bootstrap():
    def clustered(rng):
        groups = np.repeat(np.arange(30), 8)
        return rng.normal(size=30)[groups][None] + 0.3 * rng.normal(size=(1, 240)), groups

    def ignored(rng):
        return clustered(rng)[0], None

    assert 0.86 <= coverage(clustered) <= 0.99
    assert coverage(ignored) < 0.7


def test_few_seeds_or_groups_are_few_degrees_of_freedom():
    """Where seeds (or groups) alone differ, the range of what was drawn is too narrow by far."""
    seeds_differ = np.array([[-1.0], [0.0], [1.0]]) + np.zeros((3, 50))
    found = paired_bootstrap(seeds_differ, seed=0)
    # Percentiles reach from −1 to 1; of three seeds t has two degrees of freedom.
    wider = t.ppf(0.975, 2) / norm.ppf(0.975) * (3 / 2) ** 0.5
    assert found.mean == 0.0
    assert [found.low, found.high] == pytest.approx([-wider, wider])
    assert coverage(lambda rng: (rng.normal(size=(3, 1)) + np.zeros((3, 40)), None)) >= 0.9
    groups = np.repeat(np.arange(6), 8)
    assert (
        coverage(lambda rng: (np.repeat(rng.normal(size=6), 8)[None] + np.zeros((3, 48)), groups))
        >= 0.9
    )


def test_the_bootstrap_is_the_loop_over_rows():
    """The same draws, applied by indexing rows one by one."""
    rng = np.random.default_rng(3)
    difference, groups = rng.normal(size=(4, 21)), rng.integers(5, size=21)
    labels = np.unique(groups)
    again, means = np.random.default_rng(7), []
    for _ in range(300):
        seeds = again.integers(4, size=4)
        picked = again.integers(len(labels), size=len(labels))
        rows = [r for g in picked for r in range(21) if groups[r] == labels[g]]
        means.append(np.mean([difference[s, r] for s in seeds for r in rows]))
    found = paired_bootstrap(difference, groups=groups, resamples=300, seed=7)
    assert found.mean == pytest.approx(difference.mean())
    off = np.quantile(means, [0.025, 0.975]) - difference.mean()
    wider = _widening_by_hand(difference, groups)
    assert 1.05 < wider < 2
    assert [found.low, found.high] == pytest.approx(difference.mean() + wider * off)


def _widening_by_hand(difference, groups):
    """Variances of the mean by seeds and by groups, and Satterthwaite's t."""
    seeds, rows = difference.shape
    of_seed = [np.mean(difference[s]) for s in range(seeds)]
    v_seed = sum((m - np.mean(of_seed)) ** 2 for m in of_seed) / (seeds - 1) / seeds
    labels = np.unique(groups)
    off = []
    for label in labels:
        inside = [r for r in range(rows) if groups[r] == label]
        total = sum(difference[:, r].mean() - difference.mean() for r in inside)
        off.append(len(labels) * total / rows)
    v_group = sum(o**2 for o in off) / (len(labels) - 1) / len(labels)
    freedom = (v_seed + v_group) ** 2 / (v_seed**2 / (seeds - 1) + v_group**2 / (len(labels) - 1))
    shrunk = v_seed * (seeds - 1) / seeds + v_group * (len(labels) - 1) / len(labels)
    ratio = ((v_seed + v_group) / shrunk) ** 0.5
    return t.ppf(0.975, freedom) / norm.ppf(0.975) * ratio


def test_one_group_per_row_changes_nothing_and_the_seed_decides():
    difference = np.random.default_rng(0).normal(size=(2, 40))
    alone = paired_bootstrap(difference, seed=1)
    assert paired_bootstrap(difference, groups=np.arange(40), seed=1) == alone
    assert paired_bootstrap(difference, seed=1) == alone
    assert paired_bootstrap(difference, seed=2) != alone


def test_memory_is_bounded_by_the_data():
    difference = np.random.default_rng(0).normal(size=(3, 100_000))
    tracemalloc.start()
    paired_bootstrap(difference, resamples=30, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * difference.nbytes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"difference": np.zeros(5)}, "difference"),
        ({"difference": [[0.0, math.nan]]}, r"\[seed, row\] \[0, 1\]"),
        ({"groups": [1, 2]}, "groups"),
        ({"level": 1.0}, "level"),
        ({"resamples": 0}, "resamples"),
        ({"seed": -1}, "seed"),
    ],
)
def test_the_bootstrap_refuses(change, message):
    with pytest.raises(InvalidInput, match=message):
        paired_bootstrap(**{"difference": np.zeros((2, 3)), "seed": 0, **change})


def test_a_number_that_is_not_finite_is_null():
    assert Interval(1.0, math.nan, math.inf).to_json() == {"mean": 1.0, "low": None, "high": None}


def test_bundles_of_many_rows_have_the_interval_of_single_rows():
    rng = np.random.default_rng(0)
    difference = rng.normal(0.1, 1.0, size=(1, 30_000))
    found = paired_bootstrap(difference, seed=0)
    half = 1.96 * difference.std() / np.sqrt(difference.size)  # the normal interval of a mean
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert found.mean == pytest.approx(difference.mean())


@pytest.mark.parametrize("scale", [1e-200, 1e-82, 1e200])
def test_the_interval_has_the_unit_of_the_difference(scale: float) -> None:
    difference = np.random.default_rng(2).normal(0.3, 1.0, size=(3, 50))
    one = paired_bootstrap(difference, seed=0)
    other = paired_bootstrap(scale * difference, seed=0)
    ends = [(i.mean, i.low, i.high) for i in (one, other)]
    assert np.array(ends[1]) / scale == pytest.approx(ends[0], rel=1e-9)
