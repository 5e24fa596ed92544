"""Searches whose trials are runs of a study."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count
from typing import Any

from ..runs import Searching, Trial, together
from ._study import Record

BATCH = 4
"""Settings that a search asks for at a time."""


def searched(
    searches: Mapping[str, Searching],
    run: Callable[[str, dict[str, Any], int], Any],
    value: Callable[[Record], float],
    *,
    seed: int,
) -> Generator[Sequence[Any], list[Record], dict[str, list[Trial]]]:
    """Rounds of runs, a batch of each search, until all have tried enough.

    Args:
        searches: by name, not yet started.
        run: ``run(name, settings, seed)`` makes a trial a run.
        value: of its record; lower is better.
        seed: of the first trial; each further one has the next.

    Returns:
        All trials of each.
    """
    asking = together(searches)
    try:
        batches = next(asking)
    except StopIteration as ended:  # Other machines have tried all.
        done: dict[str, list[Trial]] = ended.value
        return done
    for first in count(seed, BATCH):
        runs = {
            (name, i): run(name, settings, first + i)
            for name, batch in batches.items()
            for i, settings in enumerate(batch)
        }
        records = dict(zip(runs, (yield list(runs.values())), strict=True))
        try:
            batches = asking.send(
                {
                    name: [value(records[name, i]) for i in range(len(batch))]
                    for name, batch in batches.items()
                }
            )
        except StopIteration as ended:
            tried: dict[str, list[Trial]] = ended.value
            return tried
    raise AssertionError("count() has no end")
