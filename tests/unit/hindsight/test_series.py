"""Examples of a series, against loops over its rows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact._checks import InvalidInput
from didact.hindsight._series import find_examples, split_in_time

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=4)


def _mixed(lengths: list[int], seed: int) -> np.ndarray:
    """Series of these lengths, their rows mixed, each in its own order."""
    of = np.repeat(np.arange(len(lengths)), lengths)
    return np.random.default_rng(seed).permutation(of)


def _by_loop(
    of: np.ndarray, time: np.ndarray | None, history: int, horizon: int
) -> list[list[int]]:
    """Every window of rows of one series, one step apart."""
    windows = []
    for series in sorted(set(of)):
        rows = [i for i in range(len(of)) if of[i] == series]
        for k in range(history - 1, len(rows) - horizon):
            window = rows[k - history + 1 : k + horizon + 1]
            steps = [] if time is None else [time[b] - time[a] for a, b in pairwise(window)]
            if all(step == 1 for step in steps):
                windows.append(window)
    return windows


@given(LENGTHS, st.integers(1, 5), st.integers(0, 5), st.integers(0, 99), st.booleans())
def test_examples_are_those_of_a_loop(
    lengths: list[int], history: int, horizon: int, seed: int, timed: bool
) -> None:
    of = _mixed(lengths, seed)
    time = None
    if timed:
        rng = np.random.default_rng(seed)
        time = np.zeros(len(of))
        for series in set(of):
            mine = of == series
            time[mine] = rng.integers(0, 5) + np.cumsum(rng.choice([1, 1, 1, 3], mine.sum()))
    expected = _by_loop(of, time, history, horizon)
    try:
        found = find_examples(
            len(of), groups=of, time=time, step=1.0, history=history, horizon=horizon
        )
    except InvalidInput:
        assert not expected
        return
    windows = [found.order[p - history + 1 : p + horizon + 1].tolist() for p in found.present]
    assert windows == expected
    assert found.series.tolist() == [of[window[0]] for window in expected]
    broken = 0 if time is None else sum(
        time[b] - time[a] != 1
        for s in set(of)
        for a, b in pairwise(np.flatnonzero(of == s))
    )  # fmt: skip
    assert bool(found.warnings) == (broken > 0)
    if broken:
        assert found.warnings[0].startswith(f"{broken} of ")


@given(LENGTHS, st.integers(0, 99))
def test_how_series_are_mixed_changes_nothing(lengths: list[int], seed: int) -> None:
    lengths = [length + 3 for length in lengths]
    apart = np.repeat(np.arange(len(lengths)), lengths)
    mixed = _mixed(lengths, seed)
    one, two = (find_examples(len(of), groups=of, history=2, horizon=1) for of in (apart, mixed))
    assert one.present.tolist() == two.present.tolist()
    assert one.moment.tolist() == two.moment.tolist()
    # The same row of each series stands at each place.
    assert (mixed[two.order] == apart).all()


@given(
    st.lists(st.integers(20, 60), min_size=1, max_size=3),
    st.integers(1, 4), st.integers(1, 4), st.booleans(),
)  # fmt: skip
def test_nothing_learnt_from_was_known_after_what_is_judged(
    lengths: list[int], history: int, horizon: int, timed: bool
) -> None:
    of = np.repeat(np.arange(len(lengths)), lengths)
    time = np.concatenate([np.arange(n) + 7.0 * i for i, n in enumerate(lengths)])
    found = find_examples(
        len(of), groups=of, time=time if timed else None, history=history, horizon=horizon
    )
    try:
        parts = split_in_time(found, gap=horizon)
    except InvalidInput as error:
        assert "long enough" in str(error)  # noqa: PT017
        return
    clock = time[found.order[found.present]]
    for earlier, later in ((parts.train, parts.validation), (parts.validation, parts.test)):
        for i in earlier:
            for j in later:
                if timed or found.series[i] == found.series[j]:
                    assert clock[i] + horizon < clock[j]
    everything = np.concatenate([parts.train, parts.validation, parts.test])
    assert len(set(everything)) == len(everything)
    # What is left out lies in the two gaps.
    per_clock = 1 if timed else len(lengths)
    most = 2 * horizon * (len(lengths) if timed else per_clock)
    assert len(found.present) - len(everything) <= most


def test_stretches_hold_neighbours() -> None:
    of = np.repeat([0, 1], 10)
    apart = find_examples(20, groups=of, history=1, horizon=0)
    assert apart.blocks(4).tolist() == [0] * 4 + [1] * 4 + [2] * 2 + [3] * 4 + [4] * 4 + [5] * 2
    time = np.tile(np.arange(10.0), 2)
    together = find_examples(20, groups=of, time=time, history=1, horizon=0)
    assert together.blocks(4).tolist() == ([0] * 4 + [1] * 4 + [2] * 2) * 2


def test_a_clock_that_is_not_exact_has_no_gaps() -> None:
    time = np.arange(50) * 3600.0 + np.random.default_rng(0).uniform(-10, 10, 50)
    found = find_examples(50, time=time, step=3600.0, history=3, horizon=2)
    assert len(found.present) == 50 - 4
    assert not found.warnings


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ([0, 1, 2, 2, 3], "row 4 is not after row 3"),
        ([0, 1, 2, 1, 3], "row 4 is not after row 3"),
        ([0, 1, np.nan, 3, 4], "leave out row 3"),
        ([0, 1, 5, 6, 20], "The longest stretch has 2 rows"),
    ],
)
def test_refused(time: list[float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        find_examples(5, time=np.array(time, np.float64), history=2, horizon=2)


def test_the_usual_step_is_that_of_the_largest_crowd() -> None:
    rng = np.random.default_rng(0)
    steps = np.r_[60 + rng.uniform(-0.1, 0.1, size=50), 30 + rng.uniform(-0.01, 0.01, size=10)]
    time = np.cumsum(rng.permutation(steps))
    found = find_examples(len(time), time=time, history=1, horizon=1)
    assert found.step == pytest.approx(60, abs=0.1)
    usual = int((np.abs(np.diff(time) - 60) < 1).sum())
    assert len(found.present) == usual
    assert found.warnings[0].startswith(f"{59 - usual} of 59 steps")


def test_a_calendar_says_what_to_do() -> None:
    days = np.cumsum([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] * 3) * 86400.0
    with pytest.raises(InvalidInput, match=r"steps in time are not the usual.*\(`drop`\)"):
        find_examples(len(days), time=days, history=6, horizon=3)
