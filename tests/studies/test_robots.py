"""The study of robots' returns."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from didact.privileged import NoTeacher
from didact.studies import STUDIES, Cell, _ldt_mujoco, _robot_settings, _robots, find
from didact.studies._nets import RewardStudent
from didact.tasks import RewardScale, mujoco_rollouts


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


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_weight_decay_leaves_dead_neurons_alone(decay: float) -> None:
    torch.manual_seed(0)
    student = RewardStudent(3, 4, width=6, depth=2)
    with torch.no_grad():
        student.hidden[0].bias[0] = -1e3
    method = NoTeacher(student, label_loss=F.cross_entropy)
    adam = torch.optim.Adam(_robots._groups(method, decay), 1e-2)
    assert sum(p.numel() for group in adam.param_groups for p in group["params"]) == sum(
        p.numel() for p in student.parameters()
    )
    length = student.hidden[0].parametrizations.weight.original1[0].norm().detach()
    scale = student.hidden[0].parametrizations.weight.original0[0].clone().detach()
    x, y = torch.randn(16, 3), torch.randint(4, (16,))
    for _ in range(300):
        adam.zero_grad()
        method.loss((x, torch.zeros(16, 0), y)).backward()
        adam.step()
    dead = student.hidden[0].parametrizations.weight
    assert torch.equal(dead.original1[0].norm(), length)
    assert torch.equal(dead.original0[0], scale) == (decay == 0)


def test_a_perfect_model_of_the_rewards_has_no_error() -> None:
    scale = RewardScale(mujoco_rollouts("Swimmer", 100, seed=0))
    data = scale(mujoco_rollouts("Swimmer", 100, seed=1))
    assert torch.equal(scale.label(scale.total(data.x_star[:, -1])), data.y)


def test_a_setting_is_chosen_by_more_seeds_than_one(tmp_path: Path) -> None:
    study = find("ldt-mujoco", STUDIES)
    config = replace(
        study.config(), environments=("Hopper",), methods=("no_teacher",), seeds=2, confirmed=3,
        search_seeds=3,
    )  # fmt: skip
    rounds = study.plan(config, tmp_path)
    first = next(rounds)
    assert len(first) == 18
    assert {run.seed for run in first} == {1000}
    errors = [[0.5], [], [0.4, 0.1], [0.3, 0.2, 0.4], [0.25], [0.0], *[[1.0]] * 12]
    diverged = [None, "epoch 1", None, None, None, "epoch 2", *[None] * 12]
    again = rounds.send(
        [{"held_out": e, "diverged": d} for e, d in zip(errors, diverged, strict=True)]
    )
    assert [run.settings for run in again] == [first[i].settings for i in (2, 3, 4)] * 2
    assert [run.seed for run in again] == [1001] * 3 + [1002] * 3
    more = [[0.9], [0.3], [0.1], [0.1], [0.3], [0.4]]
    final = rounds.send([{"held_out": held_out, "diverged": None} for held_out in more])
    assert [(run.settings, run.seed) for run in final] == [(first[4].settings, k) for k in (0, 1)]


def test_a_second_seed_that_diverges_at_once_loses(tmp_path: Path) -> None:
    study = find("ldt-mujoco", STUDIES)
    config = replace(study.config(), environments=("Hopper",), methods=("ldt",))
    config = replace(config, confirmed=2, search_seeds=2)
    rounds = study.plan(config, tmp_path)
    first = next(rounds)
    rounds.send([{"held_out": errors, "diverged": None} for errors in ([0.1], [0.2], [0.3])])
    final = rounds.send(
        [{"held_out": [], "diverged": "epoch 1"}, {"held_out": [0.3], "diverged": None}]
    )
    assert {repr(run.settings) for run in final} == {repr(first[1].settings)}


def test_of_few_settings_one_seed_chooses(tmp_path: Path) -> None:
    study = find("ldt-mujoco", STUDIES)
    config = replace(study.config(), environments=("Hopper",), methods=("ldt",), seeds=1)
    rounds = study.plan(config, tmp_path)
    first = next(rounds)
    assert 1 < len(first) <= config.confirmed
    errors = [[0.1], [0.3], [0.2]]
    final = rounds.send(
        [
            {"held_out": e, "diverged": d}
            for e, d in zip(errors, ["epoch 2", None, None], strict=True)
        ]
    )
    assert [(run.settings, run.seed) for run in final] == [(first[2].settings, 0)]


def test_tables_show_the_settings_that_the_search_chose() -> None:
    def cell(rate: float, seed: int, held_out: float) -> Cell:
        record = {
            "held_out": [held_out], "test": [held_out], "diverged": None, "skipped": 0,
            "training": [0.0],
        }  # fmt: skip
        return Cell(_robots.Run("Hopper", "no_teacher", {"learning_rate": rate}, seed), record, {})

    search = [cell(0.1, 1000, 0.2), cell(0.2, 1000, 0.3), cell(0.3, 1000, 0.1)]
    again = [cell(0.1, 1001, 0.6), cell(0.2, 1001, 0.4)]
    final = [cell(rate, seed, rate) for rate in (0.1, 0.2, 0.3) for seed in range(3)]
    chosen = _robot_settings.final([*final, *search, *again])
    assert [cell.run.settings["learning_rate"] for cell in chosen] == [0.2] * 3
    assert "| Hopper | no teacher | 3 of 18 | 3 | 0, 0 | 0.2" in _ldt_mujoco.table(
        [*final, *search, *again]
    )
