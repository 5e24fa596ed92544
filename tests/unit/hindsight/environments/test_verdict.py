"""The two answers and the sentence."""

import numpy as np
import pytest

from didact._bootstrap import Interval
from didact._checks import DidactError
from didact.hindsight.environments._compare import Gain
from didact.hindsight.environments._verdict import judge

PLAIN = [np.full((3, 30), 0.5), np.full((3, 30), 1.0)]  # worst 1.0, mean 0.75


def _gain(worst: tuple[float, float, float], mean: tuple[float, float, float]) -> Gain:
    return Gain((), Interval(*mean), Interval(*worst))


NONE = (0.0, -0.02, 0.02)
BETTER, WORSE, UNCLEAR = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.1, -0.2, 0.4)


def _judge(gains: dict[str, Gain], **options: object) -> dict:  # type: ignore[type-arg]
    given = {"level": 1 - 0.05 / 3, "unit": "log loss", "cut_short": [], "demonstration": False}
    return judge(PLAIN, gains, **{**given, **options})  # type: ignore[arg-type, return-value]


def test_one_method_above_zero_helps_whatever_the_others_do() -> None:
    gains = {"and_mask": _gain(BETTER, NONE), "v_rex": _gain(UNCLEAR, NONE)}
    gains["irm"] = _gain(WORSE, WORSE)
    found = _judge(gains)
    assert found["worst"]["outcome"] == "helps"
    assert found["worst"]["method"] == "and_mask"
    assert found["worst"]["relative_gain"] == pytest.approx(0.2)
    assert found["mean"]["outcome"] == "does not help"
    assert found["sentence"] == (
        "On the worst environment, it helps to ask what environments share: AND-mask has 20 % less "
        "log loss than plain training (10 % to 30 %; 98 % interval over test rows and 3 training "
        "runs, so that all 3 hold at once). IRM does worse than plain training there. In the mean "
        "of the environments, it does not help: AND-mask does best of 3 methods, and has 0 % less "
        "log loss than plain training (from 2.7 % more to 2.7 % less). IRM does worse than plain "
        "training there."
    )


def test_wide_intervals_are_too_little_data() -> None:
    found = _judge({"and_mask": _gain(UNCLEAR, UNCLEAR), "irm": _gain(WORSE, WORSE)})
    assert found["worst"]["outcome"] == found["mean"]["outcome"] == "too little data to tell"
    assert found["sentence"].startswith(
        "Too little data to tell whether it helps to ask what environments share on the worst "
        "environment: AND-mask does best of 2 methods"
    )


def test_all_below_zero_do_not_help_and_are_said_to_do_worse() -> None:
    found = _judge({"and_mask": _gain(WORSE, WORSE), "irm": _gain((-0.3, -0.4, -0.2), WORSE)})
    assert found["worst"]["outcome"] == "does not help"
    assert "AND-mask does best of 2 methods, and has 20 % more log loss" in found["sentence"]
    assert "IRM does worse than plain training there." in found["sentence"]


def test_rivals_stand_beside_and_never_answer() -> None:
    gains = {"and_mask": _gain(NONE, NONE)}
    gains |= {"trees": _gain(BETTER, BETTER), "linear": _gain(UNCLEAR, NONE)}
    found = _judge(gains)
    assert found["worst"]["outcome"] == "does not help"
    assert found["sentence"].endswith(
        "Beside plain training on the worst environment, boosted trees do better, by 20 % of its "
        "loss; whether a linear model does better or worse is not clear."
    )


def test_cut_short_voids_it_but_in_a_demonstration() -> None:
    gains = {"and_mask": _gain(BETTER, BETTER)}
    found = _judge(gains, cut_short=["irm"])
    assert found["worst"]["outcome"] == found["mean"]["outcome"] == "cut short"
    assert found["sentence"].startswith("No verdict: `irm` had not gone 25 epochs")
    found = _judge(gains, cut_short=["irm"], demonstration=True)
    assert found["worst"]["outcome"] == "helps"
    assert found["sentence"].startswith("Demonstration (fixed settings, no search): On the worst")
    assert found["sentence"].endswith("when they ended: `irm`.")


def test_no_method_is_an_error_and_no_loss_is_said() -> None:
    with pytest.raises(DidactError, match="None of and_mask, v_rex, irm"):
        _judge({"trees": _gain(BETTER, BETTER)})
    zero = judge(
        [np.zeros((1, 30))] * 2, {"irm": _gain(NONE, NONE)}, level=0.95, unit="log loss",
        cut_short=[], demonstration=False,
    )  # fmt: skip
    assert "plain training has no log loss" in zero["sentence"]
    assert zero["worst"]["relative_gain"] is None
