"""Which settings meet again, and which of them is judged."""

import math

from didact.hindsight._runs import FINALISTS, finalists, steadiest
from didact.runs import Trial


def _tried(*values: float) -> list[Trial]:
    return [Trial(k, {"k": k}, value) for k, value in enumerate(values)]


def test_the_best_finite_trials_meet_again_the_best_first() -> None:
    found = finalists(_tried(5.0, math.nan, 2.0, math.inf, 3.0, 1.0))
    assert found == [{"k": 5}, {"k": 2}, {"k": 4}]
    assert len(found) == FINALISTS


def test_equal_settings_meet_once_and_fewer_trials_are_fewer_finalists() -> None:
    twice = [Trial(0, {"k": 1}, 2.0), Trial(1, {"k": 1}, 1.0), Trial(2, {"k": 2}, 3.0)]
    assert finalists(twice) == [{"k": 1}, {"k": 2}]
    assert finalists(_tried(math.inf)) == []


def _runs(*values: float | None) -> list[dict[str, float | None]]:
    return [{"validation": value} for value in values]


def test_the_lowest_mean_decides_not_the_luckiest_run() -> None:
    assert steadiest([_runs(0.1, 9.0, 9.0), _runs(5.0, 5.0, 5.0)]) == 1


def test_a_finalist_that_diverged_is_the_last_choice() -> None:
    assert steadiest([_runs(1.0, None), _runs(50.0, 60.0)]) == 1
    assert steadiest([_runs(None), _runs(None)]) == 0
