"""What may be chosen for each candidate, and what the search starts from."""

from __future__ import annotations

from typing import Any

from ...runs import Choice, Integer, Real, Space, drawn
from .._settings import NETWORK, NETWORK_START, TREES, TREES_START, Settings
from ._metrics import RIVALS

FEWEST_FOR_OWN = 4
"""With three environments a run that leaves out two learns from one, in which nothing can disagree:
what a method sets for itself cannot be judged, and stays as it starts."""

SEARCH_SEED = 0

_PENALTY: Space = {"weight": Real(1e-1, 1e3, log=True), "warm_up": Choice((0, 10))}
_PENALTY_START: Settings = {"weight": 10.0, "warm_up": 10}
_OWN: dict[str, Space] = {
    "plain": {},
    "and_mask": {
        "threshold": Choice((0.2, 0.4, 0.6, 0.8, 1.0)),
        "rescale": Choice((False, True)),
    },
    "v_rex": _PENALTY,
    "irm": _PENALTY,
}
_OWN_START: dict[str, Settings] = {
    "plain": {},
    "and_mask": {"threshold": 0.4, "rescale": False},
    "v_rex": _PENALTY_START,
    "irm": _PENALTY_START,
}
_RIVALS: dict[str, Space] = {
    "trees": {**TREES, "iterations": Integer(20, 500, log=True)},
    "linear": {"l2": Real(1e-3, 1e3, log=True)},
}
_RIVALS_START: dict[str, Settings] = {
    "trees": {**TREES_START, "iterations": 100},
    "linear": {"l2": 1.0},
}


def tried(candidate: str, trials: int, *, number: bool, environments: int) -> list[Settings]:
    """The settings of all trials, the first what the search starts from.

    Networks share the values of what they share: trial k of one differs from trial k of another in
    the method alone.

    Args:
        candidate: one of ``CANDIDATES``.
        trials: how many.
        number: whether the label is a number; its head is then a setting.
        environments: in all.
    """
    if candidate in RIVALS:
        return drawn(
            _RIVALS[candidate], trials=trials, seed=SEARCH_SEED, first=_RIVALS_START[candidate]
        )
    space: dict[str, Any] = {**NETWORK, "rows_per_environment": Choice((8, 16, 32, 64))}
    first: Settings = {**NETWORK_START, "rows_per_environment": 32}
    if number:
        space, first = {**space, "head": Choice(("bins", "plain"))}, {**first, "head": "bins"}
    own = _OWN_START[candidate]
    if environments < FEWEST_FOR_OWN:
        return [{**s, **own} for s in drawn(space, trials=trials, seed=SEARCH_SEED, first=first)]
    whole = {**space, **_OWN[candidate]}
    return drawn(whole, trials=trials, seed=SEARCH_SEED, first={**first, **own})
