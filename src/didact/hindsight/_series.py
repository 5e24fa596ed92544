"""Where the examples of a series are, and how they are divided in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._checks import InvalidInput, check_integer, invalid
from ._split import Index, Split

_UNTIMED = " Leave the column of time stamps out (`drop`) to take rows as they come."
_SAME_STEP = 0.01
"""Steps that differ by less than this share are equal: clocks are not exact."""


@dataclass(frozen=True)
class Series:
    """Rows of a table series after series, and the examples in them.

    An example is a row that is the present: ``history`` rows, itself included, lie behind it and
    ``horizon`` rows before it, all of one series and without a gap in time.

    Attributes:
        order: Rows of the table, series after series, each as in the table: ``[rows]``.
        present: Of each example, its place in ``order``, ascending: ``[n]``.
        series: Number of the series of each example: ``[n]``.
        moment: When each example is, in steps: ``[n]``. With time stamps, of one clock for all
            series; without, rows since the series began.
        step: Seconds of a step; None without time stamps.
        warnings: What was left out.
    """

    order: Index
    present: Index
    series: Index
    moment: Index
    step: float | None
    warnings: tuple[str, ...]

    def only(self, examples: NDArray[np.bool_]) -> Series:
        """The examples where it is true."""
        parts = {n: getattr(self, n)[examples] for n in ("present", "series", "moment")}
        return replace(self, **parts)

    def blocks(self, length: int) -> Index:
        """Number of the stretch of ``length`` steps in which each example lies: ``[n]``.

        Neighbours share rows: what is drawn at random of a series is drawn in stretches. With one
        clock for all series a stretch holds all of them, for they may share their weather.
        """
        stretch = (self.moment - self.moment.min()) // length
        of = stretch if self.step is not None else self.series * (stretch.max() + 1) + stretch
        return np.asarray(np.unique(of, return_inverse=True)[1], dtype=np.int64)


def find_examples(
    rows: int,
    *,
    groups: NDArray[np.int64] | None = None,
    time: NDArray[np.float64] | None = None,
    step: float | None = None,
    history: int,
    horizon: int,
) -> Series:
    """Find the rows that have enough past and future.

    Args:
        rows: Number of rows.
        groups: The series of each row, ``[rows]``; None for one series.
        time: When each row is, in seconds, ``[rows]``; None takes rows as they come, each one
            step after the one before. Otherwise the usual step is the most frequent (to 1 %), and
            no example reaches across another.
        step: The usual step if it is known; else it is found.
        history: H ≥ 1, rows of the past, the present included.
        horizon: K ≥ 0, rows of the future.

    Raises:
        InvalidInput: Times are missing or do not ascend within a series, or there is no example.

    Example:
        >>> found = find_examples(7, time=np.array([0, 1, 2, 3, 5, 6, 7.0]), history=2, horizon=1)
        >>> found.present.tolist()  # row 3 is followed by a gap
        [1, 2, 5]
        >>> found.warnings
        ('1 of 6 steps in time is not the usual 1: no example reaches across it.',)
    """
    check_integer("history", history)
    check_integer("horizon", horizon, at_least=0)
    of = np.zeros(rows, np.int64) if groups is None else groups
    order = np.argsort(of, kind="stable")
    of = of[order]
    begins = np.r_[True, of[1:] != of[:-1]]
    place = np.arange(rows) - np.maximum.accumulate(np.where(begins, np.arange(rows), 0))
    breaks, moment = begins, place
    warnings: tuple[str, ...] = ()
    if time is not None:
        breaks, moment, step, warnings = _timed(time[order], begins, order, step)
    run = np.cumsum(breaks)
    present = np.arange(history - 1, rows - horizon)
    present = present[run[present - (history - 1)] == run[present + horizon]]
    if not len(present) and horizon:
        said = "" if time is None else f" {''.join(warnings)}".rstrip() + _UNTIMED
        raise InvalidInput(
            f"No row has {history} rows up to it and {horizon} after it in one series without a "
            f"gap. The longest stretch has {np.bincount(run).max()} rows.{said}"
        )
    return Series(
        order, present, of[present], moment[present], None if time is None else step, warnings
    )


def _timed(
    time: NDArray[np.float64], begins: NDArray[np.bool_], order: Index, step: float | None
) -> tuple[NDArray[np.bool_], Index, float, tuple[str, ...]]:
    """Where steps are broken, the moment of each row, the usual step, and what to say."""
    missing = np.flatnonzero(np.isnan(time))
    if len(missing):
        rule = f"a column without missing values; leave out row {order[missing[0]] + 1}"
        raise invalid("time", rule, f"{len(missing)} missing")
    delta = np.diff(time, prepend=time[:1])
    back = np.flatnonzero(~begins & (delta <= 0))
    if len(back):
        earlier, later = order[back[0] - 1] + 1, order[back[0]] + 1
        rule = "ascending within each series, no time twice"
        raise invalid("time", rule, f"row {later} is not after row {earlier}")
    inside = delta[~begins]
    if step is None:
        if not len(inside):
            raise InvalidInput("Parameter `group` should leave series of more than one row.")
        step = _usual(inside)
    broken = ~begins & (np.abs(delta - step) > _SAME_STEP * step)
    warnings: tuple[str, ...] = ()
    if count := int(broken.sum()):
        are, them = ("is", "it") if count == 1 else ("are", "them")
        warnings = (
            f"{count} of {len(inside)} steps in time {are} not the usual {step:g}: "
            f"no example reaches across {them}.",
        )
    moment = np.round((time - time.min(initial=np.inf)) / step).astype(np.int64)
    return begins | broken, moment, step, warnings


def _usual(steps: NDArray[np.float64]) -> float:
    """The median of the largest crowd of steps that are equal to 1 %; the smaller of two.

    Example:
        >>> _usual(np.array([60.0, 59.9, 60.2, 60.1, 30.0, 30.0]))
        60.05
    """
    ascending = np.sort(steps)
    ends = np.searchsorted(ascending, ascending * (1 + _SAME_STEP), side="right")
    first = int((ends - np.arange(len(ascending))).argmax())
    return float(np.median(ascending[first : ends[first]]))


def split_in_time(
    found: Series, *, gap: int, fractions: Sequence[float] = (0.6, 0.2, 0.2)
) -> Split:
    """Divide examples into training, validation and test, the later ones to judge by.

    The first examples are for training, then come those for validation, last those for test.
    Examples whose future, ``gap`` steps long, would reach into the next part are left out, so
    that nothing learnt from was known only after the first moment that is judged. With a clock
    for all series the cuts are at the same moments for all; without, each series is cut by itself.

    Args:
        found: The examples.
        gap: Steps between the last moment of a part and the first of the next.
        fractions: Shares of the three parts before the gaps; they add up to 1.

    Returns:
        Numbers of examples, 0 … n−1; those in the gaps are in none of the parts.

    Raises:
        InvalidInput: A part would be empty.

    Example:
        >>> found = find_examples(100, history=1, horizon=3)
        >>> parts = split_in_time(found, gap=3)
        >>> [(int(part[0]), int(part[-1])) for part in (parts.train, parts.validation, parts.test)]
        [(0, 54), (58, 73), (77, 96)]
    """
    clock = np.zeros_like(found.series) if found.step is not None else found.series
    part = np.full(len(found.present), -1)
    for one in np.unique(clock):
        mine = np.flatnonzero(clock == one)
        moments = np.sort(found.moment[mine])
        ends = np.cumsum([round(f * len(mine)) for f in fractions[:2]])
        first, second = (moments[min(end, len(moments) - 1)] for end in ends)
        moment = found.moment[mine]
        part[mine[moment + gap < first]] = 0
        part[mine[(moment >= first) & (moment + gap < second)]] = 1
        part[mine[moment >= second]] = 2
    parts = [np.flatnonzero(part == number) for number in range(3)]
    if not all(map(len, parts)):
        raise InvalidInput(
            f"The series should be long enough for training, validation and test with {gap} steps "
            f"between them. Found {', '.join(str(len(p)) for p in parts)} examples in the three: "
            "take a shorter history or horizon, or divide by `group`."
        )
    return Split(*parts)
