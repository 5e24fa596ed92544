"""A file becomes a table, and a cell is read in one of two ways: as a number or as text."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._checks import InvalidInput, check_file, invalid, listed, shown

if TYPE_CHECKING:
    import pandas as pd

EXACT = 2**53  # from here on a float64 no longer tells neighbouring integers apart
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
"""Of the files that are tables."""
_SAMPLE = 1 << 20
_DECIMAL_COMMA = r"\s*[+-]?\d+,\d+\s*"
_ISO = (
    r"\d{4}-\d{2}-\d{2}"
    r"(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.]\d{1,9})?)?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?"
)
_DATED = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?!\d)"


def read_table(
    path: str | os.PathLike[str], na: Iterable[str] = (), text: Iterable[str] = ()
) -> pd.DataFrame:
    """Read a CSV or Parquet file; every oddity that would pass silently is an error instead.

    CSV (``.csv``, ``.tsv``, ``.txt``): UTF-8 with or without a byte order mark, the delimiter
    (comma, semicolon, tab or bar) found by how evenly it cuts the first megabyte. Missing are
    empty cells, the usual tokens (``NA``, ``nan``, ``null``, …) and those in ``na``. A column
    is numbers if every cell reads as one, a date if every cell is an ISO 8601 date or time
    (without a zone: UTC), else text, kept to the letter; but numbers with a decimal comma are
    refused, for they would all be different words. Integers of 2⁵³ and more stay text: they
    are identifiers. Spaces after a delimiter are not data; a column without a name (the row
    names that R and pandas write) is left out.

    Parquet (``.parquet``, ``.pq``): the types of the file. Missing are nulls, empty text, and
    cells whose text (see :func:`texts`) is in ``na``.

    Args:
        path: The file.
        na: More tokens that mean "missing".
        text: Columns of a CSV that stay text even if every cell reads as a number.

    Returns:
        The table, rows in the file's order, indexed from 0.

    Raises:
        InvalidInput: The file is missing, empty, without rows, not readable, of an unknown
            kind, has two columns of one name, rows longer or shorter than its header, or
            numbers with a decimal comma.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "visits.csv")
        ...     _ = path.write_text("id;größe;seen\\na;1.5;2024-01-01\\nb;?;2024-01-02\\n", "utf-8")
        ...     table = read_table(path, na=["?"])
        >>> table["größe"].tolist(), table["seen"].dt.day.tolist()
        ([1.5, nan], [1, 2])
    """
    path, na = check_file("data", path), list(na)
    if path.suffix.lower() not in SUFFIXES:
        raise invalid("data", f"a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file", str(path))
    reader = _read_parquet if path.suffix.lower() in (".parquet", ".pq") else _read_csv
    try:
        table = reader(path, na, frozenset(text))
    except UnicodeDecodeError as error:
        raise invalid("data", f"a table in UTF-8 ({error.reason})", str(path)) from error
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, InvalidInput):
            raise
        reason = " ".join(str(error).split())[:200]
        raise invalid("data", f"a readable table ({reason})", str(path)) from error
    if not len(table):
        raise invalid("data", "a table with at least one row below its header", str(path))
    return table


def _read_csv(path: Path, na: list[str], text: frozenset[str]) -> pd.DataFrame:
    import pandas as pd

    with path.open(encoding="utf-8-sig", newline="") as file:
        sample = file.read(_SAMPLE)
    delimiter, records = _layout(sample)
    if not records:
        raise invalid("data", "a file that is not empty", str(path))
    header = records[0]
    _check_unique(path, [name for name in header if name])
    _check_widths(path, delimiter, header)
    table = pd.read_csv(
        path, sep=delimiter, dtype=str, na_values=na, encoding="utf-8-sig", skipinitialspace=True
    )
    table.columns = pd.Index(header)
    table = table.loc[:, [bool(name) for name in header]]
    columns = {str(name): cells for name, cells in table.items()}
    read = {name: cells if name in text else parsed(cells) for name, cells in columns.items()}
    _check_decimals([columns[n] for n in read if n not in text and read[n] is columns[n]])
    return pd.DataFrame(read)


def _check_widths(path: Path, delimiter: str, header: list[str]) -> None:
    """Refuse rows longer than the header, and rows that end before its last named column."""
    least = max((i for i, name in enumerate(header, start=1) if name), default=0)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        for number, record in enumerate(r for r in reader if r not in ([], [""])):
            if not least <= len(record) <= len(header):
                long = "longer" if len(record) > len(header) else "shorter"
                rule = f"a table whose rows are no {long} than its header of {len(header)} columns"
                raise invalid("data", f"{rule} (row {number} has {len(record)})", str(path))


def _check_decimals(words: Iterable[pd.Series]) -> None:
    """Refuse text of numbers with a decimal comma: they would be text without a word."""
    found: dict[str, str] = {}
    for cells in words:
        there = cells.dropna()
        comma = there.str.fullmatch(_DECIMAL_COMMA).astype(bool)
        if comma.sum() >= 5 and comma.mean() >= 0.9:
            found[str(cells.name)] = there[comma].iloc[0]
    if found:
        raise InvalidInput(
            f"The numbers of {listed(found)} should have a decimal point. Found a decimal comma, "
            f"as in {shown(next(iter(found.values())))}."
        )


def _layout(sample: str) -> tuple[str, list[list[str]]]:
    """The delimiter that cuts the sample most evenly into more than one column; its records."""
    best: tuple[tuple[bool, float, int], str, list[list[str]]] = ((False, -1.0, 0), ",", [])
    for delimiter in ",;\t|":
        reader = csv.reader(
            io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=True
        )
        records = [record for record in reader if record not in ([], [""])]
        if len(sample) == _SAMPLE and len(records) > 1:
            records.pop()  # the sample may end in the middle of it
        if records:
            width = len(records[0])
            even = sum(len(record) == width for record in records) / len(records)
            best = max(best, ((width > 1, even, width), delimiter, records), key=lambda b: b[0])
    return best[1], best[2]


def parsed(cells: pd.Series) -> pd.Series:
    """Text as numbers, else as dates, else as it stands; what is no text stays what it is."""
    import pandas as pd

    if not pd.api.types.is_string_dtype(cells.dtype):
        return cells
    there = cells.notna()
    values = pd.to_numeric(cells, errors="coerce").astype("float64")
    numbers = values.to_numpy()
    if (np.isnan(numbers) != there.to_numpy()).all():
        huge = np.abs(numbers) >= EXACT
        whole = huge.any() and cells[huge].str.fullmatch(r"[+-]?\d+").any()
        return cells if whole else values
    if bool(cells[there].str.fullmatch(_ISO).all()):
        stamps = pd.to_datetime(cells, format="ISO8601", utc=True, errors="coerce")
        if bool((stamps.notna() == there).all()):
            return stamps
    return cells


def _read_parquet(path: Path, na: list[str], text: frozenset[str]) -> pd.DataFrame:
    import pandas as pd
    from pyarrow import parquet

    _check_unique(path, parquet.read_schema(path).names)
    # pandas' nullable types: a missing cell must not turn an integer identifier into a float.
    table = pd.read_parquet(path, dtype_backend="numpy_nullable")
    table = table.reset_index(drop=list(table.index.names) == [None])
    for name, cells in table.items():
        if cells.dtype == object:
            kind = pd.api.types.infer_dtype(cells, skipna=True)
            if kind == "date":
                table[name] = pd.to_datetime(cells, utc=True)
            elif kind == "decimal":
                table[name] = cells.astype("float64")
            else:
                continue  # lists and the like: refused only where a column of them is used
        gone = absent(table[name])
        if na:
            gone = gone | np.isin(texts(table[name]).astype(str), na)
        table[name] = table[name].mask(gone)
    return table


def _check_unique(path: Path, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise invalid(
            "data", f"a table with one column of each name, not {listed(twice)} twice", path.name
        )


def row_list(cells: pd.Series, mask: NDArray[np.bool_]) -> str:
    """``"row 3"`` or ``"rows 3, 7 and 2 more"``: rows of the file, from 1 below the header."""
    rows = [int(label) + 1 for label in cells.index[mask]]
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return ("row " if len(rows) == 1 else "rows ") + ", ".join(map(str, rows[:5])) + more


def numbers(cells: pd.Series, *, time: bool = False) -> NDArray[np.float64]:
    """Cells as float64 ``[n]``, NaN where missing: numbers, or text that reads as numbers.

    Dates are seconds since 1970-01-01 UTC, durations are seconds.

    Args:
        cells: One column, indexed by its row in the file from 0.
        time: Whether dates (and text in ISO 8601) may stand here.

    Raises:
        InvalidInput: A cell is no number (or no date); the message names column and row.

    Example:
        >>> import pandas as pd
        >>> numbers(pd.Series(["1", None, "2.5"], name="dose")).tolist()
        [1.0, nan, 2.5]
        >>> numbers(pd.Series(pd.to_datetime(["1970-01-02"]), name="day"), time=True).tolist()
        [86400.0]
    """
    import pandas as pd

    name, kinds = str(cells.name), pd.api.types
    if kinds.is_timedelta64_dtype(cells.dtype):
        return np.asarray(cells.dt.total_seconds(), dtype=np.float64)
    if kinds.is_bool_dtype(cells.dtype) or kinds.is_numeric_dtype(cells.dtype):
        return np.asarray(cells.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    dates = kinds.is_datetime64_any_dtype(cells.dtype)
    if dates and not time:
        raise invalid(name, "numbers, not dates", str(cells.dtype))
    words = cells if dates else pd.Series(texts(cells), index=cells.index, dtype=object)
    if time:
        stamps = pd.to_datetime(words, utc=True, errors="coerce", format="ISO8601")
        seconds = (stamps - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
        values = np.asarray(seconds, dtype=np.float64)
    else:
        values = np.asarray(pd.to_numeric(words, errors="coerce"), dtype=np.float64)
    bad = np.isnan(values) & words.notna().to_numpy()
    if bad.any():
        rule = "dates (ISO 8601)" if time else "numbers"
        raise invalid(
            name,
            f"{rule} or missing (see `--na`) in {row_list(cells, bad)}",
            words[bad].iloc[0],
        )
    return values


def nearly_dates(cells: pd.Series) -> bool:
    """Whether text is mostly dates in ISO 8601, but not all: a slip, where time matters.

    Example:
        >>> import pandas as pd
        >>> nearly_dates(pd.Series([*["2024-01-01"] * 9, "yesterday"]))
        True
    """
    import pandas as pd

    if not pd.api.types.is_string_dtype(cells.dtype) or pd.api.types.is_numeric_dtype(cells.dtype):
        return False
    there = cells.dropna().astype(str)
    share = float(there.str.fullmatch(_ISO).mean()) if len(there) else 0.0
    return 0.9 <= share < 1.0


def dated(cells: pd.Series) -> bool:
    """Whether text is mostly dates, but not as ISO 8601 writes them.

    Example:
        >>> import pandas as pd
        >>> dated(pd.Series(["01/31/2020", "02/01/2020"])), dated(pd.Series(["2020-01-31"]))
        (True, False)
    """
    import pandas as pd

    if not pd.api.types.is_string_dtype(cells.dtype):
        return False
    there = cells.dropna().astype(str)
    there = there[~there.str.fullmatch(_ISO)]
    return bool(len(there)) and float(there.str.match(_DATED).mean()) >= 0.9


def absent(cells: pd.Series) -> NDArray[np.bool_]:
    """Where cells are missing, not a number, or empty text; ``[n]``.

    Example:
        >>> import pandas as pd
        >>> absent(pd.Series(["", None, "0"])).tolist(), absent(pd.Series([np.nan, 0])).tolist()
        ([True, True, False], [True, False])
    """
    import pandas as pd

    if pd.api.types.is_float_dtype(cells.dtype):
        values: NDArray[np.float64] = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.isnan(values)
    gone: NDArray[np.bool_] = cells.isna().to_numpy(dtype=bool)
    if pd.api.types.is_string_dtype(cells.dtype) or cells.dtype == object:
        gone = gone | np.array([isinstance(cell, str) and not cell for cell in cells], dtype=bool)
    return gone


def texts(cells: pd.Series) -> NDArray[np.object_]:
    """Cells as text ``[n]``, None where missing: the one form in which categories are compared.

    Text stands for itself, to the letter, and empty text is missing. Truth is ``True`` or
    ``False``, a whole number has no decimal point (``2.0`` is ``2``), anything else is what
    ``str`` makes of it. So 1, 1.0 and "1" are one category, whatever file they came from.

    Raises:
        InvalidInput: A cell holds a list, a record or the like.

    Example:
        >>> import pandas as pd
        >>> texts(pd.Series([2.0, None, 2.5])).tolist(), texts(pd.Series(["2.0", ""])).tolist()
        (['2', None, '2.5'], ['2.0', None])
    """
    import pandas as pd

    try:
        codes, values = pd.factorize(cells)
    except TypeError as error:
        found = next((cell for cell in cells if isinstance(cell, list | dict | np.ndarray)), error)
        raise invalid(str(cells.name), "one value per cell", shown(found)) from error
    words = [_text(value) or None for value in pd.Index(values).tolist()]
    return np.array([*words, None], dtype=object)[codes]  # code −1, missing, is the last


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
