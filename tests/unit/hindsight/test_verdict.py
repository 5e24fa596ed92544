"""The verdict on losses whose gains are known."""

import json
import math

import numpy as np
import pytest

from didact._checks import DidactError, InvalidInput
from didact.hindsight._metrics import CANDIDATES, METHODS
from didact.hindsight._verdict import CONTROL, ELIGIBLE, judge

VALIDATION = {
    "no_teacher": 1.0,
    "auxiliary": 0.97,
    "fixed_teacher": 0.99,
    "generalised_distillation": 0.95,
    "tram": 0.96,
    "ldt": 0.9,
    "trees": 0.8,
    "oracle": 0.5,
}


def made(gain=0.0, ceiling=0.0, noise=0.1, rows=200, seeds=3, base=1.0, trees=None):
    """Losses whose gains over no_teacher are exactly these shares of its mean, ``base``."""
    rng = np.random.default_rng(0)
    alone = np.repeat(rng.lognormal(0, 0.3, size=(1, rows)), seeds, axis=0)

    def less(by):
        loss = alone * rng.lognormal(0, noise, size=alone.shape)
        return base * (1 - by) * loss / loss.mean()

    found = {
        "no_teacher": base * alone / alone.mean(),
        "auxiliary": less(0),
        "fixed_teacher": less(0),
        "ldt": less(gain),
        "oracle": less(ceiling),
        "generalised_distillation": less(0),
        "tram": less(0),
    }
    return found if trees is None else {**found, "trees": less(trees)}


def test_the_candidates_are_those_of_the_metrics():
    assert set(VALIDATION) == set(CANDIDATES)
    assert {*ELIGIBLE, CONTROL} == set(METHODS)


def test_helps():
    verdict = judge(made(0.12, 0.4), VALIDATION)
    assert (verdict.outcome, verdict.method) == ("helps", "ldt")
    assert verdict.relative_gain == pytest.approx(0.12)
    assert verdict.share == pytest.approx(0.3)
    assert verdict.ceiling is not None
    assert verdict.ceiling.low < 0.4 < verdict.ceiling.high
    assert verdict.sentence.startswith(
        "Hindsight helps: the student taught by ldt has 12 % less log loss on unseen rows than "
        "without a teacher (95 % interval over test rows and 3 training runs: 1"
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
    assert judge(losses, {**VALIDATION, "ldt": 3.0, "oracle": 0.1}).method == (
        "generalised_distillation"
    )
    for name in ELIGIBLE:
        assert judge(losses, {**VALIDATION, name: 0.1}).method == name
    del losses["ldt"]  # best on validation rows, but without test losses
    assert judge(losses, VALIDATION).method == "generalised_distillation"


def test_the_control_is_never_the_method():
    verdict = judge(made(0.12, 0.4), {**VALIDATION, "fixed_teacher": 0.1})
    assert (verdict.method, verdict.outcome) == ("ldt", "helps")


def test_a_gain_no_larger_than_the_controls_is_doubted():
    losses = made(0.12, 0.4)
    doubt = "A random teacher (fixed_teacher) does as well, so the gain may be regularisation"
    assert doubt not in judge(losses, VALIDATION).sentence
    assert doubt in judge({**losses, "fixed_teacher": losses["ldt"]}, VALIDATION).sentence
    assert doubt in judge({**losses, "fixed_teacher": 0.9 * losses["ldt"]}, VALIDATION).sentence
    del losses["fixed_teacher"]
    assert doubt not in judge(losses, VALIDATION).sentence


@pytest.mark.parametrize(
    ("losses", "validation"),
    [
        (made(), {"auxiliary": None, "fixed_teacher": 0.9, "tram": math.nan, "ldt": math.inf}),
        ({k: v for k, v in made(trees=0).items() if k not in ELIGIBLE}, VALIDATION),
    ],
)
def test_without_a_trained_method_people_read_so(losses, validation):
    with pytest.raises(DidactError) as caught:
        judge(losses, validation)
    assert str(caught.value) == (
        "None of the candidates that use hindsight (auxiliary, generalised_distillation, tram, "
        "ldt) could be trained: each diverged or failed in at least one training run."
    )


@pytest.mark.parametrize(("trees", "said"), [(0.3, "better"), (-0.1, "worse")])
def test_trees_are_compared_with_the_method_and_decide_nothing(trees, said):
    losses = made(0.12, 0.4, trees=trees)
    verdict, without = judge(losses, VALIDATION), judge(made(0.12, 0.4), VALIDATION)
    assert (verdict.outcome, verdict.method) == (without.outcome, without.method)
    assert verdict.trees.mean == pytest.approx(trees - 0.12)  # shares of a base of 1
    assert verdict.trees.mean == pytest.approx((losses["ldt"] - losses["trees"]).mean())
    assert verdict.trees.low < verdict.trees.mean < verdict.trees.high
    assert f"inputs alone do {said} than this student, by " in verdict.sentence
    assert without.trees is None
    assert "rees" not in without.sentence
    large = judge({name: 1000 * loss for name, loss in losses.items()}, VALIDATION)
    assert large.sentence == verdict.sentence
    assert large.trees.mean == pytest.approx(1000 * verdict.trees.mean)


def test_trees_as_good_and_trees_nobody_can_tell():
    alike = judge(made(0.12, 0.4, noise=0.02, trees=0.12), VALIDATION)
    assert alike.sentence.endswith("inputs alone do about as well as this student.")
    unclear = judge(made(0.12, 0.4, noise=1.5, rows=60, trees=0.2), VALIDATION)
    assert unclear.trees.low < -0.05 < 0.05 < unclear.trees.high
    assert unclear.sentence.endswith("do better or worse than this student is not clear.")


@pytest.mark.parametrize("name", [name for name in CANDIDATES if name != "oracle"])
def test_a_rival_cut_short_voids_the_verdict(name):
    losses = made(0.3, 0.4, trees=0.0)
    verdict = judge(losses, VALIDATION, cut_short=[name])
    assert (verdict.outcome, verdict.cut_short) == ("cut short", (name,))
    assert verdict.sentence.startswith(
        f"No verdict: `{name}` had not gone 25 epochs without a gain on validation rows when the "
    )
    assert "so the comparison would not be fair." in verdict.sentence
    assert "Give a larger `--epochs`." in verdict.sentence
    assert "helps" not in verdict.sentence
    whole = judge(losses, VALIDATION)
    assert (verdict.method, verdict.gain) == (whole.method, whole.gain)  # still to be looked at
    assert verdict.to_json()["cut_short"] == [name]


def test_an_oracle_cut_short_does_not():
    losses = made(0.3, 0.4, trees=0.0)
    verdict = judge(losses, VALIDATION, cut_short=["oracle"])
    assert verdict == judge(losses, VALIDATION)
    assert (verdict.outcome, verdict.cut_short) == ("helps", ())
    both = judge(losses, VALIDATION, cut_short=["tram", "trees", "oracle"])
    assert both.cut_short == ("tram", "trees")
    assert both.sentence.startswith("No verdict: `tram`, `trees` had not gone 25 epochs")
    assert both.sentence.endswith("Give a larger `--epochs`.")


def test_cut_short_is_said_before_too_few_rows():
    verdict = judge(made(0.3, 0.4, rows=20), VALIDATION, cut_short=["ldt"])
    assert verdict.outcome == "cut short"
    assert verdict.sentence.startswith("No verdict: ")


def test_a_demonstration_names_those_cut_short_instead_of_refusing():
    verdict = judge(made(0.3, 0.4), VALIDATION, cut_short=["ldt"], demonstration=True)
    assert verdict.outcome == "helps"
    assert verdict.cut_short == ("ldt",)
    assert verdict.sentence.startswith("Demonstration (fixed settings, no search): Hindsight helps")
    assert verdict.sentence.endswith("Not yet 25 epochs without a gain when they ended: `ldt`.")


def test_no_change_that_does_better_is_said():
    losses = made(0.3, 0.4)
    method = float(losses["ldt"].mean())
    assert "nothing changes" not in judge(losses, VALIDATION, persistence=method * 1.1).sentence
    said = judge(losses, VALIDATION, persistence=method * 0.5).sentence
    assert "To predict that nothing changes does better than this student, by" in said


def test_an_oracle_that_another_beats_is_no_ceiling():
    losses = made(0.3, 0.2)  # the oracle gains less than LDT
    verdict = judge(losses, VALIDATION)
    assert verdict.ceiling.low > 0
    assert verdict.share is None
    assert "another candidate without them does better" in verdict.sentence


def test_the_sentence_says_over_how_many_training_runs_it_speaks():
    assert "(95 % interval over test rows, one training run: " in (
        judge(made(0.12, 0.4, seeds=1), VALIDATION).sentence
    )


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
    assert record["trees"] is None
    assert record["cut_short"] == []
    verdict = judge(made(0.12, 0.4, trees=0.2), VALIDATION)
    assert verdict.to_json()["trees"] == verdict.trees.to_json()


@pytest.mark.parametrize(
    ("losses", "validation", "message"),
    [
        ({"ldt": np.ones((1, 40))}, VALIDATION, "no_teacher"),
        ({**made(), "ldt": np.ones((3, 199))}, VALIDATION, "ldt"),
        ({**made(), "oracle": np.full((3, 200), -1.0)}, VALIDATION, "oracle"),
        ({**made(), "ldt": np.full((3, 200), math.nan)}, VALIDATION, "ldt"),
        ({**made(), "fixed_teacher": np.ones((3, 199))}, VALIDATION, "fixed_teacher"),
        ({**made(), "trees": np.ones((2, 200))}, VALIDATION, "trees"),
        ({**made(), "trees": np.full((3, 200), -1.0)}, VALIDATION, "trees"),
    ],
)
def test_judge_refuses(losses, validation, message):
    with pytest.raises(InvalidInput, match=message):
        judge(losses, validation)
