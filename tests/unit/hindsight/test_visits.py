"""Long tables become wide ones."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact._checks import InvalidInput
from didact.hindsight import first_visit


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, unique=True),
    st.integers(1, 4),
)
def test_every_visit_is_where_a_loop_puts_it(rows: list[tuple[int, int]], later: int) -> None:
    table = pd.DataFrame(rows, columns=["who", "day"])
    table["value"] = table.who * 100.0 + table.day
    wide = first_visit(table, group="who", time="day", later=later)
    assert wide.who.tolist() == sorted(set(table.who))
    changes = table.groupby("who").value.nunique().max() > 1
    for _, row in wide.iterrows():
        days = sorted(day for who, day in rows if who == row.who)
        assert row.day == days[0]
        assert row.value == row.who * 100 + days[0]
        for k in range(1, later + 1):
            expected = row.who * 100 + days[k] if k < len(days) else np.nan
            if changes:
                assert np.isclose(row[f"later_{k}_value"], expected, equal_nan=True)


def test_what_never_changes_stays_one_column() -> None:
    table = pd.DataFrame(
        {"who": [1, 1, 2], "day": [5, 1, 0], "sex": ["f", "f", "m"], "odd": [None, None, 1.0]}
    )
    wide = first_visit(table, group="who", time="day", later=1)
    assert list(wide.columns) == ["who", "day", "sex", "odd", "later_1_day"]
    assert wide.day.tolist() == [1, 0]
    assert wide.later_1_day.tolist()[0] == 5


@pytest.mark.parametrize(
    ("table", "options", "found"),
    [
        ({"who": [1], "day": [1]}, {"time": "when"}, "`time` should be one of the columns"),
        ({"who": [1], "day": [1]}, {"time": "who"}, "another column than the group"),
        ({"who": [1, None], "day": [1, 2]}, {}, "some missing in `who`"),
        ({"who": [1, 1], "day": [1, 1]}, {}, "two at one `day` of 1"),
        ({"who": [1], "day": [1]}, {"later": 0}, "`later` should be a positive integer"),
        (
            {"who": [1, 1], "day": [1, 2], "later_1_day": [0, 1]},
            {},
            "no columns `later_1_day`",
        ),
    ],
)
def test_refused(table: dict[str, object], options: dict[str, object], found: str) -> None:
    with pytest.raises(InvalidInput, match=found):
        first_visit(pd.DataFrame(table), **{"group": "who", "time": "day", **options})  # type: ignore[arg-type]


def test_more_visits_than_anybody_has_are_columns_of_nothing() -> None:
    visits = pd.DataFrame({"id": ["a", "a", "b"], "day": [0, 1, 0], "value": [1.0, 2.0, 3.0]})
    wide = first_visit(visits, group="id", time="day", later=150)  # without a warning
    assert wide["later_1_value"].tolist()[0] == 2.0
    assert wide["later_150_value"].isna().all()
