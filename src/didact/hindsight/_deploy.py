"""The student as it leaves the house: columns in, probabilities or label units out."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import DidactError, InvalidInput, invalid
from ..export._onnx import save_onnx
from ..export._torch_export import load_pt2, save_pt2
from ..runs import read_json, write_json
from ._columns import Column
from ._encode import Codes, Encoder
from ._label import Bins, Classes, label_from_json

FORMAT = 3
_CHECKED_ROWS = 256


class Deployed(nn.Module):
    """Encoder and student as one module that needs only the present.

    Classification: p = softmax(logits), ``[n, K]``. Regression: Σ_b p_b·value_b, or offset +
    scale · output, ``[n]``, in label units and float64, as float32 hardly tells large labels apart.
    Of a series it takes windows, oldest row first.

    Args:
        encoder: ``(numeric, codes) → features``.
        student: ``features → (logits [n, K], activations)``; the activations are not used.
        values: The label's ``values``: None for classes, ``[K]`` for bins.
        unit: (offset, scale) of a student whose output is the number itself; None for others.
        anchor: (column, origin, otherwise) of a student that predicts the change of a number: which
            of the numeric columns is the label, that column's origin, and what stands where it is
            missing now; None for others.

    Example:
        >>> class Student(nn.Module):
        ...     def forward(self, features):
        ...         return features.new_zeros(len(features), 2), ()
        >>> encoder = Encoder(torch.zeros(1), torch.ones(1), torch.tensor([False]), [])
        >>> row = torch.ones(1, 1), torch.zeros(1, 0, dtype=torch.int64)
        >>> Deployed(encoder, Student(), None)(*row)
        tensor([[0.5000, 0.5000]])
        >>> Deployed(encoder, Student(), torch.tensor([10.0, 20.0]))(*row)
        tensor([15.], dtype=torch.float64)
    """

    values: Tensor | None

    unit: Tensor | None

    level: Tensor | None

    def __init__(
        self,
        encoder: Encoder,
        student: nn.Module,
        values: Tensor | None,
        unit: tuple[float, float] | None = None,
        anchor: tuple[int, float, float] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.student = student
        double = torch.float64
        self.register_buffer("values", None if values is None else values.to(double))
        self.register_buffer("unit", None if unit is None else torch.tensor(unit, dtype=double))
        self.column = None if anchor is None else anchor[0]
        # A plain number would be float32 in ONNX.
        level = None if anchor is None else torch.tensor(anchor[1:], dtype=double)
        self.register_buffer("level", level)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Probabilities ``[n, K]`` or predictions ``[n]`` of :class:`Codes`' two tensors.

        Both are ``[n, columns]``, or ``[n, history, columns]`` of a series.
        """
        logits, _ = self.student(self.encoder(numeric, codes).flatten(1))
        found: Tensor = logits.softmax(dim=-1)
        if self.unit is not None:
            found = self.unit[0] + self.unit[1] * logits[:, 0].double()
        elif self.values is not None:
            found = found.double() @ self.values
        if self.level is not None:
            now = numeric[:, -1, self.column].double() + self.level[0]
            found = found + torch.where(now.isnan(), self.level[1], now)
        return found


@dataclass(frozen=True)
class Loaded:
    """What :func:`load_deployed` found.

    Attributes:
        module: ``(numeric, codes) →`` probabilities ``[n, K]`` or predictions ``[n]``.
        columns: The input columns, for ``Codes.of``.
        label: The classes or bins.
        label_name: The column that is predicted.
        na: The tokens that meant "missing" in training, beside the usual ones.
        series: Of a series, ``history``, ``horizon``, ``time``, ``step`` and ``group``.
        run: Names the training run that the model is from.
    """

    module: Callable[..., Any]
    columns: tuple[Column, ...]
    label: Classes | Bins
    label_name: str
    na: tuple[str, ...]
    series: dict[str, Any] | None
    run: str


def save_deployed(
    folder: str | os.PathLike[str],
    deployed: Deployed,
    columns: Sequence[Column],
    label: Classes | Bins,
    example: Codes,
    *,
    label_name: str,
    na: Iterable[str] = (),
    series: dict[str, Any] | None = None,
    run: str = "",
) -> None:
    """Write ``student.onnx``, ``student.pt2`` and, last, ``schema.json``; each whole or not at all.

    The ONNX model takes the raw columns by name and has been compared with PyTorch on up to
    256 rows of ``example``; no row of ``example`` is written. The schema (columns, categories,
    label) is also inside ``student.pt2``.

    Args:
        folder: An existing folder.
        deployed: The model; left as it is, whatever its device and mode.
        columns: The columns its encoder was fitted on.
        label: The classes or bins its student was trained on.
        example: Rows to compare on, at least one.
        label_name: The column that is predicted.
        na: The tokens that meant "missing" in training, beside the usual ones.
        series: What :class:`Loaded` says of it; None for a table.
        run: Names the training run that the model is from.

    Raises:
        InvalidInput: Columns, label and model do not fit together.
        DidactError: ONNX and PyTorch disagree, or a file cannot be written.
    """
    folder = Path(folder)
    if not len(example):
        raise invalid("example", "at least one row", 0)
    example = Codes(example.numeric[:_CHECKED_ROWS].cpu(), example.codes[:_CHECKED_ROWS].cpu())
    deployed = copy.deepcopy(deployed).cpu().eval()
    _check_fit(deployed, label, example)
    classes = isinstance(label, Classes)
    output = save_onnx(
        deployed,
        (example.numeric, example.codes),
        folder / "student.onnx",
        numeric=[column.name for column in columns if column.kind == "numeric"],
        categorical={c.name: c.categories for c in columns if c.kind == "categorical"},
        origins={c.name: c.origin for c in columns if c.origin},
        output="probabilities" if classes else "prediction",
    )
    schema = {
        "format": FORMAT,
        "columns": [column.to_json() for column in columns],
        "label": {"name": label_name, **label.to_json()},
        "na": list(na),
        "onnx_output": output,
        "series": series,
        "run": run,
    }
    inputs = (example.numeric, example.codes)
    save_pt2(deployed, inputs, folder / "student.pt2", mapping=schema)
    write_json(folder / "schema.json", schema)


def _check_fit(deployed: Deployed, label: Classes | Bins, example: Codes) -> None:
    values = label.values
    plain = deployed.unit is not None
    same = deployed.values is None if values is None or plain else deployed.values is not None
    if same and values is not None and deployed.values is not None:
        same = torch.equal(values, deployed.values)
    if not same or (plain and values is None):
        raise invalid("deployed.values", "the `values` of the label", deployed.values)
    with torch.no_grad():
        found = deployed(example.numeric[:1], example.codes[:1]).shape
    wanted = (1, label.n_outputs) if values is None else (1,)
    if tuple(found) != wanted:
        raise invalid("deployed", f"a model with output {wanted} for one row", tuple(found))


def load_deployed(folder: str | os.PathLike[str]) -> Loaded:
    """What :func:`save_deployed` wrote, ready to run on the CPU; nothing is unpickled into code.

    Raises:
        InvalidInput: A file is not what it should be, or the files are of two different runs.
        DidactError: A file cannot be read.
    """
    folder = Path(folder)
    schema = read_json(folder / "schema.json")
    module, mapping = load_pt2(folder / "student.pt2")
    if schema != mapping:
        raise InvalidInput(
            f"`schema.json` and `student.pt2` in `{folder}` are of different runs: a fit was "
            "interrupted; run its command again."
        )
    if schema.get("format") != FORMAT:
        raise DidactError(
            f"`{folder}` has format {schema.get('format')!r}; this didact reads {FORMAT}."
        )
    return Loaded(
        module,
        tuple(Column.from_json(column) for column in schema["columns"]),
        label_from_json(schema["label"]),
        schema["label"]["name"],
        tuple(schema["na"]),
        schema["series"],
        schema["run"],
    )
