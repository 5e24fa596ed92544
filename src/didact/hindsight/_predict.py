"""New rows in, predictions out: the whole use of a finished fit."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._checks import InvalidInput, check_file, invalid, listed
from .._table import numbers, parsed, read_table
from ..runs import read_json, write_atomic
from ._deploy import Loaded, load_deployed
from ._encode import Codes
from ._label import Classes
from ._prepare import group_codes
from ._series import find_examples

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 8192
_IDENTITY = ("group", "time")


def predict(
    folder: str | os.PathLike[str],
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    na: Iterable[str] = (),
) -> int:
    """Predict every row of a table with the student that ``didact fit`` left in a folder.

    Only the input columns are read; label, privileged and any other columns are ignored and
    need not be there. A category not seen in training is "other".

    Of a series every row is predicted that has enough rows behind it, by the same rules for
    groups and time as in ``fit``: the prediction of a row is the label ``horizon`` rows after it.
    The other rows get an empty cell. The columns of group and time stand in front.

    Args:
        folder: Holds ``schema.json`` and ``student.pt2``.
        data: The new rows, CSV or Parquet.
        out: A ``.csv``, another file than ``data``; written whole or not at all, rows
            in the input's order. Classification: ``prediction`` (the most probable class) and
            one ``probability_<class>`` each; regression: ``prediction`` in label units.
        na: Tokens that mean "missing", beside those given to ``didact fit`` and the usual ones.

    Returns:
        The number of rows predicted.

    Raises:
        InvalidInput: The folder holds no finished fit, an argument breaks a rule, an input
            column is not there, or a cell does not fit its column.
        DidactError: A file cannot be read or written.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> from didact.hindsight import fit
        >>> x, later = np.random.default_rng(0).normal(size=(2, 60))
        >>> table = pd.DataFrame({"x": x, "later": later, "y": x + later})
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     data, out = Path(folder, "visits.csv"), Path(folder, "out")
        ...     table.to_csv(data, index=False)
        ...     _ = fit(data, label="y", privileged=["later"], out=out, quick=True, jobs=1)
        ...     new = Path(folder, "new.csv")
        ...     table[["x"]].head(3).to_csv(new, index=False)
        ...     predict(out, new, Path(folder, "predictions.csv"))
        3
    """
    if isinstance(na, str):
        raise invalid("na", "a list of strings, not one string", na)
    out = Path(out)
    if out.suffix.lower() != ".csv":
        raise invalid("out", "a .csv file", str(out))
    if out.resolve() == check_file("data", data).resolve():
        raise invalid("out", "another file than the data", str(out))
    for name in ("schema.json", "student.pt2"):
        if not Path(folder, name).is_file():
            raise InvalidInput(f"`{folder}` holds no finished fit: `{name}` is missing.")
    loaded = load_deployed(folder)
    _check_run(Path(folder), loaded.run)
    text = [column.name for column in loaded.columns if column.kind == "categorical"]
    # Group and time are written as they were read: 007 is not 7.
    text += [] if loaded.series is None else [loaded.series[r] for r in _IDENTITY]
    table = read_table(data, na=[*loaded.na, *na], text=[name for name in text if name])
    if loaded.series is None:
        predictions = _named(loaded, _run(loaded, Codes.of(table, loaded.columns)))
    else:
        predictions = _of_series(loaded, table, loaded.series)
    write_atomic(out, predictions.to_csv(index=False, lineterminator="\n"))
    return int(predictions["prediction"].notna().sum())


def _check_run(folder: Path, run: str) -> None:
    """The report beside the model must be of the same run, where there is one."""
    if not (folder / "metrics.json").is_file():
        return
    told = read_json(folder / "metrics.json").get("deployed", {}).get("run")
    if told != run:
        raise InvalidInput(
            f"`metrics.json` and `student.pt2` in `{folder}` are of different runs: a fit was "
            "interrupted; run its command again."
        )


def _of_series(loaded: Loaded, table: pd.DataFrame, series: dict[str, Any]) -> pd.DataFrame:
    for role in _IDENTITY:
        if series[role] is not None and series[role] not in table.columns:
            rule = f"a table with the {role} `{series[role]}`; it has {listed(table.columns)}"
            raise invalid("data", rule, "none")
    time = series["time"]
    found = find_examples(
        len(table),
        groups=None if series["group"] is None else group_codes(parsed(table[series["group"]])),
        time=None if time is None else numbers(parsed(table[time]), time=True),
        step=series["step"],
        history=series["history"],
        horizon=0,
    )
    codes = Codes.of(table.iloc[found.order], loaded.columns)
    at = torch.from_numpy(found.present)
    made = [
        _run(loaded, codes.windows(part, series["history"]))
        for part in torch.split(at, _BATCH)
        if len(part)
    ]
    if not made:
        raise InvalidInput(
            f"Parameter `data` should have {series['history']} rows in a row, without a gap, of "
            "one series. Found none."
        )
    predictions = _named(loaded, np.concatenate(made))
    every = predictions.set_axis(found.order[found.present], axis=0).reindex(range(len(table)))
    # Whose and what time each prediction is: of the row, not of the label that it foresees.
    for place, role in enumerate(r for r in _IDENTITY if series[r] is not None):
        every.insert(place, series[role], table[series[role]])
    return every


def _run(loaded: Loaded, codes: Codes) -> NDArray[np.float32]:
    """What the model says of rows or windows, in batches that fit in memory."""
    with torch.no_grad():
        batches = [
            loaded.module(codes.numeric[i : i + _BATCH], codes.codes[i : i + _BATCH]).numpy()
            for i in range(0, len(codes), _BATCH)
        ]
    return np.concatenate(batches)


def _named(loaded: Loaded, found: NDArray[np.float32]) -> pd.DataFrame:
    """Predictions under the names of the label."""
    import pandas as pd

    if not isinstance(loaded.label, Classes):
        return pd.DataFrame({"prediction": found})
    names = np.array(loaded.label.names, dtype=object)
    columns = {f"probability_{name}": found[:, k] for k, name in enumerate(names)}
    return pd.DataFrame({"prediction": names[found.argmax(axis=1)], **columns})
