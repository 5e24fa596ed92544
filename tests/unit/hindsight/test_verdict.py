"""The verdict against brute force, known distributions and coverage simulations."""

import itertools
import json
import math
import tracemalloc

import numpy as np
import pytest

from didact._checks import InvalidInput
from didact.hindsight._verdict import (
    Interval,
    judge,
    paired_bootstrap,
    score_intervals,
    scores,
)

VALIDATION = {"no_teacher": 1.0, "auxiliary": 0.97, "fixed_teacher": 0.99, "ldt": 0.9}


def coverage(sample, truth=0.0, trials=150, **options):
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(trials):
        difference, groups = sample(rng)
        found = paired_bootstrap(difference, groups=groups, resamples=150, seed=trial, **options)
        hits += found.low <= truth <= found.high
    return hits / trials


def test_rows_are_covered_as_often_as_promised():
    assert 0.90 <= coverage(lambda rng: (rng.normal(size=(1, 80)), None)) <= 0.99
    assert 0.70 <= coverage(lambda rng: (rng.normal(size=(1, 80)), None), level=0.8) <= 0.89


def test_rows_and_seeds_together_are_covered():
    def crossed(rng):
        return rng.normal(size=(10, 1)) * 0.3 + rng.normal(size=(1, 60)) + rng.normal(
            size=(10, 60)
        ), None

    assert 0.88 <= coverage(crossed) <= 0.99


def test_groups_are_covered_only_by_the_cluster_bootstrap():
    def clustered(rng):
        groups = np.repeat(np.arange(30), 8)
        return rng.normal(size=30)[groups][None] + 0.3 * rng.normal(size=(1, 240)), groups

    def ignored(rng):
        return clustered(rng)[0], None

    assert 0.86 <= coverage(clustered) <= 0.99
    assert coverage(ignored) < 0.7


def test_seeds_are_resampled_not_taken_as_known():
    """Three seeds far apart: the interval is their range, which covers 75 % at most."""
    seeds_differ = np.array([[-1.0], [0.0], [1.0]]) + np.zeros((3, 50))
    found = paired_bootstrap(seeds_differ, seed=0)
    assert (found.mean, found.low, found.high) == (0.0, -1.0, 1.0)
    assert 0.6 <= coverage(lambda rng: (rng.normal(size=(3, 1)) + np.zeros((3, 40)), None)) <= 0.85


def test_the_bootstrap_is_the_loop_over_rows():
    """The same draws, applied by indexing rows one by one."""
    rng = np.random.default_rng(3)
    difference, groups = rng.normal(size=(4, 21)), rng.integers(5, size=21)
    labels = np.unique(groups)
    again, means = np.random.default_rng(7), []
    for _ in range(300):
        seeds = again.integers(4, size=4)
        picked = again.integers(len(labels), size=len(labels))
        rows = [r for g in picked for r in range(21) if groups[r] == labels[g]]
        means.append(np.mean([difference[s, r] for s in seeds for r in rows]))
    found = paired_bootstrap(difference, groups=groups, resamples=300, seed=7)
    assert found.mean == pytest.approx(difference.mean())
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]))


def test_one_group_per_row_changes_nothing_and_the_seed_decides():
    difference = np.random.default_rng(0).normal(size=(2, 40))
    alone = paired_bootstrap(difference, seed=1)
    assert paired_bootstrap(difference, groups=np.arange(40), seed=1) == alone
    assert paired_bootstrap(difference, seed=1) == alone
    assert paired_bootstrap(difference, seed=2) != alone


def test_memory_is_bounded_by_the_data():
    difference = np.random.default_rng(0).normal(size=(3, 100_000))
    tracemalloc.start()
    paired_bootstrap(difference, resamples=30, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * difference.nbytes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"difference": np.zeros(5)}, "difference"),
        ({"difference": [[0.0, math.nan]]}, r"\[seed, row\] \[0, 1\]"),
        ({"groups": [1, 2]}, "groups"),
        ({"level": 1.0}, "level"),
        ({"resamples": 0}, "resamples"),
        ({"seed": -1}, "seed"),
    ],
)
def test_the_bootstrap_refuses(change, message):
    with pytest.raises(InvalidInput, match=message):
        paired_bootstrap(**{"difference": np.zeros((2, 3)), "seed": 0, **change})


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
    for name in ("mean", "low", "high"):
        assert getattr(found["log_loss"], name) == pytest.approx(getattr(expected, name))
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


def made(gain=0.0, ceiling=0.0, noise=0.1, rows=200, seeds=3, base=1.0):
    """Losses whose gains over no_teacher are exactly these shares of its mean, ``base``."""
    rng = np.random.default_rng(0)
    alone = np.repeat(rng.lognormal(0, 0.3, size=(1, rows)), seeds, axis=0)

    def less(by):
        loss = alone * rng.lognormal(0, noise, size=alone.shape)
        return base * (1 - by) * loss / loss.mean()

    return {
        "no_teacher": base * alone / alone.mean(),
        "auxiliary": less(0),
        "fixed_teacher": less(0),
        "ldt": less(gain),
        "oracle": less(ceiling),
    }


def test_helps():
    verdict = judge(made(0.12, 0.4), VALIDATION)
    assert (verdict.outcome, verdict.method) == ("helps", "ldt")
    assert verdict.relative_gain == pytest.approx(0.12)
    assert verdict.share == pytest.approx(0.3)
    assert verdict.ceiling is not None
    assert verdict.ceiling.low < 0.4 < verdict.ceiling.high
    assert verdict.sentence.startswith(
        "Hindsight helps: the student taught by ldt has 12 % less log loss on unseen rows than "
        "without a teacher (95 % interval 1"
    )
    assert "which nobody has at test time, it would be 40 % less" in verdict.sentence
    assert verdict.sentence.endswith("so 30 % of what could be gained is reached.")


def test_a_clear_gain_below_the_smallest_of_interest_helps_but_little():
    verdict = judge(made(0.02, 0.4, noise=0.01), VALIDATION)
    assert verdict.outcome == "helps"
    assert verdict.sentence.startswith("Hindsight helps, but little: ")


@pytest.mark.parametrize("gain", [0.0, -0.2])
def test_does_not_help(gain):
    verdict = judge(made(gain, 0.4, noise=0.05), VALIDATION)
    assert verdict.outcome == "does not help"
    assert verdict.sentence.startswith("Hindsight does not help: ")
    assert "is reached" not in verdict.sentence
    if gain < 0:
        assert "has 20 % more log loss" in verdict.sentence


def test_too_little_data_when_the_interval_is_wide():
    verdict = judge(made(0.03, 0.4, noise=1.5, rows=60), VALIDATION)
    assert verdict.gain.low < 0 < 0.05 < verdict.gain.high
    assert verdict.outcome == "too little data to tell"
    assert " more to " in verdict.sentence
    assert verdict.sentence.startswith("Too little data to tell whether hindsight helps: the stu")


def test_the_smallest_gain_of_interest_decides_between_no_and_unknown():
    losses = made(0.01, 0.4, noise=0.5, rows=120)
    outcomes = [judge(losses, VALIDATION, smallest_gain=s).outcome for s in (0.01, 0.3)]
    assert outcomes == ["too little data to tell", "does not help"]


def test_few_rows_or_groups_decide_nothing_however_clear():
    few = judge(made(0.3, 0.4, rows=29), VALIDATION)
    assert few.outcome == "too little data to tell"
    assert "there are 29 test rows, and at least 30 are needed" in few.sentence
    assert judge(made(0.3, 0.4, rows=30), VALIDATION).outcome == "helps"
    groups = np.arange(200) % 4
    clustered = judge(made(0.3, 0.4), VALIDATION, groups=groups)
    assert clustered.outcome == "too little data to tell"
    assert "4 groups, and at least 5" in clustered.sentence
    assert judge(made(0.3, 0.4), VALIDATION, groups=np.arange(200) % 5).outcome == "helps"


def test_the_method_is_chosen_on_validation_never_on_test():
    losses = made(0.3, 0.4)
    verdict = judge(losses, {**VALIDATION, "auxiliary": 0.5})
    assert (verdict.method, verdict.outcome) == ("auxiliary", "does not help")
    assert judge(losses, {**VALIDATION, "auxiliary": math.nan}).method == "ldt"
    assert judge(losses, {**VALIDATION, "auxiliary": None}).method == "ldt"
    assert judge(losses, {**VALIDATION, "ldt": 3.0, "oracle": 0.1}).method == "auxiliary"


def test_an_oracle_no_better_than_the_baseline_is_said():
    verdict = judge(made(0.0, -0.1, noise=0.05), VALIDATION)
    assert verdict.share is None
    assert "do not tell more about the label than the inputs do" in verdict.sentence
    unclear = judge(made(0.0, 0.1, noise=1.5, rows=40), VALIDATION)
    assert unclear.share is None
    assert "may tell no more about the label" in unclear.sentence
    losses = made(0.12, 0.4)
    del losses["oracle"]
    alone = judge(losses, VALIDATION)
    assert alone.ceiling is None
    assert "nobody has" not in alone.sentence


def test_the_verdict_does_not_depend_on_the_scale_of_the_loss():
    small, large = (judge(made(0.12, 0.4, base=b), VALIDATION) for b in (1.0, 1000.0))
    assert small.sentence == large.sentence
    assert large.gain.mean == pytest.approx(1000 * small.gain.mean)


def test_a_perfect_baseline():
    losses = dict.fromkeys(("no_teacher", "ldt", "oracle"), np.zeros((2, 40)))
    verdict = judge(losses, VALIDATION)
    assert (verdict.outcome, verdict.relative_gain) == ("does not help", None)
    assert "already has no log loss" in verdict.sentence


def test_demonstration_and_json():
    verdict = judge(made(0.12, 0.4), VALIDATION, demonstration=True, unit="error")
    assert verdict.sentence.startswith("Demonstration (fixed settings, no search): Hindsight ")
    assert "less error on unseen rows" in verdict.sentence
    record = verdict.to_json()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["gain"] == verdict.gain.to_json()
    assert record["demonstration"] is True
    assert Interval(1.0, math.nan, math.inf).to_json() == {"mean": 1.0, "low": None, "high": None}


@pytest.mark.parametrize(
    ("losses", "validation", "message"),
    [
        ({"ldt": np.ones((1, 40))}, VALIDATION, "no_teacher"),
        ({"no_teacher": np.ones((1, 40))}, VALIDATION, "validation"),
        (made(), {"ldt": math.inf}, "validation"),
        ({**made(), "ldt": np.ones((3, 199))}, VALIDATION, "ldt"),
        ({**made(), "oracle": np.full((3, 200), -1.0)}, VALIDATION, "oracle"),
        ({**made(), "ldt": np.full((3, 200), math.nan)}, VALIDATION, "ldt"),
    ],
)
def test_judge_refuses(losses, validation, message):
    with pytest.raises(InvalidInput, match=message):
        judge(losses, validation)
