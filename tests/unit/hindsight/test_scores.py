"""Metrics by hand, by enumeration and by repeated rows."""

import itertools
import math

import numpy as np
import pytest

from didact._bootstrap import paired_bootstrap
from didact._checks import InvalidInput
from didact.hindsight._scores import score_intervals, scores


def test_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    for _ in range(20):
        label = np.r_[0, 1, rng.integers(2, size=15)]
        score = rng.integers(6, size=17) / 5  # few values: many ties
        pairs = [
            (score[i] > score[j]) + (score[i] == score[j]) / 2
            for i, j in itertools.product(range(17), repeat=2)
            if label[i] == 1 and label[j] == 0
        ]
        found = scores(label, probability=np.stack([1 - score, score], axis=-1)[None])["auc"]
        assert found == pytest.approx([np.mean(pairs)])


def test_classification_scores_by_hand():
    p = np.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], [[0.2, 0.8, 0.0], [0.0, 0.0, 1.0]]])
    found = scores([0, 2], probability=p)
    assert found["log_loss"] == pytest.approx([-np.log(0.4) / 2, -np.log(0.2) / 2])
    assert found["accuracy"].tolist() == [1.0, 0.5]
    assert "auc" not in found
    assert scores([1], probability=[[[1.0, 0.0]]])["log_loss"] == pytest.approx(-np.log(1e-12))
    assert math.isnan(scores([1], probability=[[[1.0, 0.0]]])["auc"][0])


def test_regression_scores_by_hand():
    found = scores([1.0, 2.0, 6.0], prediction=[[1.0, 4.0, 7.0]], nll=[[1.0, 2.0, 6.0]])
    assert list(found) == ["squared_error", "rmse", "mae", "r2", "log_loss"]
    assert found["squared_error"] == pytest.approx(5 / 3)
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert found["mae"] == pytest.approx(1.0)
    assert found["r2"] == pytest.approx(1 - 5 / 14)
    assert found["log_loss"] == pytest.approx(3.0)
    assert "log_loss" not in scores([1.0, 2.0], prediction=[[1.0, 2.0]])
    assert math.isnan(scores([2.0, 2.0], prediction=[[1.0, 2.0]])["r2"][0])


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_counts_are_repeated_rows(kind):
    rng = np.random.default_rng(1)
    counts = np.r_[2, 0, rng.integers(4, size=18)]
    if kind == "classes":
        label, given = np.arange(20) % 2, {"probability": rng.dirichlet([1, 1], size=(3, 20))}
    else:
        label = rng.normal(size=20)
        given = {"prediction": rng.normal(size=(3, 20)), "nll": rng.exponential(size=(3, 20))}
    weighted = scores(label, **given, counts=counts)
    repeated = scores(
        np.repeat(label, counts), **{k: np.repeat(v, counts, axis=1) for k, v in given.items()}
    )
    assert weighted.keys() == repeated.keys()
    for name, values in weighted.items():
        np.testing.assert_allclose(values, repeated[name])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"probability": np.full((1, 2, 2), 0.5), "prediction": np.zeros((1, 2))},
        {"probability": np.full((1, 2, 2), 0.5), "nll": np.zeros((1, 2))},
        {"probability": np.full((1, 2, 1), 1.0)},
        {"probability": np.full((1, 2, 2), math.nan)},
        {"prediction": np.zeros((1, 3))},
        {"prediction": np.zeros((1, 2)), "counts": [0, 0]},
    ],
)
def test_scores_refuses(given):
    with pytest.raises(InvalidInput):
        scores([0, 1], **given)


def test_score_intervals_agree_with_the_bootstrap_of_means():
    rng = np.random.default_rng(0)
    y, nll = rng.normal(size=60), rng.exponential(size=(3, 60))
    groups = np.arange(60) // 3
    found = score_intervals(y, prediction=nll - 1, nll=nll, groups=groups, seed=5)
    expected = paired_bootstrap(nll, groups=groups, resamples=500, seed=5)
    squares = paired_bootstrap((nll - 1 - y) ** 2, groups=groups, resamples=500, seed=5)
    for name in ("mean", "low", "high"):
        assert getattr(found["log_loss"], name) == pytest.approx(getattr(expected, name))
        assert getattr(found["squared_error"], name) == pytest.approx(getattr(squares, name))
    for interval in found.values():
        assert interval.low < interval.mean < interval.high


def test_an_auc_that_is_undefined_in_some_resamples_still_has_an_interval():
    """One positive row: it is missing from about a third of the resamples."""
    score = np.linspace(0, 1, 12)
    p = np.stack([1 - score, score], axis=-1)[None]
    found = score_intervals(np.eye(12)[6].astype(int), probability=p, seed=0)["auc"]
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(6 / 11)
    nothing = score_intervals(np.zeros(12, int), probability=p, seed=0)["auc"]
    assert nothing.to_json() == {"mean": None, "low": None, "high": None}


def test_no_interval_leaves_the_range_of_its_metric():
    rng = np.random.default_rng(0)
    label = np.array([0, 1] * 6)
    p = np.where(label, 0.8, 0.2) + rng.normal(0, 0.2, size=(3, 12)).clip(-0.15, 0.15)
    found = score_intervals(label, probability=np.stack([1 - p, p], -1), seed=0)
    assert found["auc"].high <= 1
    assert found["accuracy"].high <= 1
    y = rng.normal(size=8)
    wild = y + np.array([0.0] * 7 + [5.0]) * np.array([[1.0], [0.0], [0.1]])
    found = score_intervals(y, prediction=wild, seed=0)
    assert min(found[name].low for name in ("squared_error", "rmse", "mae")) >= 0
    assert found["r2"].high <= 1
