"""The chosen student leaves the house: from a finished run to the files that predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ._deploy import Deployed, save_deployed
from ._label import Bins, Classes
from ._network import Student
from ._prepare import Question
from ._prepared import Prepared, encoders


def export(
    home: Path,
    run: Path,
    config: dict[str, Any],
    prepared: Prepared,
    target: Classes | Bins,
    question: Question,
    series: dict[str, Any] | None,
) -> None:
    """Write ``student.onnx``, ``student.pt2`` and ``schema.json`` of one final run.

    Args:
        home: where to.
        run: the folder in which the run left ``student.pt``.
        config: of the run.
        prepared, target, question: what it was trained on.
        series: how examples were cut out of a series; None for a table.
    """
    settings = config["settings"]
    encoder, _ = encoders(prepared, config["split"])
    output = prepared.output(settings, torch.device("cpu"))
    student = Student(
        encoder.n_features * prepared.history,
        output.size,
        width=settings["width"],
        depth=settings["depth"],
        dropout=settings["dropout"],
    )
    student.load_state_dict(torch.load(run / "student.pt", weights_only=True))
    model = Deployed(
        encoder,
        student,
        None if output.plain else target.values,
        (prepared.offset, prepared.scale) if output.plain else None,
        None if prepared.anchor is None else _anchor(prepared, question.label),
    )
    rows = prepared.present[prepared.split.train[:256]]
    save_deployed(
        home,
        model,
        prepared.columns,
        target,
        prepared.inputs.windows(rows, prepared.history) if series else prepared.inputs[rows],
        label_name=question.label,
        na=question.na,
        series=None if series is None else {**series, "group": question.group},
        run=run.name,
    )


def _anchor(prepared: Prepared, label: str) -> tuple[int, float, float]:
    """Which numeric column is the label, its origin, and the anchor where it is missing."""
    numeric = [column for column in prepared.columns if column.kind == "numeric"]
    place = next(j for j, column in enumerate(numeric) if column.name == label)
    split = prepared.split
    seen = np.concatenate([split.train, split.validation])
    level = prepared.level(prepared.label[seen], seen)
    return place, numeric[place].origin, float(level.mean())
