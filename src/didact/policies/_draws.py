"""Compiled random draws. Imports numba: import this where it is used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SCAN = 16  # from so many actions on, sampling searches by halves

compiled = njit(cache=True, error_model="numpy", nogil=True)
spread = njit(cache=True, parallel=True, error_model="numpy", nogil=True)


@compiled
def uniform(state: Any) -> Any:
    """A number in [0, 1): splitmix64, whose state is ``state[0]``."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def seeded(seed: Any, run: Any) -> Any:
    """A state of its own for every run."""
    state = np.empty(1, np.uint64)
    state[0] = np.uint64(seed)
    uniform(state)
    state[0] ^= np.uint64(run) * np.uint64(0xD1342543DE82EF95)
    uniform(state)
    return state


@compiled
def drawn(cumulative: Any, row: Any, u: Any) -> Any:
    """The first place of a row whose cumulated probability exceeds u."""
    n = cumulative.shape[1]
    if n < SCAN:
        k = 0
        while k < n - 1 and u >= cumulative[row, k]:
            k += 1
        return k
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        if u >= cumulative[row, middle]:
            low = middle + 1
        else:
            high = middle
    return low
