"""Calibration against a loop over rows."""

import numpy as np
import pytest

from didact.hindsight._calibration import calibration


def by_loop(said, came):
    """Every row into the part of its rank: how many predictions are smaller, in tenths of all."""
    parts = {}
    for p, y in zip(said, came, strict=True):
        smaller = sum(other < p for other in said)
        parts.setdefault(smaller * 10 // len(said), []).append((p, y))
    ordered = [parts[k] for k in sorted(parts)]
    predicted = [sum(p for p, _ in part) / len(part) for part in ordered]
    observed = [sum(y for _, y in part) / len(part) for part in ordered]
    gaps = zip(ordered, predicted, observed, strict=True)
    error = sum(len(part) * abs(p - o) for part, p, o in gaps) / len(said)
    return {"predicted": predicted, "observed": observed, "error": error}


def same(found, expected):
    assert list(found) == ["predicted", "observed", "error"]
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-12), key


@pytest.mark.parametrize("rows", [1, 3, 9, 10, 11, 57, 200])
@pytest.mark.parametrize("distinct", [2, 7, 10**9])
def test_numbers_with_seeds_pooled_and_ties(rows, distinct):
    rng = np.random.default_rng(rows)
    label = rng.normal(size=rows)
    prediction = rng.integers(distinct, size=(3, rows)) / distinct
    expected = by_loop(prediction.ravel().tolist(), label.tolist() * 3)
    same(calibration(label, prediction=prediction, nll=prediction), expected)


def test_of_two_classes_the_second():
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=83)
    p = rng.integers(12, size=(2, 83)) / 11
    found = calibration(label, probability=np.stack([1 - p, p], axis=-1))
    same(found, by_loop(p.ravel().tolist(), label.tolist() * 2))


def test_of_more_classes_the_most_probable():
    rng = np.random.default_rng(1)
    label = rng.integers(4, size=64)
    p = rng.dirichlet(np.ones(4), size=(3, 64))
    said, came = [], []
    for seed in p:
        for row, y in zip(seed, label, strict=True):
            said.append(max(row))
            came.append(float(list(row).index(max(row)) == y))
    same(calibration(label, probability=p), by_loop(said, came))


def test_distinct_predictions_make_ten_equal_parts():
    found = calibration(np.arange(100.0), prediction=np.arange(100.0)[None])
    assert found["predicted"] == found["observed"] == [4.5 + 10 * k for k in range(10)]
    assert found["error"] == 0


def test_one_value_is_one_part():
    found = calibration([1.0, 2.0, 6.0], prediction=np.full((2, 3), 2.0))
    assert found == {"predicted": [2.0], "observed": [3.0], "error": 1.0}


def test_equal_predictions_do_not_depend_on_the_order_of_rows():
    label = np.r_[np.zeros(50), np.ones(50)]
    p = np.repeat([0.3, 0.6], 50)[np.random.default_rng(2).permutation(100)]
    order = np.random.default_rng(3).permutation(100)
    same(
        calibration(label[order], prediction=p[None, order]), calibration(label, prediction=p[None])
    )


def test_more_predictions_than_truth_are_seen_as_too_high():
    rng = np.random.default_rng(4)
    truth = rng.uniform(0.1, 0.5, size=20_000)
    label = (rng.random(20_000) < truth).astype(int)
    right = calibration(label, probability=np.stack([1 - truth, truth], -1)[None])
    high = calibration(label, probability=np.stack([0.8 - truth, 0.2 + truth], -1)[None])
    assert right["error"] < 0.02
    assert high["error"] == pytest.approx(0.2, abs=0.02)
    assert all(p > o for p, o in zip(high["predicted"], high["observed"], strict=True))
