"""From a table to what every run needs, fitted anew wherever environments are left out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..._checks import invalid, listed
from ..._names import named
from ..._table import absent, read_table, row_list, texts
from ...runs import key
from .._columns import Roles, assign_roles, describe, is_numeric
from .._encode import Codes
from .._label import Bins, Classes, check_label
from .._prepare import Question, amounts_of, copies_of
from .._prepared import Prepared
from .._split import Split
from ._parts import LeftOut, Parts, searched

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ENVIRONMENTS = 3
FEWEST_PER_ENVIRONMENT = 30
TELLING = 0.5  # missing so much more often in one environment than in another


@dataclass(frozen=True)
class Table:
    """A table, and the parts in which its environments are left out."""

    frame: pd.DataFrame
    roles: Roles
    parts: Parts
    classes: Classes | None
    amounts: np.ndarray[Any, np.dtype[np.float64]] | None

    def target(self, left_out: LeftOut) -> Classes | Bins:
        """The label as runs without these parts learn it."""
        known = self.parts.rows(self.parts.others(left_out))
        return self.classes or Bins.fit(self.frame[self.roles.label].iloc[known])

    def prepared(self, left_out: LeftOut) -> Prepared:
        """What runs without these parts need; all that is learnt of columns is from the others.

        ``validation`` is the first of two parts that are left out, ``test`` the last; ``groups``
        is the environment of each row.
        """
        rows, parts = len(self.frame), self.parts
        known = parts.rows(parts.others(left_out))
        columns, _ = describe(self.frame.iloc[known], self.roles.inputs)
        target = self.target(left_out)
        y = target.encode(self.frame[self.roles.label])
        offset, scale = 0.0, 1.0
        if self.amounts is not None:
            offset, scale = float(self.amounts[known].mean()), float(self.amounts[known].std())
        values = target.values
        return Prepared(
            inputs=Codes.of(self.frame, columns),
            privileged=Codes(torch.zeros(rows, 0), torch.zeros(rows, 0, dtype=torch.int64)),
            present=torch.arange(rows),
            history=1,
            horizon=0,
            y=y,
            label=y.double() if self.amounts is None else torch.from_numpy(self.amounts),
            anchor=None,
            groups=torch.from_numpy(parts.site),
            split=Split(known, parts.rows(left_out[:-1]), parts.rows(left_out[-1:])),
            in_time=True,  # one split for every seed
            values=None if values is None else values.double(),
            outputs=target.n_outputs,
            stratify=False,
            columns=columns,
            privileged_columns=(),
            offset=offset,
            scale=scale,
        )


def prepare(path: Path, question: Question) -> tuple[Table, dict[str, Any]]:
    """Read and check a table; ``question.group`` is the column of environments.

    Returns:
        The table, and what of it goes into the record.
    """
    question.check()
    environment = question.group
    assert environment is not None
    frame = read_table(path, question.na)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    names = [str(name) for name in frame.columns]
    dropped = named("drop", question.drop, names, label=question.label, environment=environment)
    kept = [name for name in names if name not in dropped]
    roles = assign_roles(kept, question.label, group=environment, grouped_by="environment")
    cells = frame[question.label]
    decided = check_label(cells, question.task)
    warnings = []
    if question.task == "auto":
        warnings.append(f"Learnt as a {decided.kind}: {decided.reason}.")
    classes = Classes.fit(cells) if decided.kind == "classification" else None
    sites = _sites(frame[environment])
    parts = Parts.of(sites.names, sites.encode(frame[environment]).numpy())
    _check_labels(cells, parts)
    columns, said = describe(frame, roles.inputs)
    table = Table(
        frame, roles, parts, classes, None if classes else amounts_of(cells, question.label)
    )
    used = {column.name for column in columns}
    facts = {
        "file": path.name,
        "sha256": digest,
        "rows": len(frame),
        "task": decided.kind,
        "label": question.label,
        "group": None,
        "environment": environment,
        "inputs": list(roles.inputs),
        "dates": [column.name for column in columns if column.time],
        "privileged": [],
        "na": [*question.na],
        "dropped": [*dropped, *(name for name in roles.inputs if name not in used)],
        "warnings": [
            *warnings,
            *said,
            *copies_of(frame, question.label, roles, classes),
            *_telling(frame, roles.inputs, parts),
            *_alone(frame, used, roles.inputs, parts),
        ],
        "classes": list(classes.names) if classes else None,
        "bins": None if classes else table.target(()).n_outputs,
        "series": None,
    }
    return table, facts


def asked(facts: dict[str, Any]) -> str:
    """The key of a question: what decides the numbers of every run."""
    return key({name: value for name, value in facts.items() if name != "warnings"})


def _sites(cells: pd.Series) -> Classes:
    """The environments, each with rows enough."""
    gone = absent(cells)
    if gone.any():
        rule = f"a column without missing values; leave out {row_list(cells, gone)}"
        raise invalid("environment", rule, f"{int(gone.sum())} missing in `{cells.name}`")
    sites = Classes.fit(cells)
    counts = np.bincount(sites.encode(cells).numpy())
    if len(sites.names) < FEWEST_ENVIRONMENTS:
        rule = f"a column of at least {FEWEST_ENVIRONMENTS} different values"
        raise invalid("environment", rule, ", ".join(sites.names))
    small = [
        name for name, n in zip(sites.names, counts, strict=True) if n < FEWEST_PER_ENVIRONMENT
    ]
    if small:
        rule = (
            f"a column with at least {FEWEST_PER_ENVIRONMENT} rows of each value; merge those that "
            f"have fewer, or leave them out: {listed(small)}"
        )
        raise invalid("environment", rule, f"{counts.min()} rows of {sites.names[counts.argmin()]}")
    return sites


def _check_labels(cells: pd.Series, parts: Parts) -> None:
    """Whatever is left out, what remains must have something to learn."""
    words = texts(cells)
    for left_out in searched(parts.count):
        here = set(words[parts.rows(parts.others(left_out))].tolist())
        if len(here) < 2:
            without = [parts.names[e] for p in left_out for e in parts.members(p)]
            rule = f"a label of two values at least where {listed(without)} are left out"
            raise invalid(str(cells.name), rule, next(iter(here)))


def _telling(frame: pd.DataFrame, inputs: tuple[str, ...], parts: Parts) -> list[str]:
    """Columns that tell where a row is from: by what is missing, or by their own categories."""
    said = []
    for name in inputs:
        gone = absent(frame[name])
        share = [float(gone[parts.site == e].mean()) for e in range(len(parts.names))]
        most, least = int(np.argmax(share)), int(np.argmin(share))
        if share[most] - share[least] > TELLING:
            said.append(
                f"Column `{name}` is missing in {share[most]:.0%} of the rows of "
                f"{parts.names[most]} and {share[least]:.0%} of {parts.names[least]}: that it is "
                "missing tells where a row is from."
            )
        if is_numeric(frame[name]):
            continue
        words = texts(frame[name])
        homes: dict[str, set[int]] = {}
        for word, e in zip(words[~gone], parts.site[~gone], strict=True):
            homes.setdefault(word, set()).add(int(e))
        if len(homes) > 1 and all(len(own) == 1 for own in homes.values()):
            said.append(
                f"No two environments share a value of column `{name}`: at a new one it tells "
                "nothing. Drop it."
            )
    return said


def _alone(frame: pd.DataFrame, used: set[str], inputs: tuple[str, ...], parts: Parts) -> list[str]:
    """Columns that have something to say in one part only."""
    said = []
    for part in range(parts.count):
        columns, _ = describe(frame.iloc[parts.rows(parts.others((part,)))], inputs)
        for name in sorted(used - {column.name for column in columns}):
            where = listed(parts.names[e] for e in parts.members(part))
            said.append(f"Column `{name}` is empty or constant without {where}: not used there.")
    return said
