"""Gradient-boosted trees on x alone: the rival that a practitioner would use."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import DidactError, check_choice, check_integer, check_number, invalid

SMALLEST_PROBABILITY = 1e-12
MOST_CODES = 255


class Trees:
    """Histogram gradient boosting (scikit-learn) until the validation loss stops improving.

    The rounds after the best one are not used in predictions; where no round beats the constant
    that boosting starts from (the mean, the shares of the classes), that constant is predicted.
    One thread.

    Reference: Friedman 2001, "Greedy function approximation: a gradient boosting machine"; Ke et
    al. 2017, "LightGBM".

    Args:
        task: ``"classification"`` or ``"regression"``.
        learning_rate, max_leaf_nodes, min_samples_leaf, l2_regularization, max_features: as in
            ``sklearn.ensemble.HistGradientBoostingClassifier``.
        iterations: at most.
        patience: rounds without improvement on the validation rows before training ends.
        seed: of every draw.

    Attributes:
        best_iteration: rounds that predictions use, from 0, the constant.
        validation_loss: there, mean log loss in nats or mean squared error, without validation
            rows of the training rows. A probability below 1e-12 counts as 1e-12.
        stopped: whether patience ended the training; if not, it was cut short.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(300, 2))
        >>> y = np.sign(x[:, 0]) + 0.1 * x[:, 1]
        >>> trees = Trees("regression", seed=0).fit(x[:200], y[:200], (x[200:], y[200:]))
        >>> trees.stopped, trees.validation_loss < 0.05
        (True, True)
        >>> trees.predict(x[200:]).shape
        (100,)
    """

    best_iteration: int
    validation_loss: float
    stopped: bool

    def __init__(
        self,
        task: str,
        *,
        learning_rate: float = 0.1,
        max_leaf_nodes: int = 31,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        max_features: float = 1.0,
        iterations: int = 2000,
        patience: int = 25,
        seed: int,
    ) -> None:
        self.task = check_choice("task", task, ("classification", "regression"))
        self.iterations = check_integer("iterations", iterations)
        self.patience = check_integer("patience", patience)
        self.settings = {
            "learning_rate": check_number("learning_rate", learning_rate, above=0),
            "max_leaf_nodes": check_integer("max_leaf_nodes", max_leaf_nodes, at_least=2),
            "min_samples_leaf": check_integer("min_samples_leaf", min_samples_leaf),
            "l2_regularization": check_number("l2_regularization", l2_regularization, at_least=0),
            "max_features": check_number("max_features", max_features, above=0, at_most=1),
            "random_state": check_integer("seed", seed, at_least=0),
        }
        check_number("seed", seed, below=2**32)
        self._columns = 0
        self._model: Any = None
        self._start: NDArray[np.float64] = np.zeros(0)
        self._present: NDArray[np.int64] | None = None
        self._classes = 0

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        validation: tuple[ArrayLike, ArrayLike] | None,
        *,
        categorical: ArrayLike | None = None,
        classes: int | None = None,
    ) -> Trees:
        """Train on x ``[n, F]``, NaN where missing, and y ``[n]``, numbers or classes from 0.

        Args:
            x, y: training rows.
            validation: (x, y) of the rows by which training ends; None: after ``iterations``.
            categorical: which columns hold codes, bool ``[F]``: whole numbers from 0, at most 255
                of them; one that no training row has counts as missing.
            classes: how many there are; one more than the largest of training by default. Those
                that no training row has get probability 0.

        Raises:
            InvalidInput: shapes do not fit, a label is not finite or not a class, a number is
                infinite, a code is not one, or no validation row has a class of training.
            DidactError: scikit-learn is not installed.
        """
        rows, labels = _rows("x, y", x, y)
        whole = validation is None
        if validation is None:  # what comes below is then of the training rows, and judges nothing
            validation = x, y
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise invalid("validation", "a pair (x, y), or None", validation)
        rows_v, labels_v = _rows("validation", *validation)
        if rows_v.shape[1] != rows.shape[1]:
            raise invalid("validation", f"rows of {rows.shape[1]} columns", rows_v.shape)
        are_codes = _are_codes(categorical, rows)
        learnt: NDArray[Any] = labels
        judged_by: tuple[NDArray[Any], NDArray[Any]] = (rows_v, labels_v)
        start, present, size = np.array([labels.mean()]), None, 0
        if self.task == "classification":
            of, of_v = _as_classes("y", labels), _as_classes("validation", labels_v)
            largest = int(max(of.max(), of_v.max()))
            size = int(of.max()) + 1 if classes is None else check_integer("classes", classes)
            if largest >= size:
                raise invalid("classes", f"above every label, of which one is {largest}", size)
            # scikit-learn knows the classes of the training rows alone.
            present, learnt, counts = np.unique(of, return_inverse=True, return_counts=True)
            start = counts / len(of)
            known = np.isin(of_v, present)
            if not known.any():
                raise invalid("validation", "rows some of which have a class of training", of_v)
            judged_by = rows_v[known], np.searchsorted(present, of_v[known])
        model = None
        if present is None or len(present) > 1:
            model = self._boosted(rows, learnt, None if whole else judged_by, are_codes)
        # Place 0 is the loss of the constant, before the first tree.
        scores = [0.0] if model is None or whole else model.validation_score_
        self.best_iteration = int(np.argmax(scores))
        self.stopped = model is None or len(scores) - 1 - self.best_iteration >= self.patience
        if whole and model is not None:
            self.best_iteration, self.stopped = model.n_iter_, True
        self._model, self._start, self._columns = model, start, rows.shape[1]
        self._present, self._classes = present, size
        self.validation_loss = self._loss(rows_v, labels_v)
        return self

    def predict(self, x: ArrayLike) -> NDArray[np.float64]:
        """Probabilities ``[n, classes]``, or numbers ``[n]``, of the best round.

        Raises:
            InvalidInput: before ``fit``, or of other columns.
        """
        if not self._columns:
            raise invalid("self", "fitted before it predicts", self)
        rows = _numbers("x", x)
        if rows.ndim != 2 or rows.shape[1] != self._columns:
            raise invalid("x", f"rows of {self._columns} columns", rows.shape)
        found = self._staged(rows) if self.best_iteration and len(rows) else self._start
        if self._present is None:
            return np.broadcast_to(found, (len(rows),)).copy()
        whole = np.zeros((len(rows), self._classes))
        whole[:, self._present] = found
        return whole

    def _boosted(
        self,
        rows: NDArray[np.float64],
        labels: NDArray[Any],
        validation: tuple[NDArray[Any], NDArray[Any]] | None,
        are_codes: NDArray[np.bool_],
    ) -> Any:
        try:
            from sklearn.ensemble import (
                HistGradientBoostingClassifier,
                HistGradientBoostingRegressor,
            )
            from threadpoolctl import threadpool_limits
        except ModuleNotFoundError as error:
            raise DidactError(
                f'Trees need the package `{error.name}`: pip install "didact[fit]"'
            ) from error
        numbers = self.task == "regression"
        model = (HistGradientBoostingRegressor if numbers else HistGradientBoostingClassifier)(
            **self.settings,
            max_iter=self.iterations,
            early_stopping=validation is not None,
            scoring="loss",
            n_iter_no_change=self.patience,
            tol=0.0,
            categorical_features=are_codes,
        )
        with threadpool_limits(1):
            if validation is None:
                return model.fit(rows, labels)
            return model.fit(rows, labels, X_val=validation[0], y_val=validation[1])

    def _staged(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        from threadpoolctl import threadpool_limits

        numbers = self._present is None
        staged = self._model.staged_predict if numbers else self._model.staged_predict_proba
        with threadpool_limits(1):
            found: NDArray[np.float64] = next(islice(staged(rows), self.best_iteration - 1, None))
        return found

    def _loss(self, rows: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
        predicted = self.predict(rows)
        if self._present is None:
            return float(((predicted - labels) ** 2).mean())
        of_label = predicted[np.arange(len(labels)), labels.astype(np.int64)]
        return float(-np.log(np.maximum(of_label, SMALLEST_PROBABILITY)).mean())


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise invalid(name, "an array of numbers", values) from error
    if np.isinf(found).any():
        raise invalid(name, "finite numbers, NaN where a cell of x is missing", np.inf)
    return found


def _rows(name: str, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, labels = _numbers(name, x), _numbers(name, y)
    if rows.ndim != 2 or labels.shape != rows.shape[:1] or not rows.size:
        rule = "rows [n, F] and labels [n], with n and F of at least 1"
        raise invalid(name, rule, (rows.shape, labels.shape))
    if np.isnan(labels).any():
        raise invalid(name, "rows with finite labels", np.nan)
    return rows, labels


def _as_classes(name: str, labels: NDArray[np.float64]) -> NDArray[np.int64]:
    wrong = (labels < 0) | (labels % 1 != 0) | (labels >= 2**31)
    if wrong.any():
        raise invalid(name, "classes, whole numbers from 0", float(labels[wrong][0]))
    return labels.astype(np.int64)


def _are_codes(categorical: ArrayLike | None, rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    columns = rows.shape[1]
    found = np.zeros(columns, bool) if categorical is None else np.asarray(categorical)
    if found.shape != (columns,) or found.dtype != np.bool_:
        raise invalid("categorical", f"a bool for each of the {columns} columns", categorical)
    for column in np.flatnonzero(found):
        codes = np.unique(rows[:, column])
        codes = codes[~np.isnan(codes)]
        if (codes < 0).any() or (codes % 1 != 0).any() or len(codes) > MOST_CODES:
            rule = f"of columns that hold at most {MOST_CODES} codes, whole numbers from 0"
            raise invalid("categorical", rule, f"column {column} with {codes[:3]} and so on")
    return found
