"""What each column is for, and what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._checks import InvalidInput, invalid, listed
from .._names import column_rule, named
from .._table import EXACT, absent, numbers, row_list, texts

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 64
BLURRED = 1e-3
"""float32 may be off by this share of a column's standard deviation."""
STRAY = 0.1  # this share of words among numbers looks like a token for missing


@dataclass(frozen=True)
class Roles:
    """Which columns the student sees, which only hindsight knows, what is predicted, who is who."""

    inputs: tuple[str, ...]
    privileged: tuple[str, ...]
    label: str
    group: str | None = None


def assign_roles(
    frame_columns: Iterable[str],
    label: str,
    privileged_patterns: Iterable[str] = (),
    group: str | None = None,
    *,
    series: bool = False,
    grouped_by: str = "group",
) -> Roles:
    """Every column gets one role: label, group, privileged, else input; nothing is guessed.

    Args:
        frame_columns: The table's columns, in order.
        label: The column to predict.
        privileged_patterns: Names, or globs (``*``, ``?``, ``[ab]``; case counts), of columns
            known only in hindsight. A column named exactly like the pattern wins over the glob.
        group: A column whose equal values must stay on one side of every split. Not an input.
        series: Whether the label's own past is an input, too: no other is needed.
        grouped_by: What the user calls the group, for messages.

    Raises:
        InvalidInput: A name or pattern matches nothing, one column has two roles, or no input
            is left.

    Example:
        >>> roles = assign_roles(["age", "dose", "followup_1", "died"], "died", ["followup_*"])
        >>> roles.inputs, roles.privileged
        (('age', 'dose'), ('followup_1',))
    """
    names = list(frame_columns)
    for role, name in (("label", label), (grouped_by, group)):
        if name is not None and name not in names:
            raise invalid(role, column_rule(name, names), name)
    if group == label:
        raise invalid(grouped_by, "another column than the label", group)
    others = {"label": label, grouped_by: group}
    privileged = set(named("privileged", privileged_patterns, names, **others))
    inputs = tuple(name for name in names if name not in {label, group} | privileged)
    if not inputs and not series:
        if not privileged:
            raise invalid("data", f"a table with columns beside {listed(names)}", "none")
        raise invalid(
            "privileged", "patterns that leave at least one input column", sorted(privileged)
        )
    return Roles(inputs, tuple(name for name in names if name in privileged), label, group)


@dataclass(frozen=True)
class Column:
    """One column as the student's encoder sees it, learnt from training and validation rows.

    Attributes:
        name: The column's name in the table.
        kind: ``"numeric"`` or ``"categorical"``.
        categories: The known categories, the most frequent first; empty if numeric.
        time: Whether a numeric column holds dates, as seconds since 1970-01-01 UTC.
        origin: What is taken off its numbers before they become float32, which tells large
            numbers apart no better than to 6·10⁻⁸ of their size.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    categories: tuple[str, ...] = ()
    time: bool = False
    origin: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data that ``json`` can write; :meth:`from_json` is the inverse."""
        return {**vars(self), "categories": list(self.categories)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Column:
        """The column that :meth:`to_json` described."""
        return cls(**{**data, "categories": tuple(data["categories"])})


def describe(
    known: pd.DataFrame, names: Iterable[str]
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """Decide what each column holds, from the rows that are known before the test.

    These are the rows for training and validation, never test rows: the columns are the same
    for every seed, and the seeds draw training and validation anew from the same rows.

    Numbers and durations are numeric; so are dates, as seconds since 1970-01-01 UTC. Text and
    truth values are categorical; so are integers of 2⁵³ and more: they are identifiers, and no
    float holds them. Of more than 64 categories the 64 most frequent are kept (ties in
    alphabetical order), the rest are "other". Columns that are empty or constant on these rows are
    dropped. A numeric column is float32 from here on; where that would blur it, its median is taken
    off first (``Column.origin``).

    Args:
        known: The training and validation rows.
        names: The columns to describe.

    Returns:
        The columns in the order of ``names``, and one line of warning per column that was
        dropped, cut to 64 categories, or looks like numbers with a stray word.

    Raises:
        InvalidInput: A number is infinite (in float32), a cell holds a list or the like, or no
            column is left of those named.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"age": [1.0, 2.0], "sex": ["f", "m"], "site": ["x", "x"]})
        >>> columns, warnings = describe(frame, frame.columns)
        >>> [(column.name, column.kind) for column in columns], warnings
        ([('age', 'numeric'), ('sex', 'categorical')], ('Column `site` is constant: dropped.',))
    """
    names, columns, warnings = list(names), [], []
    for name in names:
        column, warning = _describe_one(known[name])
        columns += [column] if column else []
        warnings += [f"Column `{name}` {warning}."] if warning else []
    if names and not columns:
        raise InvalidInput(f"No column is left of {listed(names)}: {' '.join(warnings)}")
    return tuple(columns), tuple(warnings)


def _describe_one(cells: pd.Series) -> tuple[Column | None, str]:
    from pandas.api.types import is_datetime64_any_dtype

    name = str(cells.name)
    if absent(cells).all():
        return None, "has no value in the training and validation rows: dropped"
    if is_numeric(cells):
        time = is_datetime64_any_dtype(cells.dtype)
        column = Column(name, "numeric", time=time)
        values = float32(cells, column)
        exact = numbers(cells, time=time)
        if np.nanmax(np.abs(values - exact)) > BLURRED * np.nanstd(exact):
            column = replace(column, origin=float(np.nanmedian(exact)))
            values = float32(cells, column)
        if (values == values[0]).all():
            return None, "is constant: dropped"
        return column, ""
    counts = Counter(word for word in texts(cells) if word is not None)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    if len(ranked) < 2 and counts.total() == len(cells):
        return None, "is constant: dropped"
    warnings = []
    words = [word for word in ranked if _not_a_number(word)]
    stray = sum(counts[word] for word in words) / counts.total()
    if 0 < stray <= STRAY:
        warnings += [f"is text, for {listed(words, 3)} among its numbers (missing? see `--na`)"]
    rest = len(ranked) - MOST_CATEGORIES
    if rest > 0:
        warnings += [f'has {len(ranked)} categories: the rarest {rest} are one, "other"']
    return Column(name, "categorical", tuple(ranked[:MOST_CATEGORIES])), "; ".join(warnings)


def _not_a_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return True
    return False


def is_numeric(cells: pd.Series) -> bool:
    """Whether a column's type makes it numeric; see :func:`describe` for the rule."""
    from pandas.api import types

    if types.is_bool_dtype(cells.dtype):
        return False
    if types.is_integer_dtype(cells.dtype):
        return not bool(((cells >= EXACT) | (cells <= -EXACT)).any())
    return bool(
        types.is_numeric_dtype(cells.dtype)
        or types.is_datetime64_any_dtype(cells.dtype)
        or types.is_timedelta64_dtype(cells.dtype)
    )


def float32(cells: pd.Series, column: Column) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Cells less the column's origin as float32 ``[n]``, NaN where missing; none may be infinite.

    Raises:
        InvalidInput: naming column and row.
    """
    with np.errstate(over="ignore"):  # beyond float32 is infinite here, and refused below
        values = (numbers(cells, time=column.time) - column.origin).astype(np.float32)
    infinite = np.isinf(values)
    if infinite.any():
        found = cells[infinite].iloc[0]
        raise invalid(
            str(cells.name), f"finite in float32 in {row_list(cells, infinite)}", float(found)
        )
    return values
