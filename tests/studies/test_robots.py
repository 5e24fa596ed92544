"""The study of robots' returns."""

from pathlib import Path

import pytest

from didact.studies import STUDIES, _robots, find


def test_an_error_that_is_no_number_ends_a_run_and_not_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = find("ldt-mujoco", STUDIES)
    run = next(run for run in next(study.plan(study.smoke, tmp_path)) if run.method == "no_teacher")
    plain = _robots._error
    asked: list[float] = []

    def error(*given: object) -> float:
        asked.append(plain(*given))  # type: ignore[arg-type]
        return asked[-1] if len(asked) < 5 else float("nan")

    monkeypatch.setattr(_robots, "_error", error)
    record = _robots.train(
        _robots.Run(**{**vars(run), "epochs": 3}), tmp_path, lambda epoch, values: None
    )
    assert record["diverged"] == "epoch 2: The held_out error is nan."
    assert [len(record[name]) for name in ("training", "held_out", "test")] == [1, 1, 1]
