"""Threads and seeds of the compiled loops."""

from __future__ import annotations

from .._checks import check_integer, extra, invalid


def check_seed(seed: int) -> None:
    """One that fits the compiled generator: 64 bits."""
    check_integer("seed", seed, at_least=0, at_most=2**64 - 1)


def set_threads(threads: int) -> None:
    """So many worlds or runs at a time from now on.

    Raises:
        InvalidInput: if there are not so many cores.
        MissingExtra: without numba.
    """
    check_integer("threads", threads)
    with extra("policies"):
        import numba
    cores: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if threads > cores:
        raise invalid("threads", f"at most {cores}", threads)
    numba.set_num_threads(threads)
