"""Work in several processes, its results in order."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from .._checks import extra

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def in_processes(
    function: Callable[[T], R], parts: Sequence[T], jobs: int, needs: str
) -> Iterator[Iterator[R]]:
    """``function`` of each part, as an iterator that is open inside the block.

    Args:
        function: a top-level function, or a partial of one.
        parts: its arguments.
        jobs: processes; one is this one, more go through joblib.
        needs: the extra of didact that brings joblib.

    Raises:
        MissingExtra: if there is more than one job and joblib is not installed.
    """
    jobs = min(jobs, len(parts))
    if jobs == 1:
        yield map(function, parts)
        return
    with extra(needs):
        import joblib
    pool = joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    run = joblib.delayed(function)
    results = pool(run(part) for part in parts)
    try:
        yield results
    finally:
        # Ends the workers if our caller leaves early; joblib then warns of what was asked for.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()
