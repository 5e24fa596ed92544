"""Tables from files: what is read, and what is refused in one line."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from didact._checks import InvalidInput
from didact._table import numbers, read_table, texts


def _csv(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_delimiter_and_byte_order_mark(tmp_path: Path, delimiter: str, bom: bytes) -> None:
    rows = ["größe|名 字|note", '1.5|a|"x, y; z"', '2|b|"say ""hi"", | \t"', "|c|"]
    body = "\n".join(rows[:1] + rows[3:]).replace("|", delimiter)
    quoted = f'1.5{delimiter}a{delimiter}"x, y; z"\n2{delimiter}b{delimiter}"say ""hi"", | \t"'
    head, last = body.split("\n")
    table = read_table(_csv(tmp_path, bom + "\n".join([head, quoted, last]).encode()))
    assert list(table.columns) == ["größe", "名 字", "note"]
    assert table["größe"].tolist()[:2] == [1.5, 2.0]
    assert np.isnan(table["größe"].iloc[2])
    assert texts(table["note"]).tolist() == ["x, y; z", 'say "hi", | \t', None]


def test_single_column_and_decimal_commas(tmp_path: Path) -> None:
    assert read_table(_csv(tmp_path, "a\n1\n2\n"))["a"].tolist() == [1.0, 2.0]
    assert read_table(_csv(tmp_path, "a;b\n1,5;2\n2,5;3\n")).columns.tolist() == ["a", "b"]


def test_commas_that_are_not_decimal(tmp_path: Path) -> None:
    rare = "a;b\n" + "1,5;2\n" * 8 + "x;2\n" * 2
    assert texts(read_table(_csv(tmp_path, rare))["a"]).tolist()[7:9] == ["1,5", "x"]
    few = "a;b\n" + "1,5;2\n" * 4 + ";2\n" * 4
    assert texts(read_table(_csv(tmp_path, few))["a"]).tolist()[3:5] == ["1,5", None]
    asked = read_table(_csv(tmp_path, "a;b\n" + "1,5;2\n" * 9), text=["a"])
    assert texts(asked["a"]).tolist() == ["1,5"] * 9


def test_trailing_delimiters_and_blank_lines(tmp_path: Path) -> None:
    for text in ("a,b,\n1,2,\n3,4,\n", "a,b,\n1,2\n3,4,\n", "a,b\n\n1,2\n  \n3,4\n\n"):
        table = read_table(_csv(tmp_path, text))
        assert table.to_dict("list") == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_inference_is_by_every_cell(tmp_path: Path) -> None:
    text = (
        "n,mixed,huge,day,stamp,badday,flag,e\n"
        "1,1,9007199254740993,2024-01-01,2024-01-01T10:00:00+02:00,2024-13-01,True,1e3\n"
        "2,x,5,2024-01-02,2024-01-01 10:00,2024-01-01,False,-2.5\n"
    )
    table = read_table(_csv(tmp_path, text))
    assert table["n"].dtype == table["e"].dtype == np.float64
    assert texts(table["mixed"]).tolist() == ["1", "x"]
    assert texts(table["huge"]).tolist() == ["9007199254740993", "5"]
    assert numbers(table["day"], time=True).tolist() == [1704067200.0, 1704067200.0 + 86400]
    assert numbers(table["stamp"], time=True).tolist() == [1704096000.0, 1704103200.0]
    assert texts(table["badday"]).tolist() == ["2024-13-01", "2024-01-01"]
    assert texts(table["flag"]).tolist() == ["True", "False"]
    kept = read_table(_csv(tmp_path, text), text=["n"])
    assert texts(kept["n"]).tolist() == ["1", "2"]


def test_missing_tokens(tmp_path: Path) -> None:
    table = read_table(_csv(tmp_path, "a,b\n1,u\n-999,?\nNA,\n3,v\n"), na=["-999", "?"])
    assert np.isnan(numbers(table["a"])).tolist() == [False, True, True, False]
    assert texts(table["b"]).tolist() == ["u", None, None, "v"]


def test_unnamed_columns_are_left_out(tmp_path: Path) -> None:
    assert read_table(_csv(tmp_path, '"",a,\n7,1,\n8,2,\n')).columns.tolist() == ["a"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "not empty"),
        ("\n\n", "not empty"),
        ("a,b\n", "at least one row"),
        ("a,b,a\n1,2,3\n", "one column of each name, not `a` twice"),
        ("a,b\n1,2,3\n4,5,6\n", "row 1 has 3"),
        ("a,b\n1,2\n1,2,3\n", "row 2 has 3"),
        ("a,b\n1,2\n\n1\n", "no shorter than its header of 2 columns .row 2 has 1"),
        ("a,b,c,\n1,2,3\n1,2\n", "row 2 has 2"),
        ("a,b\n" + "1,2\n" * 300_000 + "3\n", "row 300001 has 1"),
        ("a,b\n" + "1,2\n" * 300_000 + "3,4,5\n", "row 300001 has 3"),
        ("a;dose\n" + "1;-1,5\n" * 9 + "1;x\n", "`dose` should .*decimal comma, as in '-1,5'"),
        ('a,b\n"1,5","2,0"\n' + '"1,5","2,0"\n' * 4, "`a`, `b` should .*decimal comma"),
        ("a\n\xe9\n".encode("latin-1"), "UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-8"),
    ],
)
def test_refused_csv(tmp_path: Path, content: str | bytes, found: str) -> None:
    with pytest.raises(InvalidInput, match=found) as caught:
        read_table(_csv(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="an existing file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InvalidInput, match="an existing file"):
        read_table(tmp_path / "folder.csv")
    with pytest.raises(InvalidInput, match=r"or \.pq file"):
        read_table(_csv(tmp_path, "a\n1\n", "t.xlsx"))
    with pytest.raises(InvalidInput, match="a readable table"):
        read_table(_csv(tmp_path, "a\n1\n", "t.parquet"))
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    parquet.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(InvalidInput, match="not `a` twice"):
        read_table(tmp_path / "twice.parquet")
    parquet.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "empty.parquet")
    with pytest.raises(InvalidInput, match="at least one row"):
        read_table(tmp_path / "empty.parquet")


def test_parquet_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "i": pa.array([1, None, 3]),
            "id": pa.array([2**53 + 1, None, 3]),
            "f": pa.array([1.5, None, float("nan")]),
            "b": pa.array([True, None, False]),
            "s": pa.array(["a", None, ""]),
            "day": pa.array([datetime.date(1970, 1, 2), None, datetime.date(1970, 1, 3)]),
            "gap": pa.array([datetime.timedelta(seconds=3), None, datetime.timedelta(days=1)]),
            "dec": pa.array([decimal.Decimal("1.5"), None, decimal.Decimal("2.5")]),
            "dic": pa.array(["u", None, "v"]).dictionary_encode(),
            "list": pa.array([[1], None, [2]]),
            "none": pa.nulls(3),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet", na=["v", "3"])
    nan = float("nan")
    np.testing.assert_array_equal(numbers(read["i"]), [1, nan, nan])
    assert texts(read["id"]).tolist() == [str(2**53 + 1), None, None]
    np.testing.assert_array_equal(numbers(read["f"]), [1.5, nan, nan])
    assert texts(read["b"]).tolist() == ["True", None, "False"]
    assert texts(read["s"]).tolist() == ["a", None, None]
    assert read["s"].isna().tolist() == [False, True, True]
    np.testing.assert_array_equal(numbers(read["day"], time=True), [86400, nan, 2 * 86400])
    np.testing.assert_array_equal(numbers(read["gap"]), [3, nan, 86400])
    np.testing.assert_array_equal(numbers(read["dec"]), [1.5, nan, 2.5])
    assert texts(read["dic"]).tolist() == ["u", None, None]
    assert texts(read["none"]).tolist() == [None] * 3
    with pytest.raises(InvalidInput, match=r"`list`.*one value per cell"):
        texts(read["list"])


def test_parquet_keeps_a_named_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"site": ["u", "v"], "a": [1, 2]})
    frame.set_index("site").to_parquet(tmp_path / "named.parquet")
    assert set(read_table(tmp_path / "named.parquet").columns) == {"site", "a"}
    frame[::-1].to_parquet(tmp_path / "plain.parquet")
    read = read_table(tmp_path / "plain.parquet")
    assert read.columns.tolist() == ["site", "a"]
    assert read.index.tolist() == [0, 1]


def test_numbers_name_column_and_row() -> None:
    cells = pd.Series(["1", "x", None, "y"], name="dose")
    with pytest.raises(InvalidInput, match=r"`dose`.*rows 2, 4.*'x'"):
        numbers(cells)
    with pytest.raises(InvalidInput, match="row 4"):
        numbers(cells[[0, 3]])
    with pytest.raises(InvalidInput, match="not dates"):
        numbers(pd.Series(pd.to_datetime(["2024-01-01"]), name="day"))
    with pytest.raises(InvalidInput, match=r"ISO 8601.*row 2"):
        numbers(pd.Series(["2024-01-01", "soon"], name="day"), time=True)


def test_one_number_one_category() -> None:
    forms = [pd.Series([1]), pd.Series([1.0]), pd.Series([1], dtype="Int64"), pd.Series(["1"])]
    forms += [
        pd.Series([1.0, None]),
        pd.Series([1], dtype=object),
        pd.Series([1], dtype="category"),
    ]
    assert {texts(cells)[0] for cells in forms} == {"1"}
    assert texts(pd.Series([2.5, -0.0, 1e300], dtype="float64")).tolist()[:2] == ["2.5", "0"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    values=st.lists(
        st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=64)),
        min_size=1,
        max_size=8,
    ).filter(lambda cells: any(cell is not None for cell in cells)),
    name=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6),
)
def test_numbers_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, values: list[float | None], name: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    pd.DataFrame({name: values, "other": "x"}, columns=[name, "other"]).to_csv(path, index=False)
    read = read_table(path)
    assert read.columns.tolist()[0] == name
    expected = [np.nan if value is None else value for value in values]
    np.testing.assert_allclose(numbers(read[name]), expected, rtol=1e-15)
