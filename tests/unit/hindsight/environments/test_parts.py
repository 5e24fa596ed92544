"""Which rows a run learns from, and which it is judged on."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from didact.hindsight.environments._parts import MOST_PARTS, Parts, searched


@given(sizes=st.lists(st.integers(1, 40), min_size=3, max_size=20), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_every_environment_is_left_out_once_and_whole(sizes: list[int], seed: int) -> None:
    site = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = Parts.of([f"s{e}" for e in range(len(sizes))], site)
    assert parts.count == min(len(sizes), MOST_PARTS)
    members = [e for p in range(parts.count) for e in parts.members(p)]
    assert sorted(members) == list(range(len(sizes)))
    for p in range(parts.count):
        out, known = parts.rows([p]), parts.rows(parts.others((p,)))
        assert sorted([*out, *known]) == list(range(len(site)))
        assert not set(site[out]) & set(site[known])
    if len(sizes) <= MOST_PARTS:
        assert all(parts.members(p) == [p] for p in range(parts.count))


@given(sizes=st.lists(st.integers(1, 40), min_size=9, max_size=20))
@settings(max_examples=40, deadline=None)
def test_many_environments_are_dealt_evenly(sizes: list[int]) -> None:
    """Largest first to the emptiest part: no part exceeds another by more than its smallest."""
    parts = Parts.of([str(e) for e in range(len(sizes))], np.repeat(np.arange(len(sizes)), sizes))
    filled = [sum(sizes[e] for e in parts.members(p)) for p in range(parts.count)]
    smallest = [min(sizes[e] for e in parts.members(p)) for p in range(parts.count)]
    assert all(a - small <= b for a, small in zip(filled, smallest, strict=True) for b in filled)


def test_a_choice_is_judged_on_runs_that_know_neither_part() -> None:
    parts = Parts.of(list("abcd"), np.repeat(np.arange(4), 5))
    runs = searched(4)
    assert len(runs) == 4 + 6
    for p in range(4):
        judges = parts.judges((p,))
        assert [q for q, _ in judges] == [q for q in range(4) if q != p]
        assert all(set(run) == {p, q} and run in runs for q, run in judges)
    assert parts.judges(()) == [(q, (q,)) for q in range(4)]
    used = {run for p in range(4) for _, run in parts.judges((p,))}
    assert used == set(combinations(range(4), 2))
