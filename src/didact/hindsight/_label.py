"""The label: named classes, or a number whose distribution is learnt in bins."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .._checks import InvalidInput, check_choice, check_integer, invalid
from .._table import numbers, row_list, texts
from ._columns import STRAY, is_numeric

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ROWS = 50
FEWEST_PER_CLASS = 3
FEWEST_PER_BIN = 5
MOST_INTEGER_CLASSES = 10


@dataclass(frozen=True)
class Task:
    """What is learnt, and one line that says why."""

    kind: Literal["classification", "regression"]
    reason: str


def check_label(label: pd.Series, task: str = "auto") -> Task:
    """Refuse labels that nothing can be learnt from; decide the task if nobody has.

    ``"auto"`` is classification if the label is text or truth values, or whole numbers of at
    most 10 kinds; else regression.

    Args:
        label: The label of every row, ``[n]``, indexed by its row in the file.
        task: ``"auto"``, ``"classification"`` or ``"regression"``.

    Raises:
        InvalidInput: Labels are missing, infinite, dates or all the same; there are fewer than
            50 rows, or fewer than 3 of some class; regression on text.

    Example:
        >>> import pandas as pd
        >>> check_label(pd.Series([0, 1] * 30, name="died"))
        Task(kind='classification', reason='the label has 2 distinct whole numbers (at most 10)')
    """
    name = str(label.name)
    check_choice("task", task, ("auto", "classification", "regression"))
    if len(label) < FEWEST_ROWS:
        raise invalid("data", f"a table with at least {FEWEST_ROWS} rows", len(label))
    numeric = is_numeric(label)
    values = numbers(label) if numeric or task == "regression" else None
    words = texts(label)
    missing = np.array([word is None for word in words])
    if missing.any():
        rule = f"a label without missing values; leave out {row_list(label, missing)}"
        raise invalid(name, rule, f"{missing.sum()} missing")
    counts: Counter[str] = Counter(words)
    if values is not None and np.isinf(values).any():
        infinite = np.isinf(values)
        raise invalid(name, f"finite in {row_list(label, infinite)}", float(values[infinite][0]))
    if len(counts) < 2:
        raise invalid(name, "a label with at least two distinct values", words[0])
    if task == "auto" and not numeric:
        _check_stray(label, words)
    decided = _decide(values if numeric else None, len(counts), task)
    rarest = min(counts, key=lambda word: (counts[word], word))
    if decided.kind == "classification" and counts[rarest] < FEWEST_PER_CLASS:
        rule = f"a label with at least {FEWEST_PER_CLASS} rows of each class (or a regression)"
        raise invalid(name, rule, f"{counts[rarest]} of {rarest}")
    return decided


def _check_stray(label: pd.Series, words: np.ndarray[Any, np.dtype[np.object_]]) -> None:
    """Refuse numbers with a word among them: every number would be a class of its own."""
    import pandas as pd

    values = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce")
    stray = values.isna().to_numpy()
    numbered = values.dropna().nunique()
    if 0 < stray.mean() <= STRAY and numbered > MOST_INTEGER_CLASSES:
        raise invalid(
            str(label.name),
            f"numbers in {row_list(label, stray)} too; or leave these rows out, or give "
            "`--task classification`",
            words[stray][0],
        )


def _decide(values: np.ndarray[Any, Any] | None, distinct: int, task: str) -> Task:
    if task == "classification":
        return Task("classification", "asked for")
    if task == "regression":
        return Task("regression", "asked for")
    if values is None:
        return Task("classification", "the label is text or truth values")
    if not (values == np.round(values)).all():
        return Task("regression", "the label has fractions")
    kind: Literal["classification", "regression"] = (
        "classification" if distinct <= MOST_INTEGER_CLASSES else "regression"
    )
    limit = f"{'at most' if kind == 'classification' else 'more than'} {MOST_INTEGER_CLASSES}"
    return Task(kind, f"the label has {distinct} distinct whole numbers ({limit})")


@dataclass(frozen=True)
class Classes:
    """Classes by name; logits ``[n, K]``, loss in nats.

    Attributes:
        names: One per class, in numerical order if they are all numbers, else alphabetical.

    Example:
        >>> import pandas as pd
        >>> classes = Classes.fit(pd.Series([10.0, 2.0, 10.0]))
        >>> classes.names, classes.encode(pd.Series(["10", "2"])).tolist()
        (('2', '10'), [1, 0])
    """

    names: tuple[str, ...]

    @classmethod
    def fit(cls, label: pd.Series) -> Classes:
        """The classes of all rows: their names are the question, not part of the answer."""
        names = set(texts(label).tolist())
        order = sorted(names, key=float) if is_numeric(label) else sorted(names)
        return cls(tuple(order))

    @property
    def n_outputs(self) -> int:
        """How many logits a student has to give."""
        return len(self.names)

    @property
    def values(self) -> None:
        """Classes have no values; see :attr:`Bins.values`."""
        return

    def encode(self, label: pd.Series) -> Tensor:
        """The number of each row's class, int64 ``[n]``."""
        codes = {name: code for code, name in enumerate(self.names)}
        words = texts(label)
        unknown = np.array([word not in codes for word in words], dtype=bool)
        if unknown.any():
            rule = f"one of its classes in {row_list(label, unknown)}"
            raise invalid(str(label.name), rule, words[unknown][0])
        return torch.tensor([codes[word] for word in words], dtype=torch.int64)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean log-loss in nats, ``[]``."""
        return functional.cross_entropy(logits, target)

    def to_json(self) -> dict[str, Any]:
        """Plain data that ``json`` can write; :func:`label_from_json` is the inverse."""
        return {"task": "classification", "names": list(self.names)}


@dataclass(frozen=True)
class Bins:
    """A number as a distribution over bins of equal mass: prediction Σ_b p_b·value_b.

    The bins cut the empirical distribution function of the training labels; bin b holds
    edge_{b−1} < y ≤ edge_b, the outer bins are open. A bin's value is the mean training label
    in it, so a perfectly calibrated student predicts the conditional mean up to the width of
    the bins. Loss is cross-entropy on bins, in nats.

    Attributes:
        edges: Upper ends of all bins but the last, ascending, in label units, ``[K − 1]``.
        means: Mean training label of each bin, in label units, ``[K]``.

    Example:
        >>> import pandas as pd
        >>> bins = Bins.fit(pd.Series([float(i) for i in range(10)]))
        >>> bins.edges, bins.means, bins.encode(pd.Series([-7.0, 4.0, 4.5])).tolist()
        ((4.0,), (2.0, 7.0), [0, 0, 1])
    """

    edges: tuple[float, ...]
    means: tuple[float, ...]

    @classmethod
    def fit(cls, label_train: pd.Series, most: int = 32) -> Bins:
        """Bins of the training labels: at most ``most``, each with at least 5 rows.

        Ties are never cut, so there may be fewer. If ties leave one bin only, the most even
        cut into two is taken, however few rows the smaller one has.

        Raises:
            InvalidInput: The training labels are all the same.
        """
        check_integer("most", most, at_least=2)
        y = np.sort(numbers(label_train))
        n = len(y)
        if not n or not np.isfinite(y).all() or y[0] == y[-1]:
            found = y[0].item() if n else "no row"
            rule = "finite and at least two distinct values in the training rows"
            raise invalid(str(label_train.name), rule, found)
        wanted = min(most, max(n // FEWEST_PER_BIN, 1))
        edges: list[float] = []
        below = 0  # training rows up to the last edge
        for k in range(1, wanted):
            edge = y[-(-k * n // wanted) - 1]
            upto = int(np.searchsorted(y, edge, side="right"))
            if upto - below >= FEWEST_PER_BIN and n - upto >= FEWEST_PER_BIN:
                edges.append(float(edge))
                below = upto
        if not edges:
            values, counts = np.unique(y, return_counts=True)
            edges = [float(values[np.abs(np.cumsum(counts)[:-1] - n / 2).argmin()])]
        bins = np.searchsorted(edges, y, side="left")
        means = np.bincount(bins, weights=y) / np.bincount(bins)
        return cls(tuple(edges), tuple(means.tolist()))

    @property
    def n_outputs(self) -> int:
        """How many logits a student has to give."""
        return len(self.means)

    @property
    def values(self) -> Tensor:
        """The value of each bin in label units, float64 ``[K]``."""
        return torch.tensor(self.means, dtype=torch.float64)

    def encode(self, label: pd.Series) -> Tensor:
        """The bin of each row, int64 ``[n]``."""
        return torch.from_numpy(np.searchsorted(self.edges, numbers(label), side="left"))

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy on bins in nats, ``[]``."""
        return functional.cross_entropy(logits, target)

    def to_json(self) -> dict[str, Any]:
        """Plain data that ``json`` can write; :func:`label_from_json` is the inverse."""
        return {"task": "regression", "edges": list(self.edges), "means": list(self.means)}


def label_from_json(data: dict[str, Any]) -> Classes | Bins:
    """The label that ``to_json`` described.

    Example:
        >>> label_from_json(Classes(("no", "yes")).to_json())
        Classes(names=('no', 'yes'))
    """
    match data.get("task"):
        case "classification":
            return Classes(tuple(data["names"]))
        case "regression":
            return Bins(tuple(data["edges"]), tuple(data["means"]))
        case task:
            raise InvalidInput(f"A label's task is classification or regression. Found {task!r}.")
