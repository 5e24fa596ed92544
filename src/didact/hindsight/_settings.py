"""What the search may choose for each candidate, and what it starts from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._checks import check_choice, check_integer, check_number, invalid
from ..runs import Choice, Integer, Real, Space
from ._courses import INNER_STEPS_PER_STUDENT_STEP

Settings = dict[str, Any]

BATCH_SIZES = ((4_000, (16, 32, 64)), (20_000, (32, 64, 128)), (None, (64, 128, 256)))
"""(fewer training rows than, batch sizes)."""

NETWORK: Space = {
    "learning_rate": Real(3e-4, 1e-2, log=True),
    "weight_decay": Real(1e-4, 1.0, log=True),
    "width": Choice((32, 64, 128)),
    "depth": Choice((1, 2, 3)),
    "dropout": Choice((0.0, 0.1, 0.3, 0.5)),
}
NETWORK_START: Settings = {
    "learning_rate": 1e-3,
    "weight_decay": 1e-2,
    "width": 64,
    "depth": 2,
    "dropout": 0.1,
}
_OWN: dict[str, Space] = {
    "no_teacher": {},
    "auxiliary": {"weight": Real(1e-2, 1e1, log=True)},
    "fixed_teacher": {"alpha": Real(1e-1, 1e3, log=True)},
    "generalised_distillation": {
        "imitation": Real(0.1, 1.0),
        "temperature": Real(0.5, 10.0, log=True),
    },
    "tram": {},
    "ldt": {
        "alpha": Real(1e-1, 1e3, log=True),
        "inner_learning_rate": Real(0.05, 1.0, log=True),
        "meta_learning_rate": Real(1e-4, 3e-3, log=True),
        "inner_steps": Choice((16, 32, 64)),
        "validation_split": Choice((0.3, 0.5)),
        "all_rows": Choice((False, True)),
    },
    "oracle": {},
}
_OWN_START: dict[str, Settings] = {
    "no_teacher": {},
    "auxiliary": {"weight": 1.0},
    "fixed_teacher": {"alpha": 1.0},
    "generalised_distillation": {"imitation": 0.5, "temperature": 1.0},
    "tram": {},
    "ldt": {
        "alpha": 10.0,
        "inner_learning_rate": 0.5,
        "meta_learning_rate": 1e-3,
        "inner_steps": 32,
        "validation_split": 0.3,
        "all_rows": True,
    },
    "oracle": {},
}
TREES: Space = {
    "learning_rate": Real(1e-2, 3e-1, log=True),
    "max_leaf_nodes": Integer(4, 64, log=True),
    "min_samples_leaf": Integer(2, 64, log=True),
    "l2_regularization": Real(1e-3, 1e2, log=True),
    "max_features": Real(0.2, 1.0),
}
TREES_START: Settings = {
    "learning_rate": 0.1,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 20,
    "l2_regularization": 1e-3,
    "max_features": 1.0,
}


def space(candidate: str, *, number: bool, rows: int) -> Space:
    """The ranges of a candidate; what candidates share has the same range for all.

    Args:
        candidate: one of ``CANDIDATES``.
        number: whether the label is a number; its head is then a setting.
        rows: of training.
    """
    if candidate == "trees":
        return TREES
    head: Space = {"head": Choice(("bins", "plain"))} if number else {}
    return {**NETWORK, "batch_size": Choice(_batch_sizes(rows)), **head, **_OWN[candidate]}


def start(candidate: str, *, number: bool, rows: int) -> Settings:
    """Trial 0 of every search, and the fixed settings of ``--quick``."""
    if candidate == "trees":
        return dict(TREES_START)
    head = {"head": "bins"} if number else {}
    size = _batch_sizes(rows)[1]
    return {**NETWORK_START, "batch_size": size, **head, **_OWN_START[candidate]}


def _batch_sizes(rows: int) -> tuple[int, ...]:
    return next(sizes for limit, sizes in BATCH_SIZES if limit is None or rows < limit)


_RULES: dict[str, Callable[[str, Any], Any]] = {
    "learning_rate": partial(check_number, above=0),
    "weight_decay": partial(check_number, at_least=0),
    "width": check_integer,
    "depth": check_integer,
    "dropout": partial(check_number, at_least=0, below=1),
    "batch_size": check_integer,
    "weight": partial(check_number, at_least=0),
    "alpha": partial(check_number, at_least=0),
    "imitation": partial(check_number, at_least=0, at_most=1),
    "temperature": partial(check_number, above=0),
    "inner_learning_rate": partial(check_number, above=0),
    "meta_learning_rate": partial(check_number, above=0),
    "inner_steps": partial(check_integer, at_least=INNER_STEPS_PER_STUDENT_STEP),
    "validation_split": partial(check_number, above=0, below=1),
    "all_rows": partial(check_choice, choices=(False, True)),
}
"""What each setting of a network may be; wider than what is searched."""


def checked(given: Any, known: Settings) -> Settings:
    """Settings that somebody wrote, as plain numbers.

    Args:
        given: name → value.
        known: settings that there are.

    Raises:
        InvalidInput: no dict, an unknown name, a value that breaks its rule.
    """
    if not isinstance(given, dict) or (unknown := sorted(set(given) - set(known))):
        found = unknown if isinstance(given, dict) else given
        raise invalid("settings", f"a dict with keys of {sorted(known)}", found)
    return {name: _RULES[name](f"settings[{name!r}]", value) for name, value in given.items()}
