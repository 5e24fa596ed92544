"""The walk back, by enumeration: right states, right order, never more of them than allowed."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator
from typing import ClassVar

import pytest

from didact._checks import InvalidInput
from didact.unroll._checkpoints import backwards, branching, least, starts


class State:
    """Counts the living; ``step`` is how many steps were taken to get here."""

    alive: ClassVar[weakref.WeakSet[State]] = weakref.WeakSet()
    most = 0

    def __init__(self, step: int) -> None:
        self.step = step
        State.alive.add(self)
        State.most = max(State.most, len(State.alive))


def walk(n: int, levels: list[int], first: int = 0) -> Iterator[tuple[int, int, int]]:
    """(i, steps of the state, advances so far), as the engine drives it."""
    State.most = 0
    count = 0
    wanted, kept, state = set(starts(first, n, levels[0])), {}, State(first)
    for i in range(first, n):
        if i in wanted:
            kept[i] = state
        state = State(i + 1)
    del state

    def advance(i: int, state: State) -> State:
        nonlocal count
        count += 1
        assert state.step == i
        return State(i + 1)

    State.most = len(State.alive)
    for i, state in backwards(kept, n, levels, advance):
        seen = state.step
        del state
        yield i, seen, count


@pytest.mark.parametrize("n", range(1, 71))
def test_every_number_of_slots(n: int) -> None:
    for slots in range(least(n), n + 2):
        levels = branching(n, slots)
        assert 1 + sum(b - 1 for b in levels) <= slots
        visited = [(i, step) for i, step, _ in walk(n, levels)]
        assert visited == [(i, i) for i in reversed(range(n))]
        # The one in the making is no kept state: plain training holds it too.
        assert State.most <= slots + (len(levels) > 1), (slots, levels)
        assert not State.alive


@pytest.mark.parametrize("n", [2, 9, 16, 31, 64, 70])
def test_each_level_costs_at_most_one_sweep_and_the_fewest_fit(n: int) -> None:
    for slots in range(least(n), n + 1):
        levels = branching(n, slots)
        *_, (_, _, advances) = walk(n, levels)
        assert advances <= (len(levels) - 1) * n
        for fewer in range(1, len(levels)):
            pieces = next(b for b in range(1, n + 1) if b**fewer >= n)
            assert 1 + fewer * (pieces - 1) > slots


@pytest.mark.parametrize(("first", "n"), [(0, 1), (5, 6), (3, 20), (30, 70)])
def test_a_walk_that_stops_early(first: int, n: int) -> None:
    for slots in range(least(n - first), n - first + 1):
        steps = walk(n, branching(n - first, slots), first)
        assert [(i, s) for i, s, _ in steps] == [(i, i) for i in reversed(range(first, n))]


@pytest.mark.parametrize("n", range(1, 71))
def test_one_slot_fewer_is_refused(n: int) -> None:
    with pytest.raises(InvalidInput, match=rf"`slots` .* {least(n)} .* Found {least(n) - 1}"):
        branching(n, least(n) - 1)


def test_sqrt_n_states_suffice_with_one_more_sweep() -> None:
    assert branching(100, 100) == [100]
    assert branching(100, 99) == branching(100, 19) == [10, 10]
    assert branching(64, 10) == [4, 4, 4]
    assert branching(64, 7) == [2] * 6
    assert least(1) == 1


@pytest.mark.parametrize("n", range(1, 30))
def test_starts_cut_evenly(n: int) -> None:
    for pieces in range(1, n + 3):
        cuts = [*starts(7, 7 + n, pieces), 7 + n]
        sizes = [b - a for a, b in itertools.pairwise(cuts)]
        assert cuts[0] == 7
        assert len(sizes) == min(pieces, n)
        assert max(sizes) - min(sizes) <= 1
