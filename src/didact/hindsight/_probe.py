"""How predictable the label is from x*, and x* from x."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..privileged import Trees
from ._encode import Codes
from ._importance import foremost
from ._prepared import Prepared, encoded, encoders
from ._split import Split
from ._trees import cells
from ._wording import percent

MOST_ROWS = 5_000
MOST_COLUMNS = 24
MOST_CELLS = 20_000
GIVEN_AWAY = 0.95
"""A label of which x* explains this much is told by x*."""
TOLD = 0.02
"""Less is nothing: noise of a test set of some hundred rows."""


def run_probe(config: dict[str, Any], own: Path, *, prepared: str) -> dict[str, Any]:
    """Boosted trees with fixed settings, on at most 5,000 training rows.

    Of many privileged columns those are looked at that go most with the label; in a series, each
    in the last row before the label's.

    Returns:
        ``label``: share of the test loss of a constant that trees on x* take away; ``columns``:
        the same of each privileged column for trees on x. None where a constant has no loss.
    """
    data = Prepared.load(Path(prepared))
    later = (1, data.horizon) if data.horizon else (0, 1)
    split = _some(data.split, np.random.default_rng(config["seed"]))
    number = data.values is not None
    y = (data.level(data.label, slice(None)) / data.scale).numpy() if number else data.y.numpy()
    x_star, codes_star = cells(data.privileged, data, *later)
    x, codes = cells(data.inputs, data, 1 - data.history, 1)
    return {
        "label": explained(x_star, codes_star, y, split, number=number),
        "columns": {
            name: explained(x, codes, target, split, number=is_number)
            for name, target, is_number in _targets(data, later[1] - 1, x.shape[1])
        },
    }


def explained(
    x: NDArray[Any], codes: NDArray[np.bool_], y: NDArray[Any], split: Split, *, number: bool
) -> float | None:
    """1 − test loss of trees / test loss of a constant; None where a constant has no loss.

    Args:
        x: ``[n, F]``, and which of its columns are ``codes``.
        y: ``[n]``, NaN where missing: such rows are left out.
        split: of rows.
        number: whether ``y`` is a number; else it is a class.
    """
    train, validation, test = (
        part[~np.isnan(y[part].astype(np.float64))]
        for part in (split.train, split.validation, split.test)
    )
    if min(len(train), len(validation), len(test)) < 2:
        return None
    trees = Trees("regression" if number else "classification", iterations=200, patience=10, seed=0)
    classes = None if number else int(y.max()) + 1
    if number:
        constant = float(((y[test] - y[train].mean()) ** 2).mean())
    else:
        share = np.bincount(y[train].astype(np.int64), minlength=classes or 0) / len(train)
        constant = float(-np.log(np.maximum(share[y[test].astype(np.int64)], 1e-12)).mean())
    if constant <= 0 or len(np.unique(y[train])) < 2:
        return None
    if not number and not np.isin(y[validation], y[train]).any():
        return None  # a class of its own in every group: nothing to validate on
    trees.fit(
        x[train], y[train], (x[validation], y[validation]), categorical=codes, classes=classes
    )
    found = trees.predict(x[test])
    if number:
        loss = float(((y[test] - found) ** 2).mean())
    else:
        of_label = found[np.arange(len(test)), y[test].astype(np.int64)]
        loss = float(-np.log(np.maximum(of_label, 1e-12)).mean())
    return 1 - loss / constant


def given_away(label: float | None, *, series: bool) -> list[str]:
    """A warning where x* tells the label; not in a series, where one row tells the next."""
    if series or label is None or label < GIVEN_AWAY:
        return []
    return [
        f"The privileged columns give the label away: trees on them alone explain "
        f"{percent(label)} of it. That is so where a trajectory ends in the label; but if one of "
        "them is the label in other words, leave it out."
    ]


def not_told(label: float | None) -> list[str]:
    """A warning where x* alone says nothing of the label."""
    if label is None or label >= TOLD:
        return []
    return [
        "The privileged columns alone tell nothing of the label: trees on them are no better than "
        "a constant. In the study `hindsight-dials` no method with hindsight then gained more than "
        "a tenth of what could be gained."
    ]


def _some(split: Split, rng: np.random.Generator) -> Split:
    parts = (split.train, split.validation, split.test)
    fewer = [
        part if len(part) <= MOST_ROWS else np.sort(rng.choice(part, MOST_ROWS, replace=False))
        for part in parts
    ]
    return Split(*fewer)


def _targets(data: Prepared, step: int, features: int) -> list[tuple[str, NDArray[Any], bool]]:
    """Privileged columns to predict, as numbers or codes."""
    rows = encoded(data, None, hindsight=False, device=torch.device("cpu"))["train"]
    _, encoder = encoders(data, None)
    most = max(4, min(MOST_COLUMNS, MOST_CELLS // max(features, 1)))
    chosen = foremost(rows, encoder.features_of(data.privileged_columns), most)
    at = data.present + step
    found: list[tuple[str, NDArray[Any], bool]] = []
    places = {"numeric": 0, "categorical": 0}
    for column in data.privileged_columns:
        place = places[column.kind]
        places[column.kind] += 1
        if column.name not in chosen:
            continue
        of: Codes = data.privileged
        if column.kind == "numeric":
            values = of.numeric[at, place].double()
            scale = float(values[~values.isnan()].std()) or 1.0
            found.append((column.name, (values / scale).numpy(), True))
        else:
            found.append((column.name, of.codes[at, place].numpy(), False))
    return found
