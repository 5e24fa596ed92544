"""From a table to what every run needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from .._checks import InvalidInput, check_choice, check_integer, invalid, listed
from .._names import named
from .._table import dated, nearly_dates, numbers, read_table, row_list, texts
from ..runs import key
from ._columns import Roles, assign_roles, describe
from ._encode import Codes
from ._label import FEWEST_ROWS, Bins, Classes, check_label
from ._prepared import Prepared, rows_behind
from ._series import Series, find_examples, split_in_time
from ._split import Split, split

if TYPE_CHECKING:
    import pandas as pd

SPLIT_SEED = 0
LARGEST_LABEL = 1e30
SplitKind = Literal["random", "group", "time"]


@dataclass(frozen=True)
class Question:
    """What the user asked about a table; the parameters of :func:`didact.hindsight.fit`."""

    label: str
    privileged: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    group: str | None = None
    task: str = "auto"
    na: tuple[str, ...] = ()
    history: int | None = None
    horizon: int | None = None
    time: str | None = None
    split: str = "auto"

    @property
    def is_series(self) -> bool:
        """Whether rows follow one another in time."""
        return self.history is not None

    def check(self) -> None:
        """Refuse what no table could answer."""
        check_choice("task", self.task, ("auto", "classification", "regression"))
        check_choice("split", self.split, ("auto", "group", "time"))
        if (self.history is None) != (self.horizon is None):
            raise InvalidInput("A series needs both `history` and `horizon`. Found one of them.")
        if self.is_series:
            check_integer("history", self.history)
            # Between now and the next row is no row to learn from.
            check_integer("horizon", self.horizon, at_least=2)
        elif self.time is not None:
            raise invalid("time", "given with `history` and `horizon` only", self.time)
        if self.split == "time" and not self.is_series:
            raise invalid("split", "'time' only with `history` and `horizon`", self.split)
        if self.split == "group" and self.group is None:
            raise invalid("split", "'group' only where `group` is given", self.split)


def prepare(path: Path, question: Question) -> tuple[Prepared, Classes | Bins, dict[str, Any]]:
    """Read, check, split and encode a table; what of it goes into the record, and its key."""
    import pandas as pd

    question.check()
    frame = read_table(path, question.na)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    names = [str(name) for name in frame.columns]
    dropped = named("drop", question.drop, names, label=question.label, group=question.group)
    rows = len(frame)
    warnings: list[str] = []
    time, series = None, None
    if question.is_series:
        time = _time_column(frame, question, dropped)
        if time is not None and question.time is None:
            warnings.append(f"Rows are timed by `{time}`, the only column of dates.")
        if time is not None and time in question.privileged:
            raise invalid("privileged", f"columns other than the time `{time}`", time)
        warnings += [
            f"Column `{name}` looks like dates, but they are not ISO 8601 (2020-01-31): rows are "
            "taken as they come."
            for name in names
            if time is None and name not in dropped and dated(frame[name])
        ]
    elif not question.privileged:
        raise invalid(
            "privileged",
            "at least one name or pattern of the columns known only in hindsight; "
            f"the columns are {listed(names)}",
            list(question.privileged),
        )
    kept = [name for name in names if name not in dropped and name != time]
    roles = assign_roles(
        kept, question.label, question.privileged, question.group, series=question.is_series
    )
    if question.is_series:
        frame, series, roles, more = _series(frame, question, roles, time)
        warnings += more
    present = np.arange(rows) if series is None else series.present
    cells = frame[question.label].iloc[present + (question.horizon or 0)]
    decided = check_label(cells, question.task)
    kind = decided.kind
    if question.task == "auto":
        warnings.insert(0, f"Learnt as a {kind}: {decided.reason}.")
    classes = Classes.fit(cells) if kind == "classification" else None
    parts, how, groups, stratify = _divided(frame, question, series, classes, cells)
    seen = np.sort(np.concatenate([parts.train, parts.validation]))
    past, later = rows_behind(present[seen], question.history or 1, question.horizon or 0)
    columns, said = describe(frame.iloc[past], roles.inputs)
    privileged, said_too = describe(frame.iloc[later], roles.privileged)
    warnings += [*said, *(line for line in said_too if line not in said)]
    amounts, anchor = None, None
    if classes is None:
        amounts = amounts_of(cells, question.label)
        numeric = [column.name for column in columns if column.kind == "numeric"]
        if series is not None and question.label in numeric:
            anchor = _anchor(frame[question.label], present, amounts[seen].mean())
            amounts = amounts - anchor
            cells = pd.Series(amounts, index=cells.index, name=question.label)
    target: Classes | Bins = classes or Bins.fit(cells.iloc[seen])
    if series is None:
        warnings += copies_of(frame, question.label, roles, classes)
    y = target.encode(cells)
    offset, scale = 0.0, 1.0
    if amounts is not None:
        offset, scale = float(amounts[seen].mean()), float(amounts[seen].std())
    values = target.values
    inputs = Codes.of(frame, columns)
    prepared = Prepared(
        inputs=inputs,
        privileged=inputs if privileged == columns else Codes.of(frame, privileged),
        present=torch.from_numpy(present),
        history=question.history or 1,
        horizon=question.horizon or 0,
        y=y,
        label=y.double() if amounts is None else torch.from_numpy(amounts),
        anchor=None if anchor is None else torch.from_numpy(anchor),
        groups=None if groups is None else torch.from_numpy(groups),
        split=parts,
        in_time=how == "time",
        values=None if values is None else values.double(),
        outputs=target.n_outputs,
        stratify=stratify,
        columns=columns,
        privileged_columns=privileged,
        offset=offset,
        scale=scale,
    )
    used = {c.name for c in (*columns, *privileged)}
    of_roles = dict.fromkeys((*roles.inputs, *roles.privileged))
    described = {
        "file": path.name,
        "sha256": digest,
        "rows": rows,
        "task": kind,
        "label": question.label,
        "group": question.group,
        "inputs": list(roles.inputs),
        "dates": [column.name for column in columns if column.time],
        "privileged": list(roles.privileged),
        "na": [*question.na],
        "dropped": [*dropped, *(name for name in of_roles if name not in used)],
        "warnings": warnings,
        "classes": list(classes.names) if classes else None,
        "bins": None if classes else target.n_outputs,
        "series": None
        if series is None
        else {
            "history": question.history,
            "horizon": question.horizon,
            "time": time,
            "step": series.step,
            "examples": len(present),
        },
        "split": how,
    }
    asked = {name: value for name, value in described.items() if name != "warnings"}
    return prepared, target, {"data": described, "key": key(asked)}


def _time_column(frame: Any, question: Question, dropped: Iterable[str]) -> str | None:
    """The column of time stamps: the one named, or the only one of dates."""
    from pandas.api.types import is_datetime64_any_dtype

    names = [str(name) for name in frame.columns]
    if question.time is not None:
        if question.time not in names:
            raise invalid("time", f"one of the columns {listed(names)}", question.time)
        if question.time in (question.label, question.group):
            raise invalid("time", "another column than label and group", question.time)
        if question.time in dropped:
            raise invalid("time", "a column that `drop` does not leave out", question.time)
        return question.time
    dates = [n for n in names if n not in dropped and is_datetime64_any_dtype(frame[n].dtype)]
    for name in names:
        if name not in dropped and nearly_dates(frame[name]):
            numbers(frame[name], time=True)  # raises, with the row
    if len(dates) > 1:
        raise InvalidInput(
            f"Parameter `time` should be one of the columns of dates {listed(dates)}, where there "
            "are several. Found none: name one, and drop those that are no inputs."
        )
    return dates[0] if dates and dates[0] not in (question.label, question.group) else None


def _series(
    frame: Any, question: Question, roles: Roles, time: str | None
) -> tuple[Any, Series, Roles, list[str]]:
    """Rows series after series, the examples in them, and the columns' part in a series."""
    assert question.history is not None
    assert question.horizon is not None
    found = find_examples(
        len(frame),
        groups=None if question.group is None else group_codes(frame[question.group]),
        time=None if time is None else numbers(frame[time], time=True),
        history=question.history,
        horizon=question.horizon,
    )
    frame = frame.iloc[found.order]
    labelled = frame[question.label].notna().to_numpy()[found.present + question.horizon]
    said = list(found.warnings)
    if not labelled.all():
        said.append(f"{int((~labelled).sum())} examples have no label, and are left out.")
        found = found.only(labelled)
    if len(found.present) < FEWEST_ROWS:
        rule = f"rows for at least {FEWEST_ROWS} examples with that history and horizon"
        raise invalid("data", rule, len(found.present))
    columns = [str(name) for name in frame.columns]
    inputs = {*roles.inputs, question.label}
    later = {*inputs, *roles.privileged}
    roles = Roles(
        tuple(name for name in columns if name in inputs),
        tuple(name for name in columns if name in later),
        question.label,
        question.group,
    )
    return frame, found, roles, said


def _divided(
    frame: Any, question: Question, series: Series | None, classes: Classes | None, cells: Any
) -> tuple[Split, SplitKind, np.ndarray[Any, np.dtype[np.int64]] | None, bool]:
    """The parts, how they were drawn, what stays together, and whether classes were balanced."""
    if series is None:
        groups = None if question.group is None else group_codes(frame[question.group])
        strata = None if classes is None or groups is not None else classes.encode(cells).numpy()
        parts = split(len(frame), groups=groups, labels=strata, seed=SPLIT_SEED)
        return parts, "random" if groups is None else "group", groups, strata is not None
    if question.split == "group":
        parts = split(len(series.present), groups=series.series, seed=SPLIT_SEED)
        return parts, "group", series.series, False
    assert question.history is not None
    assert question.horizon is not None
    blocks = series.blocks(question.history + question.horizon)
    return split_in_time(series, gap=question.horizon), "time", blocks, False


def amounts_of(cells: Any, label: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The label as numbers whose squares stay finite."""
    amounts = np.array(numbers(cells), dtype=np.float64)
    if np.abs(amounts).max() > LARGEST_LABEL:
        rule = f"a label of numbers up to {LARGEST_LABEL:g}"
        raise invalid(label, rule, float(np.abs(amounts).max()))
    return amounts


def _anchor(
    cells: Any, present: np.ndarray[Any, Any], otherwise: float
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The label now: a series wanders, and its change is more alike from year to year."""
    now = np.array(numbers(cells), dtype=np.float64)[present]
    return np.where(np.isnan(now), otherwise, now)


def _same(cells: Any, answer: np.ndarray[Any, np.dtype[np.object_]]) -> bool:
    """Whether cells read as the answer in every row; a few rows tell most columns apart."""
    few = slice(100)
    return all(bool((texts(cells.iloc[part]) == answer[part]).all()) for part in (few, slice(None)))


def copies_of(frame: Any, label: str, roles: Roles, classes: Classes | None) -> list[str]:
    """Refuse inputs that are the label under another name; warn of what may be."""
    import pandas as pd

    answer = texts(frame[label])
    columns = (*roles.inputs, *roles.privileged)
    copies = [name for name in columns if _same(frame[name], answer)]
    among_inputs = [name for name in copies if name in set(roles.inputs)]
    if among_inputs:
        raise InvalidInput(
            f"The inputs should not hold the label. Found {listed(among_inputs)} equal to "
            f"`{label}` in every row: leave out such a column with `drop`, or, if it is "
            "known in hindsight only, name it with `privileged`."
        )
    same = [f"Column `{name}` equals the label in every row." for name in copies]
    if classes is None:
        return same
    partition = pd.factorize(answer)[0]
    return same + [
        f"Column `{name}` tells the label exactly, and the label tells it: is it the answer?"
        for name in columns
        if name not in copies and bool((pd.factorize(texts(frame[name]))[0] == partition).all())
    ]


def group_codes(cells: pd.Series) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The number of the group of each row, by the groups' order."""
    gone = cells.isna().to_numpy()
    if gone.any():
        rule = f"a column without missing values; leave out {row_list(cells, gone)}"
        raise invalid("group", rule, f"{int(gone.sum())} missing in `{cells.name}`")
    codes, _ = cells.factorize(sort=True)
    return np.asarray(codes, dtype=np.int64)
