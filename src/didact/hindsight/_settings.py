"""What the search may choose for each candidate, and what it starts from."""

from __future__ import annotations

from typing import Any

from ..runs import Choice, Real, Space

Settings = dict[str, Any]

_COMMON: Space = {
    "learning_rate": Real(3e-4, 1e-2, log=True),
    "weight_decay": Real(1e-4, 1.0, log=True),
    "batch_size": Choice((16, 32, 64)),
    "width": Choice((32, 64, 128)),
    "depth": Choice((1, 2, 3)),
    "dropout": Choice((0.0, 0.1, 0.3, 0.5)),
}
_ALPHA: Space = {"alpha": Real(1e-1, 1e3, log=True)}
_LDT: Space = {
    **_ALPHA,
    "inner_learning_rate": Real(3e-3, 1e-1, log=True),
    "meta_learning_rate": Real(1e-4, 3e-3, log=True),
    "inner_steps": Choice((16, 32, 64)),
    "validation_split": Choice((0.3, 0.5)),
}
_COMMON_START: Settings = {
    "learning_rate": 1e-3,
    "weight_decay": 1e-2,
    "batch_size": 32,
    "width": 64,
    "depth": 2,
    "dropout": 0.1,
}
_LDT_START: Settings = {
    "alpha": 100.0,
    "inner_learning_rate": 3e-2,
    "meta_learning_rate": 1e-3,
    "inner_steps": 32,
    "validation_split": 0.3,
}

SPACES: dict[str, Space] = {
    "no_teacher": _COMMON,
    "auxiliary": {**_COMMON, "weight": Real(1e-2, 1e1, log=True)},
    "fixed_teacher": {**_COMMON, **_ALPHA},
    "ldt": {**_COMMON, **_LDT},
    "oracle": _COMMON,
}
"""The ranges, by candidate; what candidates share has the same range for all."""

STARTS: dict[str, Settings] = {
    "no_teacher": _COMMON_START,
    "auxiliary": {**_COMMON_START, "weight": 1.0},
    "fixed_teacher": {**_COMMON_START, "alpha": 1.0},
    "ldt": {**_COMMON_START, **_LDT_START},
    "oracle": _COMMON_START,
}
"""Trial 0 of every search, and the fixed settings of ``--quick``."""
