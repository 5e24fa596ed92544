"""New rows in, predictions out: the whole use of a finished fit."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from .._checks import InvalidInput, invalid
from ..runs import write_atomic
from ._deploy import Loaded, load_deployed
from ._encode import Codes
from ._label import Classes
from ._table import read_table

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 8192


def predict(
    folder: str | os.PathLike[str],
    data_path: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    na: Iterable[str] = (),
) -> int:
    """Predict every row of a table with the student that ``didact fit`` left in a folder.

    Only the input columns are read; label, privileged and any other columns are ignored and
    need not be there. A category not seen in training is "other".

    Args:
        folder: Holds ``schema.json`` and ``student.pt2``.
        data_path: The new rows, CSV or Parquet.
        out_path: A ``.csv``, another file than ``data_path``; written whole or not at all, rows
            in the input's order. Classification: ``prediction`` (the most probable class) and
            one ``probability_<class>`` each; regression: ``prediction`` in label units.
        na: Tokens that mean "missing", beside those given to ``didact fit`` and the usual ones.

    Returns:
        The number of rows predicted.

    Raises:
        InvalidInput: The folder holds no finished fit, an argument breaks a rule, an input
            column is not there, or a cell does not fit its column.
        DidactError: A file cannot be read or written.
    """
    if isinstance(na, str):
        raise invalid("na", "a list of strings, not one string", na)
    out = Path(out_path)
    if out.suffix.lower() != ".csv":
        raise invalid("out_path", "a .csv file", str(out))
    if out.resolve() == Path(data_path).resolve():
        raise invalid("out_path", "another file than the data", str(out))
    for name in ("schema.json", "student.pt2"):
        if not Path(folder, name).is_file():
            raise InvalidInput(f"`{folder}` holds no finished fit: `{name}` is missing.")
    loaded = load_deployed(folder)
    text = [column.name for column in loaded.columns if column.kind == "categorical"]
    table = read_table(data_path, na=[*loaded.na, *na], text=text)
    codes = Codes.of(table, loaded.columns)
    with torch.no_grad():
        batches = [
            loaded.module(codes.numeric[i : i + _BATCH], codes.codes[i : i + _BATCH]).numpy()
            for i in range(0, len(codes), _BATCH)
        ]
    predictions = _named(loaded, np.concatenate(batches))
    write_atomic(out, predictions.to_csv(index=False, lineterminator="\n"))
    return len(predictions)


def _named(loaded: Loaded, found: NDArray[np.float32]) -> pd.DataFrame:
    """Predictions under the names of the label."""
    import pandas as pd

    if not isinstance(loaded.label, Classes):
        return pd.DataFrame({"prediction": found})
    names = np.array(loaded.label.names, dtype=object)
    columns = {f"probability_{name}": found[:, k] for k, name in enumerate(names)}
    return pd.DataFrame({"prediction": names[found.argmax(axis=1)], **columns})
