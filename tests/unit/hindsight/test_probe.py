"""How much trees explain, where it is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from didact.hindsight._prepare import Question, prepare
from didact.hindsight._probe import (
    MOST_COLUMNS,
    _targets,
    explained,
    given_away,
    not_told,
    run_probe,
)
from didact.hindsight._split import Split

ROWS = 600
SPLIT = Split(np.arange(360), np.arange(360, 480), np.arange(480, 600))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3)).astype(np.float32)
NUMERIC = np.zeros(3, bool)


def test_a_copy_is_explained():
    assert explained(X, NUMERIC, X[:, 1].astype(float), SPLIT, number=True) > 0.95
    classes = np.digitize(X[:, 2], [-0.5, 0.5])
    assert explained(X, NUMERIC, classes, SPLIT, number=False) > 0.9


def test_a_category_is_explained_by_the_same_category():
    codes = RNG.integers(1, 6, size=ROWS)
    x = np.c_[X, codes].astype(np.float32)
    is_code = np.array([False, False, False, True])
    assert explained(x, is_code, codes, SPLIT, number=False) > 0.9
    assert explained(x, is_code, (codes % 2) * 3.0, SPLIT, number=True) > 0.95


@pytest.mark.parametrize("number", [True, False])
def test_noise_is_not_explained(number):
    y = RNG.normal(size=ROWS) if number else RNG.integers(3, size=ROWS)
    found = explained(X, NUMERIC, y, SPLIT, number=number)
    assert found is not None
    assert found < 0.05


@pytest.mark.parametrize("number", [True, False])
def test_of_a_constant_there_is_nothing_to_explain(number):
    y = np.full(ROWS, 2.0 if number else 1)
    assert explained(X, NUMERIC, y, SPLIT, number=number) is None
    y[550] = 0  # another value, but on a test row only
    assert explained(X, NUMERIC, y, SPLIT, number=number) is None


def test_rows_without_the_column_are_left_out():
    y = X[:, 0].astype(float)
    gaps = y.copy()
    gaps[::3] = np.nan
    kept = np.flatnonzero(~np.isnan(gaps))
    fewer = Split(*(np.intersect1d(p, kept) for p in (SPLIT.train, SPLIT.validation, SPLIT.test)))
    assert explained(X, NUMERIC, gaps, SPLIT, number=True) == (
        explained(X, NUMERIC, y, fewer, number=True)
    )
    assert explained(X, NUMERIC, np.full(ROWS, np.nan), SPLIT, number=True) is None


def test_the_share_is_that_of_the_test_loss():
    """Half of the variance can be known: about half is explained, whatever the unit."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5000, 1)).astype(np.float32)
    y = x[:, 0] + rng.normal(size=5000)
    split = Split(np.arange(3000), np.arange(3000, 4000), np.arange(4000, 5000))
    found = explained(x, NUMERIC[:1], y, split, number=True)
    assert found == pytest.approx(0.5, abs=0.05)
    in_other_units = explained(x, NUMERIC[:1], 1e3 * y, split, number=True)
    assert in_other_units == pytest.approx(found, abs=0.02)


def table(folder: Path, rows: int = 300, later: int = 40) -> Path:
    rng = np.random.default_rng(0)
    a = rng.normal(size=rows)
    columns = {"a": a, "b": rng.normal(size=rows)}
    columns |= {f"later {j}": rng.normal(size=rows) for j in range(later - 3)}
    columns["later copy"] = a
    columns["later label"] = 2 * a + rng.normal(size=rows)
    columns["later word"] = np.where(a > 0, "u", "v")
    columns["label"] = columns["later label"] + 0.01 * rng.normal(size=rows)
    path = folder / "table.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_columns_from_the_inputs_and_the_label_from_the_columns(tmp_path):
    question = Question("label", ("later copy", "later label", "later word", "later 0"))
    data, _, _ = prepare(table(tmp_path, later=4), question)
    data.save(tmp_path / "prepared.pt")
    found = run_probe({"seed": 0}, tmp_path, prepared=str(tmp_path / "prepared.pt"))
    assert found["label"] > 0.9
    assert list(found["columns"]) == ["later 0", "later copy", "later label", "later word"]
    assert found["columns"]["later copy"] > 0.95
    assert found["columns"]["later word"] > 0.8
    assert 0.5 < found["columns"]["later label"] < 0.9
    assert found["columns"]["later 0"] < 0.1


def test_of_many_columns_those_are_looked_at_that_go_with_the_label(tmp_path):
    data, _, _ = prepare(table(tmp_path), Question("label", ("later *",)))
    names = [name for name, _, _ in _targets(data, 0, features=2)]
    assert len(names) == MOST_COLUMNS < len(data.privileged_columns)
    assert names[-3:] == ["later copy", "later label", "later word"]
    few = _targets(data, 0, features=20_000)
    assert len(few) == 4
    assert {"later copy", "later label", "later word"} < {name for name, _, _ in few}
    by_name = {name: (values, is_number) for name, values, is_number in few}
    values, is_number = by_name["later copy"]
    assert is_number
    assert np.std(values, ddof=1) == pytest.approx(1)
    words, is_number = by_name["later word"]
    assert not is_number
    assert len(set(words.tolist())) == 2


def test_in_a_series_the_last_row_before_the_labels(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=120), "label": rng.normal(size=120)})
    frame.to_csv(tmp_path / "series.csv", index=False)
    data, _, _ = prepare(tmp_path / "series.csv", Question("label", history=2, horizon=4))
    (name, values, _), _ = _targets(data, data.horizon - 1, features=4)
    expected = frame["a"].to_numpy()[data.present.numpy() + 3]
    assert name == "a"
    assert values == pytest.approx(expected / np.std(expected, ddof=1), rel=1e-5)


def test_given_away():
    assert not any(given_away(share, series=False) for share in (None, 0.94, -1.0))
    assert given_away(0.99, series=True) == []
    (warning,) = given_away(0.953, series=False)
    assert warning.startswith("The privileged columns give the label away: trees on them alone")
    assert "explain 95 % of it" in warning


def test_not_told():
    assert not any(not_told(share) for share in (None, 0.02, 0.5))
    for share in (0.019, 0.0, -0.3):
        (warning,) = not_told(share)
        assert "alone tell nothing of the label" in warning


def test_a_class_of_its_own_in_every_group_is_not_explained() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    doctor = np.arange(60) // 5  # five rows each: no doctor in two parts
    split = Split(np.arange(30), np.arange(30, 45), np.arange(45, 60))
    assert explained(x, np.zeros(2, bool), doctor, split, number=False) is None
