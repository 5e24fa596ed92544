"""Which states to keep: all while they fit, then √n, then more levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

from .._checks import InvalidInput

S = TypeVar("S")


def branching(n: int, slots: int) -> list[int]:
    """How many pieces each level cuts its stretch into, so that at most ``slots`` states live.

    With pieces ``b₁ … b_k``, ``Π bᵢ ≥ n`` steps are covered and ``1 + Σ (bᵢ − 1)`` states are
    alive at once; every level beyond the first costs one more forward sweep (Chen et al. 2016).
    The fewest levels that fit are taken.

    Raises:
        InvalidInput: if even ⌈log₂ n⌉ levels of two do not fit.

    Example:
        >>> branching(100, 100), branching(100, 19), branching(100, 16)
        ([100], [10, 10], [5, 5, 5])
    """
    for levels in range(1, max(1, math.ceil(math.log2(n))) + 1):
        pieces = 1
        while pieces**levels < n:  # the integer root; n ** (1 / levels) rounds
            pieces += 1
        if 1 + levels * (pieces - 1) <= slots:
            return [pieces] * levels
    raise InvalidInput(
        f"Parameter `slots` should be at least {least(n)} to walk back {n} steps. Found {slots}."
    )


def least(n: int) -> int:
    """The fewest states with which ``n`` steps can be walked back."""
    return 1 + math.ceil(math.log2(n))


def starts(i: int, j: int, pieces: int) -> list[int]:
    """The first steps of ``pieces`` nearly equal stretches of ``i .. j``.

    >>> starts(0, 10, 3)
    [0, 3, 6]
    """
    pieces = min(pieces, j - i)
    return [i + (j - i) * p // pieces for p in range(pieces)]


def backwards(
    kept: dict[int, S], n: int, levels: list[int], advance: Callable[[int, S], S]
) -> Iterator[tuple[int, S]]:
    """Yield ``(i, state before step i)`` for i = n−1 … 0, recomputing from the kept states.

    Args:
        kept: the states at ``starts(first, n, levels[0])``; emptied on the way.
        n: the end of the walk; the first kept step is where it stops.
        levels: as ``branching`` returns.
        advance: ``advance(i, state)`` is the state after step i.
    """
    while kept:
        i, state = kept.popitem()
        yield from _walk(i, n, state, levels[1:], advance)
        n = i


def _walk(
    i: int, j: int, state: S, levels: list[int], advance: Callable[[int, S], S]
) -> Iterator[tuple[int, S]]:
    if j - i == 1:
        yield i, state
        return
    wanted = set(starts(i, j, levels[0]))
    kept: dict[int, S] = {}
    for step in range(i, max(wanted) + 1):
        if step in wanted:
            kept[step] = state
        if step < max(wanted):
            state = advance(step, state)
    del state
    yield from backwards(kept, j, levels, advance)
