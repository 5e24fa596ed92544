"""What every run needs of a table, in memory and in one file of tensors."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import DidactError
from ..runs import write_atomic
from ._columns import Column
from ._encode import Codes, Encoder
from ._output import Output, output_for
from ._rows import Rows
from ._split import Split, resplit


@dataclass(frozen=True)
class Prepared:
    """What every run needs of the table, in memory or in one file of tensors.

    Columns are kept by row of the table, all else by example: of a table an example is a row, of
    a series a row with enough past and future (see :class:`Rows`).

    ``label`` and the bins' ``values`` are float64, in label units; runs see them with mean
    ``offset`` and deviation ``scale`` taken out, since float32 cannot tell large labels apart.

    Attributes:
        inputs, privileged: the columns of x and of x*, ``[rows]``.
        present: the row of each example, ``[n]``.
        history, horizon: of a series; 1 and 0 of a table.
        y: class or bin, ``[n]``.
        label: ``[n]``; in a series of numbers its change since the present.
        anchor: what the label changed from, ``[n]``; None where ``label`` is the label itself.
        groups: what stays together in a split and in a resample, ``[n]``: groups of rows, or
            stretches of a series; None for single rows.
        split: of examples.
        in_time: whether the split is by time; it is then the same for every seed.
        values: of the bins; None for classes.
        outputs: number of classes or bins.
        stratify: whether the split is by class.
        columns, privileged_columns: what they hold.
        offset, scale: mean and deviation of the label.
    """

    inputs: Codes
    privileged: Codes
    present: Tensor
    history: int
    horizon: int
    y: Tensor
    label: Tensor
    anchor: Tensor | None
    groups: Tensor | None
    split: Split
    in_time: bool
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
        parts = (self.split.train, self.split.validation, self.split.test)
        plain = {
            **vars(self),
            "inputs": (self.inputs.numeric, self.inputs.codes),
            "privileged": (self.privileged.numeric, self.privileged.codes),
            "split": [torch.from_numpy(part) for part in parts],
            "columns": [c.to_json() for c in self.columns],
            "privileged_columns": [c.to_json() for c in self.privileged_columns],
        }
        torch.save(plain, buffer)
        write_atomic(path, buffer.getvalue())

    @staticmethod
    def load(path: Path) -> Prepared:
        """Read what ``save`` wrote; only tensors and plain values are accepted."""
        try:
            stored = torch.load(path, weights_only=True)
            made = {
                "inputs": Codes(*stored["inputs"]),
                "privileged": Codes(*stored["privileged"]),
                "split": Split(*(part.numpy() for part in stored["split"])),
                "columns": tuple(Column.from_json(c) for c in stored["columns"]),
                "privileged_columns": tuple(
                    Column.from_json(c) for c in stored["privileged_columns"]
                ),
            }
            return Prepared(**{**stored, **made})
        except Exception as error:
            raise DidactError(
                f"The file `{path}` cannot be read ({error}). Remove it and run again."
            ) from error

    def level(self, change: Tensor, examples: np.ndarray[Any, Any] | slice) -> Tensor:
        """Labels of some examples from their change; without an anchor they are the same."""
        return change if self.anchor is None else change + self.anchor[examples]

    def standard(self, label: Tensor) -> Tensor:
        """Labels, or the bins' values, as the runs see them: float32 ``[n]``."""
        return ((label - self.offset) / self.scale).float()

    def split_for(self, seed: int | None) -> Split:
        """The split of one seed: the test rows are always the same, the others are drawn anew.

        ``None`` is the split on which settings are searched. A split in time has no other.
        """
        if seed is None or self.in_time:
            return self.split
        groups = None if self.groups is None else self.groups.numpy()
        labels = self.y.numpy() if self.stratify else None
        return resplit(self.split, groups=groups, labels=labels, seed=seed)

    def output(self, settings: dict[str, Any], device: torch.device) -> Output:
        """What the last layer of a student with these settings means."""
        values = None if self.values is None else self.standard(self.values).to(device)
        return output_for(settings, self.outputs, values)

    @property
    def unit(self) -> float:
        """Squared errors of runs, which see a standardised label, times this are label units."""
        return 1.0 if self.values is None else self.scale**2


def encoders(data: Prepared, seed: int | None) -> tuple[Encoder, Encoder]:
    """The encoders of x and x*, fitted on the training rows of one seed's split."""
    present = data.present[data.split_for(seed).train].numpy()
    past, later = rows_behind(present, data.history, data.horizon)
    return (
        Encoder.fit(data.columns, data.inputs.numeric[past], data.inputs.codes[past]),
        Encoder.fit(
            data.privileged_columns, data.privileged.numeric[later], data.privileged.codes[later]
        ),
    )


def rows_behind(
    present: np.ndarray[Any, np.dtype[np.int64]], history: int, horizon: int
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """The rows of the table that x and x* of some examples are made of, each once, ascending.

    Of a table both are the rows themselves. Of a series x is of the ``history`` rows up to the
    present, x* of those after it and before ``horizon``.

    Example:
        >>> past, later = rows_behind(np.array([3, 4]), history=2, horizon=3)
        >>> past.tolist(), later.tolist()
        ([2, 3, 4], [4, 5, 6])
    """
    if not horizon:
        rows = np.sort(present)  # an example is a row
        return rows, rows
    found = np.zeros((2, int(present.max()) + horizon + 1), dtype=bool)
    for k in range(history):
        found[0, present - k] = True
    for k in range(1, horizon):
        found[1, present + k] = True
    return found[0].nonzero()[0], found[1].nonzero()[0]


def encoded(
    data: Prepared, seed: int | None, *, hindsight: bool, device: torch.device
) -> dict[str, Rows]:
    """The examples of one seed's split, encoded: ``train``, ``validation`` and ``test``."""
    encode, encode_privileged = encoders(data, seed)
    whole = Rows(
        encode(data.inputs.numeric, data.inputs.codes).to(device),
        encode_privileged(data.privileged.numeric, data.privileged.codes).to(device),
        data.present.to(device),
        data.y.to(device),
        data.standard(data.label).to(device),
        data.history,
        data.horizon,
        hindsight,
    )
    split = data.split_for(seed)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return {name: whole.only(torch.from_numpy(part).to(device)) for name, part in parts.items()}
