"""Candidates without a network: boosted trees, and a linear model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...privileged import Trees
from .._prepared import Prepared, encoders
from .._trees import cells

Floats = NDArray[np.float64]
MOST_ITERATIONS = 2000


def fit_rival(
    candidate: str, data: Prepared, settings: dict[str, Any], *, seed: int
) -> dict[str, Floats]:
    """Learn from the training rows, each as much as another, and predict all rows.

    Returns:
        ``probability`` ``[n, classes]``, or ``prediction`` ``[n]`` in label units.
    """
    number = data.values is not None
    y = data.standard(data.label).double().numpy() if number else data.y.numpy()
    known = data.split.train
    predict = (_trees if candidate == "trees" else _linear)(data, settings, y, known, seed)
    if number:
        return {"prediction": predict() * data.scale + data.offset}
    return {"probability": predict()}


def _trees(
    data: Prepared, settings: dict[str, Any], y: NDArray[Any], known: NDArray[Any], seed: int
) -> Callable[[], Floats]:
    x, categorical = cells(data.inputs, data, 0, 1)
    number = data.values is not None
    trees = Trees("regression" if number else "classification", **settings, seed=seed)
    classes = None if number else data.outputs
    trees.fit(x[known], y[known], None, categorical=categorical, classes=classes)
    return lambda: trees.predict(x)


def _linear(
    data: Prepared, settings: dict[str, Any], y: NDArray[Any], known: NDArray[Any], seed: int
) -> Callable[[], Floats]:
    """Logistic regression, or ridge regression, on the features of the networks."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge
    from threadpoolctl import threadpool_limits

    encode, _ = encoders(data, None)
    x = encode(data.inputs.numeric, data.inputs.codes).double().numpy()
    with threadpool_limits(1):
        if data.values is not None:
            ridge = Ridge(alpha=settings["l2"]).fit(x[known], y[known])
            return lambda: np.asarray(ridge.predict(x), dtype=np.float64)
        logistic = LogisticRegression(C=1 / settings["l2"], max_iter=MOST_ITERATIONS)
        with warnings.catch_warnings():  # of few penalties and many features it may take longer
            warnings.simplefilter("ignore", ConvergenceWarning)
            logistic.fit(x[known], y[known])
    found = np.zeros((len(x), data.outputs))
    found[:, logistic.classes_] = logistic.predict_proba(x)
    return lambda: found
