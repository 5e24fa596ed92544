"""From a table to tensors: what every run needs, in memory and on disk."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import DidactError, InvalidInput, check_choice, invalid, listed
from ..runs import key, write_atomic
from ._columns import Column, assign_roles, describe
from ._encode import Codes, Encoder
from ._label import Bins, Classes, check_label
from ._split import Split, resplit, split
from ._table import numbers, read_table, row_list, texts

SPLIT_SEED = 0
LARGEST_LABEL = 1e30


@dataclass(frozen=True)
class Prepared:
    """What every run needs of the table, in memory or in one file of tensors.

    ``label`` and the bins' ``values`` are float64, in label units; runs see them with mean
    ``offset`` and deviation ``scale`` taken out, since float32 cannot tell large labels apart.
    """

    inputs: Codes
    privileged: Codes
    y: Tensor
    label: Tensor
    groups: Tensor | None
    split: Split
    values: Tensor | None
    outputs: int
    stratify: bool
    columns: tuple[Column, ...]
    privileged_columns: tuple[Column, ...]
    offset: float
    scale: float

    def save(self, path: Path) -> None:
        """Write the tensors and columns, whole or not at all."""
        buffer = io.BytesIO()
        split = self.split
        torch.save(
            {
                "inputs": (self.inputs.numeric, self.inputs.codes),
                "privileged": (self.privileged.numeric, self.privileged.codes),
                "y": self.y,
                "label": self.label,
                "groups": self.groups,
                "split": [
                    torch.from_numpy(part) for part in (split.train, split.validation, split.test)
                ],
                "values": self.values,
                "outputs": self.outputs,
                "stratify": self.stratify,
                "columns": [c.to_json() for c in self.columns],
                "privileged_columns": [c.to_json() for c in self.privileged_columns],
                "offset": self.offset,
                "scale": self.scale,
            },
            buffer,
        )
        write_atomic(path, buffer.getvalue())

    @staticmethod
    def load(path: Path) -> Prepared:
        """Read what ``save`` wrote; only tensors and plain values are accepted."""
        try:
            stored = torch.load(path, weights_only=True)
            return Prepared(
                inputs=Codes(*stored["inputs"]),
                privileged=Codes(*stored["privileged"]),
                y=stored["y"],
                label=stored["label"],
                groups=stored["groups"],
                split=Split(*(part.numpy() for part in stored["split"])),
                values=stored["values"],
                outputs=stored["outputs"],
                stratify=stored["stratify"],
                columns=tuple(Column.from_json(c) for c in stored["columns"]),
                privileged_columns=tuple(Column.from_json(c) for c in stored["privileged_columns"]),
                offset=stored["offset"],
                scale=stored["scale"],
            )
        except Exception as error:
            raise DidactError(
                f"The file `{path}` cannot be read ({error}). Remove it and run again."
            ) from error

    def standard(self, label: Tensor) -> Tensor:
        """Labels, or the bins' values, as the runs see them: float32 ``[n]``."""
        return ((label - self.offset) / self.scale).float()

    def split_for(self, seed: int | None) -> Split:
        """The split of one seed: the test rows are always the same, the others are drawn anew.

        ``None`` is the split on which settings are searched.
        """
        if seed is None:
            return self.split
        groups = None if self.groups is None else self.groups.numpy()
        labels = self.y.numpy() if self.stratify else None
        return resplit(self.split, groups=groups, labels=labels, seed=seed)


def encoders(data: Prepared, seed: int | None) -> tuple[Encoder, Encoder]:
    """The encoders of x and x*, fitted on the training rows of one seed's split."""
    rows = data.split_for(seed).train
    return (
        Encoder.fit(data.columns, data.inputs.numeric[rows], data.inputs.codes[rows]),
        Encoder.fit(
            data.privileged_columns, data.privileged.numeric[rows], data.privileged.codes[rows]
        ),
    )


def prepare(
    path: Path, label: str, patterns: list[str], group: str | None, task: str, na: list[str]
) -> tuple[Prepared, Classes | Bins, dict[str, Any]]:
    """Read, check, split and encode a table; what of it goes into the record, and its key."""
    frame = read_table(path, na)
    if not patterns:
        raise invalid(
            "privileged",
            "at least one name or pattern of the columns known only in hindsight; "
            f"the columns are {listed(map(str, frame.columns))}",
            patterns,
        )
    check_choice("task", task, ("auto", "classification", "regression"))
    roles = assign_roles(frame.columns, label, patterns, group)
    decided = check_label(frame[label], task)
    kind = decided.kind
    groups = _groups(frame, group)
    classes = Classes.fit(frame[label]) if kind == "classification" else None
    strata = None if classes is None or groups is not None else classes.encode(frame[label]).numpy()
    parts = split(len(frame), groups=groups, labels=strata, seed=SPLIT_SEED)
    seen = np.sort(np.concatenate([parts.train, parts.validation]))
    known = frame.iloc[seen]
    target: Classes | Bins = classes or Bins.fit(known[label])
    columns, warnings = describe(known, roles.inputs)
    privileged, more = describe(known, roles.privileged)
    kept = {c.name for c in (*columns, *privileged)}
    dropped = [name for name in (*roles.inputs, *roles.privileged) if name not in kept]
    more = (*more, *_copies(frame, label, roles.inputs, roles.privileged, classes))
    y = target.encode(frame[label])
    amounts = _amounts(frame[label], label) if classes is None else y.numpy().astype(np.float64)
    offset, scale = (amounts[seen].mean(), amounts[seen].std()) if classes is None else (0.0, 1.0)
    values = target.values
    prepared = Prepared(
        inputs=Codes.of(frame, columns),
        privileged=Codes.of(frame, privileged),
        y=y,
        label=torch.from_numpy(amounts),
        groups=None if groups is None else torch.from_numpy(groups),
        split=parts,
        values=None if values is None else values.double(),
        outputs=target.n_outputs,
        stratify=strata is not None,
        columns=columns,
        privileged_columns=privileged,
        offset=float(offset),
        scale=float(scale),
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    described = {
        "file": path.name,
        "sha256": digest,
        "rows": len(frame),
        "task": kind,
        "label": label,
        "group": group,
        "inputs": list(roles.inputs),
        "privileged": list(roles.privileged),
        "dropped": dropped,
        "warnings": [
            *([f"Learnt as a {kind}: {decided.reason}."] if task == "auto" else []),
            *warnings,
            *more,
        ],
        "classes": list(classes.names) if classes else None,
        "bins": None if classes else target.n_outputs,
    }
    return prepared, target, {"data": described, "key": key({**described, "na": na})}


def _amounts(cells: Any, label: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The label as numbers whose squares stay finite."""
    amounts = np.array(numbers(cells), dtype=np.float64)
    if np.abs(amounts).max() > LARGEST_LABEL:
        rule = f"a label of numbers up to {LARGEST_LABEL:g}"
        raise invalid(label, rule, float(np.abs(amounts).max()))
    return amounts


def _copies(
    frame: Any,
    label: str,
    inputs: Iterable[str],
    privileged: Iterable[str],
    classes: Classes | None,
) -> list[str]:
    """Refuse inputs that are the label under another name; warn of what may be."""
    import pandas as pd

    answer = texts(frame[label])
    copies = [name for name in (*inputs, *privileged) if bool((texts(frame[name]) == answer).all())]
    among_inputs = [name for name in copies if name in set(inputs)]
    if among_inputs:
        raise InvalidInput(
            f"The inputs should not hold the label. Found {listed(among_inputs)} equal to "
            f"`{label}` in every row: leave out such a column, or name it with `privileged`."
        )
    same = [f"Column `{name}` equals the label in every row." for name in copies]
    if classes is None:
        return same
    partition = pd.factorize(answer)[0]
    return same + [
        f"Column `{name}` tells the label exactly, and the label tells it: is it the answer?"
        for name in (*inputs, *privileged)
        if name not in copies and bool((pd.factorize(texts(frame[name]))[0] == partition).all())
    ]


def _groups(frame: Any, group: str | None) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    if group is None:
        return None
    gone = frame[group].isna().to_numpy()
    if gone.any():
        rule = f"a column without missing values; leave out {row_list(frame[group], gone)}"
        raise invalid("group", rule, f"{int(gone.sum())} missing in `{group}`")
    codes, _ = frame[group].factorize(sort=True)
    return np.asarray(codes, dtype=np.int64)
