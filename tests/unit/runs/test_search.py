"""The search repeats itself, resumes, and finds more than chance does."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import DidactError, InvalidInput
from didact.runs import Choice, Integer, MissingExtra, Real, Trial, best, drawn, run_cells, search

SPACE = {
    "rate": Real(1e-4, 1.0, log=True),
    "decay": Real(0, 1),
    "layers": Integer(1, 6),
    "width": Integer(8, 512, log=True),
    "act": Choice(["relu", "tanh", None]),
    "shape": Choice([[1, 2], [3]]),
}


def loss(point: dict[str, Any]) -> float:
    distance = (math.log10(point["rate"]) + 2) ** 2 + (point["decay"] - 0.3) ** 2
    return distance + 0.1 * abs(point["layers"] - 2) + (point["act"] != "tanh")


def losses(batch: list[dict[str, Any]]) -> list[float]:
    return [loss(point) for point in batch]


def test_the_same_search_gives_the_same_trials() -> None:
    first = search(SPACE, losses, trials=22, seed=3)
    assert search(SPACE, losses, trials=22, seed=3) == first
    assert search(SPACE, losses, trials=22, seed=4) != first
    assert [trial.number for trial in first] == list(range(22))
    assert all(trial.value == loss(trial.settings) for trial in first)


@pytest.mark.parametrize("fewer", [4, 14, 16])
def test_a_longer_search_starts_with_the_shorter(fewer: int) -> None:
    assert search(SPACE, losses, trials=20)[:fewer] == search(SPACE, losses, trials=fewer)


def test_batches_have_the_asked_size() -> None:
    sizes: list[int] = []

    def evaluate(batch: list[dict[str, Any]]) -> list[float]:
        sizes.append(len(batch))
        return losses(batch)

    search(SPACE, evaluate, trials=11, batch=4)
    assert sizes == [4, 4, 3]


def test_the_random_state_of_the_caller_is_neither_used_nor_moved() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    first = search(SPACE, losses, trials=14)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index, union-attr]
    np.random.seed(1)
    assert search(SPACE, losses, trials=14) == first


def test_a_killed_search_goes_on_from_stored_cells(tmp_path: Path) -> None:
    runs: list[dict[str, Any]] = []

    def cell(config: dict[str, Any], folder: Path) -> dict[str, Any]:
        runs.append(config)
        if len(runs) == 15:
            raise KeyboardInterrupt
        return {"loss": loss(config)}

    def evaluate(batch: list[dict[str, Any]]) -> Sequence[float]:
        return [record["loss"] for record in run_cells(cell, batch, tmp_path)]

    with pytest.raises(KeyboardInterrupt):
        search(SPACE, evaluate, trials=20)
    resumed = search(SPACE, evaluate, trials=20)
    assert resumed == search(SPACE, losses, trials=20)
    assert len(runs) == 21


def test_the_defaults_come_first() -> None:
    defaults = {
        "rate": 0.5,
        "decay": 0,
        "layers": 6,
        "width": 8,
        "act": None,
        "shape": [3],
    }
    trials = search(SPACE, losses, trials=6, first=defaults)
    assert trials[0].settings == defaults
    assert trials[1].settings != defaults
    assert best(trials).value <= loss(defaults)


@given(seed=st.integers(0, 2**70), batch=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_every_setting_lies_in_its_range(seed: int, batch: int) -> None:
    for trial in search(SPACE, losses, trials=13, batch=batch, seed=seed):
        point = trial.settings
        assert list(point) == list(SPACE)
        assert 1e-4 <= point["rate"] <= 1
        assert 0 <= point["decay"] <= 1
        assert type(point["layers"]) is int
        assert 1 <= point["layers"] <= 6
        assert type(point["width"]) is int
        assert 8 <= point["width"] <= 512
        assert point["act"] in ("relu", "tanh", None)
        assert point["shape"] in ([1, 2], [3])


def test_it_beats_chance() -> None:
    space = {"x": Real(-5, 5), "y": Real(-5, 5)}

    def bowl(batch: list[dict[str, Any]]) -> list[float]:
        return [(p["x"] - 1.5) ** 2 + (p["y"] + 2) ** 2 for p in batch]

    ours = [best(search(space, bowl, trials=60, seed=seed)).value for seed in range(6)]
    draws = np.random.default_rng(0).uniform(-5, 5, (6, 60, 2))
    chance = ((draws - [1.5, -2]) ** 2).sum(-1).min(1)
    assert np.median(ours) < np.median(chance) / 2


@pytest.mark.parametrize("failure", [math.nan, math.inf, -math.inf])
def test_failed_trials_are_avoided_and_never_best(failure: float) -> None:
    def half_fails(batch: list[dict[str, Any]]) -> list[float]:
        return [failure if p["x"] > 0 else (p["x"] + 0.5) ** 2 for p in batch]

    trials = search({"x": Real(-1, 1)}, half_fails, trials=60)
    assert best(trials).settings["x"] <= 0
    failed = [trial.settings["x"] > 0 for trial in trials]
    assert any(failed[:12])
    assert sum(failed[20:]) < 10


def test_a_search_that_only_fails_ends_in_a_clear_error() -> None:
    trials = search({"x": Real(-1, 1)}, lambda batch: [math.nan] * len(batch), trials=14)
    assert len(trials) == 14
    with pytest.raises(DidactError, match="None of the 14 trials"):
        best(trials)


def test_best_is_the_earliest_lowest_finite() -> None:
    values = [math.nan, 2.0, 1.0, 1.0, -math.inf]
    assert best([Trial(n, {}, value) for n, value in enumerate(values)]).number == 2


def test_optuna_is_silent_and_the_users_settings_stay(capfd: pytest.CaptureFixture[str]) -> None:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        filters = list(warnings.filters)
        seen: list[int] = []

        def evaluate(batch: list[dict[str, Any]]) -> list[float]:
            seen.append(optuna.logging.get_verbosity())
            return [math.nan, *losses(batch[1:])]

        search(SPACE, evaluate, trials=14)
        assert set(seen) == {optuna.logging.DEBUG}
        assert list(warnings.filters) == filters
    finally:
        optuna.logging.set_verbosity(level)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (lambda: Real(1, 1), "`high` should be a finite number above 1"),
        (lambda: Real(0, 1, log=True), "`low` should be a finite number above 0"),
        (lambda: Real(0, math.inf), "`high` should be a finite number"),
        (lambda: Integer(3, 2), "`high` should be an integer of at least 3"),
        (lambda: Integer(0, 2, log=True), "`low` should be a positive integer"),
        (lambda: Integer(1.0, 2), "`low` should be an integer"),  # type: ignore[arg-type]
        (lambda: Choice([]), "`options` should be a sequence of at least one"),
        (lambda: Choice("ab"), "`options` should be a sequence of at least one"),
        (lambda: search({}, losses, trials=1), "`space` should be a dict"),
        (lambda: search(SPACE, losses, trials=0), "`trials` should be a positive"),
        (lambda: search(SPACE, losses, trials=1, batch=0), "`batch` should be a positive"),
        (lambda: search(SPACE, losses, trials=1, seed=-1), "`seed` should be an integer"),
        (lambda: search(SPACE, lambda b: [], trials=1), "`evaluate` should be a function"),
        (lambda: search(SPACE, losses, trials=1, first={"rate": 1}), "`first` should be a dict"),
        (
            lambda: search({"x": Real(0, 1)}, losses, trials=1, first={"x": 2}),
            r"`first\.x` should be in Real",
        ),
        (
            lambda: search({"x": Integer(0, 2)}, losses, trials=1, first={"x": 1.5}),
            r"`first\.x` should be in Integer",
        ),
        (
            lambda: search({"x": Choice(["a"])}, losses, trials=1, first={"x": "b"}),
            r"`first\.x` should be in Choice",
        ),
    ],
)
def test_wrong_arguments_are_named(build: Any, rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        build()


def test_a_missing_optuna_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r'`optuna`: pip install "didact\[fit\]"'):
        search(SPACE, losses, trials=1)


FIRST = {"rate": 0.1, "decay": 0.5, "layers": 2, "width": 64, "act": None, "shape": [3]}


def test_drawn_settings_are_of_the_space_and_spread_as_it_says() -> None:
    found = drawn(SPACE, trials=2001, seed=0, first=FIRST)
    assert found[0] == FIRST
    assert all(point[name] in choice for point in found for name, choice in SPACE.items())
    rate = np.log10([point["rate"] for point in found[1:]])
    assert np.quantile(rate, [0.25, 0.5, 0.75]) == pytest.approx([-3, -2, -1], abs=0.15)
    layers = np.bincount([point["layers"] for point in found[1:]])[1:] / 2000
    assert layers == pytest.approx(np.full(6, 1 / 6), abs=0.03)
    width = np.array([point["width"] for point in found[1:]])
    # Even over magnitudes: from 8 to 64 and from 64 to 512 lie three doublings each.
    assert (width <= 64).mean() == pytest.approx(0.5, abs=0.04)
    assert width.min() == 8
    assert 480 < width.max() <= 512
    assert {point["act"] for point in found} == {"relu", "tanh", None}


def test_more_draws_begin_with_those_of_fewer_and_names_keep_their_values() -> None:
    many = drawn(SPACE, trials=9, seed=1, first=FIRST)
    assert drawn(SPACE, trials=4, seed=1, first=FIRST) == many[:4]
    part = {name: SPACE[name] for name in ("width", "rate")}
    first = {name: FIRST[name] for name in part}
    assert drawn(part, trials=9, seed=1, first=first) == [
        {name: point[name] for name in part} for point in many
    ]
    assert drawn(SPACE, trials=9, seed=2, first=FIRST)[1:] != many[1:]
    with pytest.raises(InvalidInput, match="keys"):
        drawn(SPACE, trials=2, seed=0, first=first)
