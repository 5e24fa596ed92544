"""Roles of columns, and what columns hold, judged from training rows."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from didact._checks import InvalidInput
from didact.hindsight._columns import Column, Roles, assign_roles, describe
from didact.hindsight._encode import Codes

NAMES = ["age", "dose", "followup_1", "followup_2", "Followup_3", "site", "died", "size[mm]"]


def test_roles() -> None:
    roles = assign_roles(NAMES, "died", ["followup_?", "size[mm]"], "site")
    privileged = ("followup_1", "followup_2", "size[mm]")
    assert roles == Roles(("age", "dose", "Followup_3"), privileged, "died", "site")
    assert assign_roles(NAMES, "died").inputs == tuple(n for n in NAMES if n != "died")


@pytest.mark.parametrize(
    ("label", "patterns", "group", "found"),
    [
        ("dead", [], None, "`label` should be one of the columns .*did you mean `died`.*'dead'"),
        ("died", [], "sites", "`group` should be one of .*did you mean `site`"),
        ("died", ["follow_*"], None, "`privileged` should be a pattern for one of the columns"),
        ("died", ["d*"], None, "leaves out the label `died`"),
        ("died", ["site"], "site", "leaves out the group `site`"),
        ("died", [], "died", "another column than the label"),
        ("died", ["[!d]*", "dose"], None, "at least one input"),
    ],
)
def test_refused_roles(label: str, patterns: list[str], group: str | None, found: str) -> None:
    with pytest.raises(InvalidInput, match=found):
        assign_roles(NAMES, label, patterns, group)


def _frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "x": [1.0, None, 2.0, 2.0],
            "n": [1, 2, 3, 4],
            "flag": [True, False, True, True],
            "maybe": pd.array([True, None, False, True], dtype="boolean"),
            "word": ["b", "a", "a", "b"],
            "id": [2**53, 1, 2, 3],
            "day": pd.to_datetime(["2024-01-01", None, "2024-01-02", "2024-01-02"]),
            "gap": pd.to_timedelta([1, 2, 3, 4], unit="D"),
            "only": ["u", None, "u", "u"],
            "empty": [None, "", "", None],
            "const": [3.0] * 4,
            "constword": ["k"] * 4,
            "merged": [1e9, 1e9 + 1, 1e9 + 2, 1e9],
        }
    )


def test_kinds_and_dropped() -> None:
    frame = _frame()
    columns, warnings = describe(frame, frame.columns)
    assert columns == (
        Column("x", "numeric"),
        Column("n", "numeric"),
        Column("flag", "categorical", ("True", "False")),
        Column("maybe", "categorical", ("True", "False")),
        Column("word", "categorical", ("a", "b")),
        Column("id", "categorical", ("1", "2", "3", str(2**53))),
        Column("day", "numeric", time=True),
        Column("gap", "numeric"),
        Column("only", "categorical", ("u",)),
        Column("merged", "numeric", origin=1e9 + 0.5),
    )
    dropped = ("empty", "const", "constword")
    assert len(warnings) == len(dropped)
    for name, line in zip(dropped, warnings, strict=True):
        assert line.startswith(f"Column `{name}` ")
        assert line.endswith("dropped.")
    for column in columns:
        assert Column.from_json(json.loads(json.dumps(column.to_json()))) == column


def test_numbers_that_float32_would_blur_are_taken_from_their_median() -> None:
    rng = np.random.default_rng(0)
    small = rng.normal(size=50)
    seconds = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(50), unit="s")
    frame = pd.DataFrame({"small": small, "far": 1e9 + small, "seconds": seconds})
    columns, _ = describe(frame, frame.columns)
    assert [bool(column.origin) for column in columns] == [False, True, True]
    plain, far, time = Codes.of(frame, columns).numeric.T
    assert float((plain - plain.median() - far).abs().max()) < 1.0  # the same up to a shift
    assert float((plain - far).std()) < 1e-6
    assert torch.equal(time.diff(), torch.ones(49))


def test_only_unusable_columns() -> None:
    with pytest.raises(InvalidInput, match="No column is left of `empty`, `const`"):
        describe(_frame(), ["empty", "const"])
    assert describe(_frame(), []) == ((), ())


def test_cap_keeps_the_most_frequent() -> None:
    words = [f"w{i:03}" for i in range(70) for _ in range(2 if i >= 10 else 1)]
    (column,), (warning,) = describe(pd.DataFrame({"c": words}), ["c"])
    kept = {f"w{i:03}" for i in range(10, 70)} | {f"w{i:03}" for i in range(4)}
    assert set(column.categories) == kept
    assert column.categories[:2] == ("w010", "w011")
    assert "70 categories" in warning
    assert "rarest 6" in warning


def test_a_stray_word_among_numbers_is_pointed_out() -> None:
    frame = pd.DataFrame(
        {"c": [*map(str, range(9)), "n.d."], "d": ["1", "2", "x", "y"] * 2 + ["3"] * 2}
    )
    columns, warnings = describe(frame, ["c", "d"])
    assert [column.kind for column in columns] == ["categorical"] * 2
    assert len(warnings) == 1
    assert warnings[0].startswith("Column `c` is text, for `n.d.` among its numbers")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_infinite_names_column_and_row(value: float) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, value]})
    with pytest.raises(InvalidInput, match=r"`x`.*finite.*row 4"):
        describe(frame.iloc[[0, 3]], ["x"])


def test_only_the_training_rows_count() -> None:
    frame = _frame()
    train = frame.iloc[:3]
    before = describe(train, frame.columns)
    frame.loc[3, ["x", "word", "const"]] = [1e6, "zzz", 7.0]
    assert describe(frame.iloc[:3], frame.columns) == before


def test_the_warning_names_the_rows_that_were_looked_at() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "empty": [None, None]})
    _, warnings = describe(frame, frame.columns)
    assert warnings == (
        "Column `empty` has no value in the training and validation rows: dropped.",
    )
