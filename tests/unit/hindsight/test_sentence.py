"""The sentence, word for word."""

import pytest

from didact._bootstrap import Interval
from didact.hindsight._sentence import sentence
from didact.hindsight._verdict import ELIGIBLE

HOW = {
    "runs": 3,
    "control_as_good": False,
    "unit": "squared error",
    "level": 0.95,
    "smallest_gain": 0.05,
}
CEILING = Interval(0.4, 0.3, 0.5)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            ("helps", "ldt", Interval(0.12, 0.085, 0.154), CEILING, 0.3),
            "Hindsight helps: the student taught by ldt has 12 % less squared error on unseen rows "
            "than without a teacher (95 % interval over test rows and 3 training runs: 8.5 % to "
            "15 %); with the privileged columns as inputs, which nobody has at test time, it would "
            "be 40 % less, so 30 % of what could be gained is reached.",
        ),
        (
            ("helps", "auxiliary", Interval(0.02, 0.01, 0.03), None, None),
            "Hindsight helps, but little: the student with an auxiliary head that predicts the "
            "privileged columns has 2 % less squared error on unseen rows than without a teacher "
            "(95 % interval over test rows and 3 training runs: 1 % to 3 %).",
        ),
        (
            ("helps", "ldt", Interval(0.5, 0.4, 0.6), CEILING, 1.25),
            "Hindsight helps: the student taught by ldt has 50 % less squared error on unseen rows "
            "than without a teacher (95 % interval over test rows and 3 training runs: 40 % to "
            "60 %); with the privileged columns as inputs, which nobody has at test time, it would "
            "be 40 % less, so all of what could be gained is reached.",
        ),
        (
            ("does not help", "ldt", Interval(-0.2, -0.3, -0.1), CEILING, -0.5),
            "Hindsight does not help: the student taught by ldt has 20 % more squared error on "
            "unseen rows than without a teacher (95 % interval over test rows and 3 training runs: "
            "10 % to 30 %); with the privileged columns as inputs, which nobody has at test time, "
            "it would be 40 % less.",
        ),
        (
            ("does not help", "ldt", Interval(0.0, -0.01, 0.01), Interval(-0.1, -0.2, 0.0), None),
            "Hindsight does not help: the student taught by ldt has 0 % less squared error on "
            "unseen rows than without a teacher (95 % interval over test rows and 3 training runs: "
            "from 1 % more to 1 % less); with the privileged columns as inputs, which nobody has "
            "at test time, it would be no less: here the privileged columns do not tell more about "
            "the label than the inputs do.",
        ),
        (
            (
                "too little data to tell",
                "ldt",
                Interval(0.03, -0.1, 0.16),
                Interval(0.1, -0.1, 0.3),
                None,
            ),
            "Too little data to tell whether hindsight helps: the student taught by ldt has 3 % "
            "less squared error on unseen rows than without a teacher (95 % interval over test "
            "rows and 3 training runs: from 10 % more to 16 % less); with the privileged columns "
            "as inputs, which nobody has at test time, it would be 10 % less, but its interval "
            "includes zero, so the privileged columns may tell no more about the label than the "
            "inputs do.",
        ),
        (
            ("does not help", "ldt", None, None, None),
            "Hindsight does not help: without a teacher the student already has no squared error "
            "on unseen rows.",
        ),
    ],
)
def test_word_for_word(found, said):
    assert sentence(*found, **HOW) == said


@pytest.mark.parametrize(
    ("method", "who"),
    [
        (
            "generalised_distillation",
            "the student that imitates a model of the privileged columns (generalised "
            "distillation)",
        ),
        ("tram", "the student whose features were learnt beside the privileged columns (tram)"),
    ],
)
def test_every_method_has_a_name_for_people(method, who):
    said = sentence("helps", method, Interval(0.1, 0.06, 0.2), None, None, **HOW)
    assert said.startswith(f"Hindsight helps: {who} has 10 % less squared error on unseen rows ")
    for name in ELIGIBLE:
        assert sentence("helps", name, Interval(0.1, 0.06, 0.2), None, None, **HOW)


@pytest.mark.parametrize(
    ("trees", "said"),
    [
        (
            Interval(0.18, 0.1, 0.26),
            " Gradient-boosted trees on the inputs alone do better than this student, by 18 % of "
            "the loss without a teacher.",
        ),
        (
            Interval(-0.03, -0.05, -0.01),
            " Gradient-boosted trees on the inputs alone do worse than this student, by 3 % of "
            "the loss without a teacher.",
        ),
        (
            Interval(0.01, -0.02, 0.04),
            " Gradient-boosted trees on the inputs alone do about as well as this student.",
        ),
        (
            Interval(0.02, -0.04, 0.06),
            " Whether gradient-boosted trees on the inputs alone do better or worse than this "
            "student is not clear.",
        ),
        (
            Interval(-0.02, -0.06, 0.04),
            " Whether gradient-boosted trees on the inputs alone do better or worse than this "
            "student is not clear.",
        ),
        (None, ""),
    ],
)
@pytest.mark.parametrize("outcome", ["helps", "does not help", "too little data to tell"])
def test_what_is_said_of_trees(outcome, trees, said):
    gain = Interval(0.01, -0.02, 0.04) if outcome != "helps" else Interval(0.1, 0.06, 0.2)
    alone = sentence(outcome, "ldt", gain, CEILING, 0.25, **HOW)
    assert sentence(outcome, "ldt", gain, CEILING, 0.25, **HOW, trees=trees) == alone + said


def test_of_trees_it_is_spoken_last():
    how = {**HOW, "control_as_good": True, "trees": Interval(0.18, 0.1, 0.26)}
    said = sentence("helps", "ldt", Interval(0.1, 0.06, 0.2), CEILING, 0.25, **how)
    assert said.index("A random teacher") < said.index(" Gradient-boosted trees")


def test_one_training_run():
    said = sentence("helps", "ldt", Interval(0.1, 0.05, 0.2), None, None, **{**HOW, "runs": 1})
    assert said == (
        "Hindsight helps: the student taught by ldt has 10 % less squared error on unseen rows "
        "than without a teacher (95 % interval over test rows, one training run: 5 % to 20 %)."
    )


def test_a_random_teacher_that_does_as_well():
    how = {**HOW, "control_as_good": True}
    gain = Interval(0.1, 0.06, 0.2)
    said = sentence("helps", "ldt", gain, CEILING, 0.25, **how)
    assert said.endswith(
        "so 25 % of what could be gained is reached. A random teacher (fixed_teacher) does as "
        "well, so the gain may be regularisation rather than hindsight."
    )
    unclear = sentence(
        "too little data to tell", "ldt", Interval(0.1, -0.1, 0.2), None, None, **how
    )
    assert unclear.endswith("rather than hindsight.")
    for gain in (Interval(-0.1, -0.2, -0.05), Interval(0.0, -0.01, 0.01)):  # no gain to explain
        assert "random" not in sentence("does not help", "ldt", gain, None, None, **how)
