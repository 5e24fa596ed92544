"""Labels: which task, which classes, which bins."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from didact._checks import InvalidInput
from didact.hindsight._label import Bins, Classes, check_label, label_from_json


@pytest.mark.parametrize(
    ("values", "task", "kind"),
    [
        (["yes", "no"] * 30, "auto", "classification"),
        ([True, False] * 30, "auto", "classification"),
        (list(range(10)) * 6, "auto", "classification"),
        ([float(i) for i in range(10)] * 6, "auto", "classification"),
        (list(range(11)) * 6, "auto", "regression"),
        ([0.5, 1.0] * 30, "auto", "regression"),
        ([0.5, 1.0] * 30, "classification", "classification"),
        ([0, 1] * 30, "regression", "regression"),
        (["1", "2.5"] * 30, "regression", "regression"),
    ],
)
def test_task(values: list[object], task: str, kind: str) -> None:
    found = check_label(pd.Series(values, name="y"), task)
    assert found.kind == kind
    assert ("asked for" in found.reason) == (task != "auto")


@pytest.mark.parametrize(
    ("values", "task", "found"),
    [
        ([0, 1] * 24, "auto", "at least 50 rows.*48"),
        (
            [0.0, math.nan, 1.0] * 20,
            "auto",
            "rows 2, 5, 8, 11, 14 and 15 more.*20 missing",
        ),
        ([0.5, math.inf] * 30, "auto", "`y`.*finite.*rows 2, 4"),
        ([1.0] * 60, "auto", "two distinct"),
        (["a"] * 60, "auto", "two distinct"),
        (["a"] * 58 + ["b"] * 2, "auto", "at least 3 rows of each class.*2 of b"),
        (["a", "b"] * 30, "regression", "`y` should be numbers"),
        (["a", "b"] * 30, "both", "`task` should be one of"),
        (pd.date_range("2024-01-01", periods=60), "auto", "not dates"),
    ],
)
def test_refused_labels(values: list[object], task: str, found: str) -> None:
    with pytest.raises(InvalidInput, match=found):
        check_label(pd.Series(values, name="y"), task)


def test_classes() -> None:
    classes = Classes.fit(pd.Series(["b", "a", "b"], name="y"))
    assert classes.names == ("a", "b")
    assert (classes.n_outputs, classes.values) == (2, None)
    with pytest.raises(InvalidInput, match=r"`y`.*row 2.*'c'"):
        classes.encode(pd.Series(["a", "c"], name="y"))
    assert Classes.fit(pd.Series([True, False])).names == ("False", "True")
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])
    loss = classes.loss(logits, classes.encode(pd.Series(["a", "b"])))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert label_from_json(json.loads(json.dumps(classes.to_json()))) == classes


def _bin_by_loop(edges: tuple[float, ...], value: float) -> int:
    for number, edge in enumerate(edges):
        if value <= edge:
            return number
    return len(edges)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    values=st.one_of(
        st.lists(st.floats(-1e9, 1e9, width=32), min_size=2, max_size=200),
        st.lists(st.integers(0, 6).map(float), min_size=2, max_size=200),
    ).filter(lambda values: len(set(values)) > 1)
)
def test_bins_by_brute_force(values: list[float]) -> None:
    bins = Bins.fit(pd.Series(values))
    rows: dict[int, list[float]] = {}
    for value in values:
        rows.setdefault(_bin_by_loop(bins.edges, value), []).append(value)
    assert sorted(rows) == list(range(bins.n_outputs)), "every bin holds a row"
    assert 2 <= bins.n_outputs <= 32
    assert min(map(len, rows.values())) >= 5 or bins.n_outputs == 2
    for number, members in rows.items():
        assert bins.means[number] == pytest.approx(math.fsum(members) / len(members), abs=1e-3)
    asked = [*values, -2e9, 2e9, *np.linspace(min(values), max(values), 7)]
    expected = [_bin_by_loop(bins.edges, value) for value in asked]
    assert bins.encode(pd.Series(asked)).tolist() == expected
    assert list(bins.edges) == sorted(set(bins.edges))
    assert label_from_json(json.loads(json.dumps(bins.to_json()))) == bins


def test_bins_have_equal_mass_where_there_are_no_ties() -> None:
    values = np.random.default_rng(0).permutation(np.arange(640) ** 1.5)
    bins = Bins.fit(pd.Series(values))
    counts = np.bincount(bins.encode(pd.Series(values)).numpy())
    assert counts.tolist() == [20] * 32


def test_bins_under_heavy_ties() -> None:
    bins = Bins.fit(pd.Series([0.0] * 97 + [1.0, 2.0, 3.0]))
    assert bins == Bins((0.0,), (0.0, 2.0))
    middle = Bins.fit(pd.Series([1.0] * 40 + [2.0] * 20 + [3.0] * 40))
    assert middle == Bins((1.0, 2.0), (1.0, 2.0, 3.0))


def test_bins_refuse_what_has_no_spread() -> None:
    for values in ([], [1.0, 1.0], [1.0, math.nan], [1.0, math.inf]):
        with pytest.raises(InvalidInput, match="two distinct"):
            Bins.fit(pd.Series(values, name="y", dtype="float64"))


def test_calibrated_bins_recover_the_mean() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 500)
    bins = Bins.fit(pd.Series(values))
    share = torch.bincount(bins.encode(pd.Series(values))) / 500
    assert (share.double() @ bins.values).item() == pytest.approx(values.mean(), abs=1e-5)


def test_unknown_task_in_json() -> None:
    with pytest.raises(InvalidInput, match="classification or regression"):
        label_from_json({"task": "ranking"})


def test_a_word_among_numbers_is_said_with_its_row() -> None:
    label = pd.Series([str(k / 2) for k in range(59)] + ["unknown"], name="grade")
    with pytest.raises(InvalidInput, match=r"`grade` should be numbers in row 60.*'unknown'"):
        check_label(label)
    assert check_label(pd.Series(["a", "b", "1"] * 20, name="kind")).kind == "classification"
