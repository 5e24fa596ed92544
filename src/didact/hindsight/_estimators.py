"""The methods as scikit-learn estimators."""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from .._checks import check_choice, check_integer, check_number, invalid
from ._columns import Column
from ._encode import Encoder
from ._metrics import METHODS
from ._output import Output, output_for
from ._rows import Rows
from ._settings import Settings, checked, start
from ._train import Budget, one_thread, train

Method = Literal[
    "no_teacher", "auxiliary", "fixed_teacher", "generalised_distillation", "tram", "ldt"
]


class _Hindsight(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: parameters, the fit, the network's last layer."""

    def __init__(
        self,
        method: Method = "ldt",
        *,
        settings: Settings | None = None,
        epochs: int = 50,
        patience: int = 10,
        validation_fraction: float = 0.2,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.method = method
        self.settings = settings
        self.epochs = epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _fit(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.int64],
        label: NDArray[np.float64],
        privileged: ArrayLike | None,
        size: int,
        values: Tensor | None,
    ) -> None:
        check_choice("method", self.method, ("no_teacher", *METHODS))
        check_integer("epochs", self.epochs)
        check_integer("patience", self.patience)
        check_number("validation_fraction", self.validation_fraction, above=0, below=1)
        x_star = np.zeros((len(x), 0))
        if privileged is not None:
            x_star = check_array(
                privileged, dtype=np.float64, ensure_all_finite="allow-nan",
                input_name="privileged",
            )  # fmt: skip
            check_consistent_length(x, x_star)
        number = values is not None
        if not x_star.shape[1] and self.method != "no_teacher":
            warnings.warn(
                f"`fit` was given no `privileged`: there is nothing for {self.method!r} to teach, "
                "and `no_teacher` is trained. In a Pipeline it travels by metadata routing.",
                stacklevel=3,
            )
        self.method_ = self.method if x_star.shape[1] else "no_teacher"
        usual = start(self.method_, number=number, rows=len(x))
        known = start(self.method, number=number, rows=len(x))
        usual |= {"width": 32, "learning_rate": 3e-3, **({"head": "plain"} if number else {})}
        known.pop("head", None)  # plain, always: the number itself
        given = checked(self.settings if self.settings is not None else {}, known)
        self.settings_ = {**usual, **given}
        self.output_: Output = output_for(self.settings_, size, values)
        rng = check_random_state(self.random_state)
        seed, order = int(rng.randint(2**31 - 1)), rng.permutation(len(x))
        held = min(max(1, round(self.validation_fraction * len(x))), len(x) - 1)
        # Two rows are too few to divide: they are judged on what they learnt from.
        validation, training = (order[:held], order[held:]) if len(x) > 2 else (order, order)
        self._unit = _unit("X", x[training])
        unit_of_privileged = _unit("privileged", x_star[training])
        features = _standard(x, self._unit), _standard(x_star, unit_of_privileged)
        self.encoder_, encode_privileged = (_encoder(part[training]) for part in features)
        whole = Rows(
            _encoded(self.encoder_, features[0]),
            _encoded(encode_privileged, features[1]),
            torch.arange(len(x)),
            torch.from_numpy(y),
            torch.from_numpy(label).float(),
        )
        with one_thread():
            trained = train(
                self.method_,
                self.settings_,
                whole.only(torch.from_numpy(training)),
                whole.only(torch.from_numpy(validation)),
                self.output_,
                groups=None,
                budget=Budget(self.epochs, self.patience),
                seed=seed,
            )
        # In float64 a row's prediction does not depend on the rows that are predicted with it.
        self.student_ = trained.student.double()
        self.validation_loss_ = trained.curve.best
        self.n_iter_ = len(trained.curve.validation)

    def _logits(self, X: ArrayLike) -> Tensor:
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite="allow-nan")
        with torch.no_grad():
            features = _encoded(self.encoder_, _standard(x, self._unit))
            logits: Tensor = self.student_(features.double())[0]
        return logits

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class HindsightClassifier(ClassifierMixin, _Hindsight):  # type: ignore[misc]
    """A small network that learns from columns it will not have when it predicts.

    ``fit(X, y, privileged=Z)`` trains a student of X by one method of ``didact.privileged``;
    ``predict(X)`` needs X alone. Columns are numbers, missing ones NaN. There is no search:
    ``didact fit`` searches, and says whether Z helps at all.

    In a ``Pipeline`` or ``GridSearchCV`` the privileged columns travel by metadata routing:
    ``sklearn.set_config(enable_metadata_routing=True)`` and ``.set_fit_request(privileged=True)``.

    Args:
        method: ``"ldt"``, ``"generalised_distillation"``, ``"tram"``, ``"auxiliary"``,
            ``"fixed_teacher"`` or ``"no_teacher"``.
        settings: what differs from the defaults: ``width``, ``depth``, ``dropout``,
            ``learning_rate``, ``weight_decay``, ``batch_size``, and the method's own, such as
            ``alpha`` of LDT. An unknown name is an error that lists the known.
        epochs: at most.
        patience: epochs without improvement on held-out rows before training ends.
        validation_fraction: share of the rows that is held out, by which the best epoch is kept.
        random_state: of every draw.

    Attributes:
        classes_: the labels.
        method_: ``method``, or ``"no_teacher"`` where ``fit`` was given no privileged columns.
        settings_: all settings.
        student_: the network.
        validation_loss_: log loss on the held-out rows.
        n_iter_: epochs trained.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, Z = rng.normal(size=(200, 3)), rng.normal(size=(200, 2))
        >>> y = np.where(X[:, 0] + Z[:, 0] > 0, "yes", "no")
        >>> model = HindsightClassifier(epochs=3).fit(X, y, privileged=Z)
        >>> model.method_, model.predict_proba(X).shape
        ('ldt', (200, 2))
    """

    def fit(self, X: ArrayLike, y: ArrayLike, privileged: ArrayLike | None = None) -> Self:
        """Train on X ``[n, F]``, labels y ``[n]`` and privileged columns ``[n, F*]``.

        Raises:
            ValueError: what scikit-learn asks of inputs is not met, there is one class only, or
                a parameter breaks its rule.
        """
        x, labels = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise invalid("y", "labels of at least two classes", f"1 class: {self.classes_[0]}")
        codes = codes.astype(np.int64)
        self._fit(x, codes, codes.astype(np.float64), privileged, len(self.classes_), None)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities ``[n, classes]`` in the order of ``classes_``."""
        found: NDArray[np.float64] = self._logits(X).softmax(-1).numpy()
        return found

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each row, ``[n]``."""
        most = self.predict_proba(X).argmax(1)
        labels: NDArray[Any] = self.classes_[most]
        return labels


class HindsightRegressor(RegressorMixin, _Hindsight):  # type: ignore[misc]
    """:class:`HindsightClassifier` for a number: the student's output is the number itself.

    Args:
        method, settings, epochs, patience, validation_fraction, random_state: as there.

    Attributes:
        method_, settings_, student_, n_iter_: as there.
        validation_loss_: squared error on the held-out rows, of the standardised label.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, Z = rng.normal(size=(200, 3)), rng.normal(size=(200, 2))
        >>> model = HindsightRegressor("tram", epochs=3).fit(X, X[:, 0] + Z[:, 0], privileged=Z)
        >>> model.predict(X).shape
        (200,)
    """

    def fit(self, X: ArrayLike, y: ArrayLike, privileged: ArrayLike | None = None) -> Self:
        """Train on X ``[n, F]``, numbers y ``[n]`` and privileged columns ``[n, F*]``.

        Raises:
            ValueError: what scikit-learn asks of inputs is not met, or a parameter breaks its
                rule.
        """
        x, label = validate_data(
            self, X, y, dtype=np.float64, ensure_all_finite="allow-nan", y_numeric=True
        )
        label = label.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            self._offset, self._scale = float(label.mean()), float(label.std()) or 1.0
        if not np.isfinite(self._scale):
            raise invalid("y", "numbers whose squares are finite", float(np.abs(label).max()))
        standard = (label - self._offset) / self._scale
        # The values of bins are not used: the head is plain.
        self._fit(x, np.zeros(len(x), np.int64), standard, privileged, 1, torch.zeros(1))
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """The number of each row, ``[n]``."""
        logits = self._logits(X)
        found = self.output_.predict(logits).numpy()
        numbers: NDArray[np.float64] = found * self._scale + self._offset
        return numbers


Unit = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Mean and deviation of each column, ``[F]``."""


def _unit(name: str, x: NDArray[np.float64]) -> Unit:
    """Those of the rows where the column is known; a column that does not vary has deviation 1."""
    there = ~np.isnan(x)
    count = np.maximum(there.sum(0), 1)
    known = np.where(there, x, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = (known / count).sum(0)
        scale = np.sqrt((np.where(there, x - mean, 0.0) ** 2 / count).sum(0))
    if not np.isfinite(scale).all():
        raise invalid(name, "numbers whose squares are finite", float(np.abs(known).max()))
    return mean, np.where(scale >= np.finfo(np.float64).tiny, scale, 1.0)


def _standard(x: NDArray[np.float64], unit: Unit) -> NDArray[np.float64]:
    """In float64: float32 could not tell large numbers apart."""
    with np.errstate(over="ignore"):  # infinitely far is far, and clipped
        found: NDArray[np.float64] = (x - unit[0]) / unit[1]
    return found


def _encoder(x: NDArray[np.float64]) -> Encoder:
    columns = [Column(str(j), "numeric") for j in range(x.shape[1])]
    return Encoder.fit(columns, *_pair(x))


def _encoded(encoder: Encoder, x: NDArray[np.float64]) -> Tensor:
    if not x.shape[1]:
        return torch.zeros(len(x), 0)
    found: Tensor = encoder(*_pair(x))
    return found


def _pair(x: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    with np.errstate(over="ignore"):  # beyond float32 is far, and clipped
        return torch.from_numpy(x.astype(np.float32)), torch.zeros(len(x), 0, dtype=torch.int64)
