"""What was predicted beside what came."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._metrics import CalibrationRecord

PARTS = 10


def calibration(
    label: ArrayLike,
    *,
    probability: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    **_: Any,
) -> CalibrationRecord:
    """Predictions in ten parts of equally many rows, each with the mean of what came.

    Of two classes the chance of the second, and how often it came; of more classes the chance of
    the most probable, and how often it was right; of a number the number. ``error`` is the mean of
    |predicted − observed| over rows: the expected calibration error with parts of equal mass
    (Nixon et al. 2019), in the units of the prediction.

    Args:
        label: ``[rows]``: class numbers from 0, or numbers.
        probability: ``[seeds, rows, classes]``; or
        prediction: ``[seeds, rows]``.

    Example:
        >>> found = calibration([0, 1] * 50, probability=np.full((1, 100, 2), 0.5))
        >>> found["predicted"], found["observed"], found["error"]
        ([0.5], [0.5], 0.0)
    """
    y = np.asarray(label, np.float64)
    if probability is not None:
        p = np.asarray(probability, np.float64)
        if p.shape[2] == 2:
            said, came = p[..., 1], np.broadcast_to(y == 1, p.shape[:2])
        else:
            said, came = p.max(2), p.argmax(2) == y
    else:
        said = np.asarray(prediction, np.float64)
        came = np.broadcast_to(y, said.shape)
    said, came = said.ravel(), came.ravel().astype(np.float64)
    order = np.argsort(said, kind="stable")
    # Equal predictions stay in one part: which of them comes first says nothing.
    place = np.minimum(
        np.searchsorted(said[order], said[order], side="left") * PARTS // len(said), PARTS - 1
    )
    parts = [order[place == k] for k in range(PARTS) if (place == k).any()]
    predicted = [float(said[part].mean()) for part in parts]
    observed = [float(came[part].mean()) for part in parts]
    error = sum(
        len(part) * abs(p - o) for part, p, o in zip(parts, predicted, observed, strict=True)
    )
    return {"predicted": predicted, "observed": observed, "error": error / len(said)}
