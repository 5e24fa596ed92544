"""Features: counted by hand, and learnt from training rows only."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from didact import export
from didact._checks import InvalidInput
from didact.hindsight import _encode
from didact.hindsight._columns import Column, describe
from didact.hindsight._encode import Codes, Encoder

torch.set_num_threads(1)


def _by_hand(
    columns: tuple[Column, ...], train: pd.DataFrame, frame: pd.DataFrame
) -> list[list[float]]:
    """Features by loops over plain Python numbers."""
    features: list[list[float]] = [[] for _ in range(len(frame))]
    numeric = [column.name for column in columns if column.kind == "numeric"]
    for name in numeric:
        seen = [float(np.float32(v)) for v in train[name] if not math.isnan(v)]
        mean = sum(seen) / len(seen)
        scale = math.sqrt(sum((v - mean) ** 2 for v in seen) / len(seen)) or 1.0
        for row, value in zip(features, frame[name], strict=True):
            z = 0.0 if math.isnan(value) else (value - mean) / scale
            row.append(min(max(z, -10.0), 10.0))
    for name in numeric:
        if any(math.isnan(v) for v in train[name]):
            for row, value in zip(features, frame[name], strict=True):
                row.append(float(math.isnan(value)))
    for column in columns:
        if column.kind == "categorical":
            for row, word in zip(features, frame[column.name], strict=True):
                if any(seen is None for seen in train[column.name]):
                    row.append(float(word is None))
                row += [float(word == category) for category in column.categories]
    return features


CELLS = st.one_of(st.just(math.nan), st.integers(-50, 50).map(lambda i: i / 4))
WORDS = st.sampled_from([None, "a", "b", "ü x", "雪"])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, WORDS, WORDS), min_size=4, max_size=20),
    kept=st.sets(st.sampled_from(["x", "y y", "c", "δ"]), min_size=1),
    cut=st.integers(2, 4),
)
def test_features_by_hand(rows: list[tuple[object, ...]], kept: set[str], cut: int) -> None:
    frame = pd.DataFrame(rows, columns=["x", "y y", "c", "δ"])
    frame = frame.astype({"x": float, "y y": float, "c": object, "δ": object})
    frame = frame[sorted(kept)]
    for name in kept & {"c", "δ"}:
        frame[name] = frame[name].where(frame[name].notna(), None)
    train = frame.iloc[:cut]
    try:
        columns, _ = describe(train, frame.columns)
    except InvalidInput:
        reject()  # nothing usable in these rows; test_columns.py says when
    fitted = Codes.of(train, columns)
    encoder = Encoder.fit(columns, fitted.numeric, fitted.codes)
    codes = Codes.of(frame, columns)
    found = encoder(codes.numeric, codes.codes)
    assert found.dtype == torch.float32
    assert found.shape == (len(frame), encoder.n_features)
    expected = torch.tensor(_by_hand(columns, train, frame))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def _fit(train: pd.DataFrame) -> tuple[tuple[Column, ...], Encoder]:
    columns, _ = describe(train, train.columns)
    codes = Codes.of(train, columns)
    return columns, Encoder.fit(columns, codes.numeric, codes.codes)


def test_only_the_training_rows_count() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=30), "c": rng.choice(list("abc"), 30)})
    columns, encoder = _fit(frame.iloc[:20])
    frame.loc[20:, "x"] = np.nan
    frame.loc[20:, "c"] = "new"
    columns_again, again = _fit(frame.iloc[:20])
    assert columns == columns_again
    for (name, one), two in zip(
        encoder.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name


def test_unseen_missing_and_extreme() -> None:
    train = pd.DataFrame({"x": [0.0, 2.0], "c": ["a", "b"]})
    columns, encoder = _fit(train)
    new = Codes.of(pd.DataFrame({"c": ["z", None, ""], "x": [1e30, -1e30, None]}), columns)
    assert new.codes.tolist() == [[0], [1], [1]]
    assert encoder(new.numeric, new.codes).tolist() == [
        [10.0, 0.0, 0.0],
        [-10.0, 0.0, 0.0],
        [0.0, 0.0, 0.0],
    ]


def test_only_codes_that_occur_have_features() -> None:
    columns = [
        Column("c", "categorical", ("a", "b", "gone")),
        Column("d", "categorical", ("u", "v")),
    ]
    encoder = Encoder.fit(columns, torch.zeros(3, 0), torch.tensor([[2, 0], [3, 0], [1, 0]]))
    assert encoder.n_features == 4
    codes = torch.tensor([[1, 0], [2, 1], [3, 2], [4, 3], [0, 0]])
    found = encoder(torch.zeros(5, 0), codes)
    assert found.tolist() == [
        [1.0, 0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]


def test_tiny_and_huge_scales_stay_finite() -> None:
    numeric = torch.tensor([[1e-42, 3e38, 5.0], [0.0, -3e38, 5.0]])
    columns = [Column(name, "numeric") for name in "abc"]
    encoder = Encoder.fit(columns, numeric, torch.zeros(2, 0, dtype=torch.int64))
    features = encoder(numeric, torch.zeros(2, 0, dtype=torch.int64))
    assert features[:, 1].abs().tolist() == pytest.approx([1.0, 1.0])
    assert features[:, [0, 2]].abs().max() < 1e-30


def test_a_column_read_as_text_in_one_file_and_as_numbers_in_the_other() -> None:
    columns = (Column("x", "numeric"), Column("c", "categorical", ("1", "2", "x")))
    one = Codes.of(pd.DataFrame({"x": [1.0, 2.0], "c": ["1", "2"]}), columns)
    two = Codes.of(pd.DataFrame({"x": ["1", "2.0"], "c": [1.0, 2.0]}), columns)
    assert torch.equal(one.numeric, two.numeric)
    assert torch.equal(one.codes, two.codes)
    assert one.codes.tolist() == [[2], [3]]


def test_refused() -> None:
    columns = [Column("x", "numeric"), Column("c", "categorical", ("a",))]
    with pytest.raises(InvalidInput, match="Missing: `c`; there are `x`, `z`"):
        Codes.of(pd.DataFrame({"x": [1.0], "z": [1]}), columns)
    with pytest.raises(InvalidInput, match=r"`x`.*row 2.*'low'"):
        Codes.of(pd.DataFrame({"x": ["1", "low"], "c": ["a", "a"]}), columns)
    with pytest.raises(InvalidInput, match=r"`x`.*finite.*row 1"):
        Codes.of(pd.DataFrame({"x": [np.inf], "c": ["a"]}), columns)
    with pytest.raises(InvalidInput, match="rows of 1 and 1 columns"):
        Encoder.fit(columns, torch.zeros(2, 2), torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(InvalidInput, match="rows of 1 and 1 columns"):
        Encoder.fit(columns, torch.zeros(0, 1), torch.zeros(0, 1, dtype=torch.int64))


def test_no_columns_are_no_features() -> None:
    none = torch.zeros(3, 0), torch.zeros(3, 0, dtype=torch.int64)
    encoder = Encoder.fit([], *none)
    assert encoder(*none).shape == (3, encoder.n_features) == (3, 0)


def test_rows_of_codes() -> None:
    codes = Codes(torch.arange(6.0).view(3, 2), torch.zeros(3, 0, dtype=torch.int64))
    assert len(codes) == 3
    assert codes[np.array([2, 0])].numeric.tolist() == [[4.0, 5.0], [0.0, 1.0]]


def test_codes_mean_the_same_here_and_in_exported_models() -> None:
    ours = (_encode.OTHER, _encode.MISSING, _encode.FIRST)
    assert ours == (export.OTHER, export.MISSING, export.FIRST)
