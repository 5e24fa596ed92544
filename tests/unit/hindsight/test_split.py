"""Splits: every row once, no group twice, no class left out, nothing but the seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact._checks import InvalidInput
from didact.hindsight._split import Split, resplit, split

GROUPS = st.lists(st.integers(0, 9), min_size=3, max_size=120).filter(lambda g: len(set(g)) >= 3)
SEEDS = st.integers(0, 2**32 - 1)


def _parts(s: Split) -> list[np.ndarray]:
    return [s.train, s.validation, s.test]


def _check_partition(s: Split, n: int) -> None:
    assert np.concatenate(_parts(s)).tolist() != []
    assert sorted(np.concatenate(_parts(s)).tolist()) == list(range(n))
    for part in _parts(s):
        assert part.dtype == np.int64
        assert len(part)
        assert (np.diff(part) > 0).all()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(n=st.integers(3, 300), seed=SEEDS)
def test_at_random(n: int, seed: int) -> None:
    s = split(n, seed=seed)
    _check_partition(s, n)
    assert abs(len(s.test) - 0.2 * n) <= 1
    assert abs(len(s.validation) - 0.2 * n) <= 1
    again = resplit(s, seed=seed)
    _check_partition(again, n)
    assert (again.test == s.test).all()
    assert abs(len(again.validation) - len(s.validation)) <= 1


@settings(max_examples=80, deadline=None, derandomize=True)
@given(groups=GROUPS, seed=SEEDS)
def test_no_group_spans_two_parts(groups: list[int], seed: int) -> None:
    s = split(len(groups), groups=groups, seed=seed)
    _check_partition(s, len(groups))
    again = resplit(s, groups=groups, seed=seed + 1)
    _check_partition(again, len(groups))
    assert (again.test == s.test).all()
    for parts in (_parts(s), _parts(again)):
        names = [{groups[row] for row in part} for part in parts]
        assert sum(map(len, names)) == len(set.union(*names))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(groups=GROUPS, seed=SEEDS, data=st.data())
def test_order_of_rows_does_not_matter_to_groups(
    groups: list[int], seed: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(groups))
    one = split(len(groups), groups=groups, seed=seed)
    two = split(len(groups), groups=shuffled, seed=seed)
    for a, b in zip(_parts(one), _parts(two), strict=True):
        assert {groups[row] for row in a} == {shuffled[row] for row in b}


@settings(max_examples=80, deadline=None, derandomize=True)
@given(counts=st.lists(st.integers(3, 60), min_size=1, max_size=5), seed=SEEDS)
def test_classes_are_divided_alike(counts: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    s = split(len(labels), labels=labels, seed=seed)
    _check_partition(s, len(labels))
    for part, share in ((s.train, 0.6), (s.validation, 0.2), (s.test, 0.2)):
        found = np.bincount(labels[part], minlength=len(counts))
        assert (found >= 1).all()
        assert (np.abs(found - share * np.array(counts)) <= 1.001).all()
    again = resplit(s, labels=labels, seed=seed)
    assert set(labels[again.validation]) == set(labels)


def test_shares_of_many_groups_and_of_a_giant() -> None:
    groups = np.repeat(np.arange(200), 5)
    s = split(1000, groups=groups, fractions=(0.5, 0.2, 0.3), seed=3)
    assert [len(part) for part in _parts(s)] == [500, 200, 300]
    giant = ["big"] * 80 + ["b"] * 10 + ["c"] * 10
    for seed in range(20):
        s = split(100, groups=giant, seed=seed)
        assert len(s.train) == 80


def test_the_seed_decides() -> None:
    assert (split(50, seed=1).test == split(50, seed=1).test).all()
    assert (split(50, seed=1).test != split(50, seed=2).test).any()
    drawn = {tuple(split(5, groups=list("abcde"), seed=seed).test) for seed in range(40)}
    assert len(drawn) == 5, "every group is tested on under some seed"


def test_groups_beat_labels_and_may_be_a_column() -> None:
    groups = pd.Series(["u", "v", "w"] * 5)
    with_labels = split(15, groups=groups, labels=[0, 1, 1] * 5, seed=0)
    assert (with_labels.test == split(15, groups=groups.tolist(), seed=0).test).all()


def test_refused() -> None:
    with pytest.raises(InvalidInput, match="`n`"):
        split(2, seed=0)
    with pytest.raises(InvalidInput, match="`groups` should be at least 3 different"):
        split(6, groups=["a", "b"] * 3, seed=0)
    with pytest.raises(InvalidInput, match="`labels` should be at least 3 rows of each"):
        split(6, labels=[0, 0, 0, 0, 1, 1], seed=0)
    with pytest.raises(InvalidInput, match="one per row, 6"):
        split(6, groups=["a"] * 5, seed=0)
    for gap in (None, float("nan"), pd.NA):
        with pytest.raises(InvalidInput, match="1 missing, first in row 2"):
            split(4, groups=["a", gap, "b", "c"], seed=0)
    for fractions in ((0.5, 0.5), (0.5, 0.4, 0.2), (1.0, 0.0, 0.0)):
        with pytest.raises(InvalidInput, match="`fractions`"):
            split(6, fractions=fractions, seed=0)
