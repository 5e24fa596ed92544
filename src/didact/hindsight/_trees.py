"""The practitioner's rival: gradient-boosted trees on the columns as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..privileged import Trees
from ._encode import Codes
from ._prepared import Prepared
from ._split import Split

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """Trees at their best validation loss, in label units, and what they predict for test rows."""

    validation: float
    iterations: int
    cut_short: bool
    test: dict[str, NDArray[Any]]


ROUNDS_PER_EPOCH = 20
"""A budget of epochs is one of rounds, too: an epoch of a network is up to 100 steps."""


def fit_trees(
    data: Prepared, split: Split, settings: dict[str, Any], *, epochs: int, seed: int
) -> Fitted:
    """Fit trees to x: numbers as they are, NaN where missing, categories as categories."""
    x, categorical = cells(data.inputs, data, 1 - data.history, 1)
    number = data.values is not None
    y = data.standard(data.label).double().numpy() if number else data.y.numpy()
    trees = Trees(
        "regression" if number else "classification",
        **settings,
        iterations=ROUNDS_PER_EPOCH * epochs,
        seed=seed,
    )
    trees.fit(
        x[split.train],
        y[split.train],
        (x[split.validation], y[split.validation]),
        categorical=categorical,
        classes=None if number else data.outputs,
    )
    predicted = trees.predict(x[split.test])
    test = (
        {"prediction": predicted * data.scale + data.offset}
        if number
        else {"probability": predicted}
    )
    return Fitted(trees.validation_loss * data.unit, trees.best_iteration, not trees.stopped, test)


def cells(
    codes: Codes, data: Prepared, first: int, end: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Columns of every example from row ``present + first`` to before ``present + end``.

    Returns:
        Numbers and codes ``[n, (end − first) · columns]``, and which are codes.
    """
    rows = torch.cat([codes.numeric, codes.codes.float()], 1)
    steps = torch.arange(first, end)
    found = rows[data.present[:, None] + steps].flatten(1)
    is_code = np.arange(rows.shape[1]) >= codes.numeric.shape[1]
    return found.numpy(), np.tile(is_code, len(steps))
