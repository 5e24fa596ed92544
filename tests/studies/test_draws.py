"""Initial weights, training, held-out and test examples never are the same numbers."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from didact.privileged import Seeds
from didact.studies import STUDIES, _ldt_life, _life_training, _toy, find
from didact.tasks import task_a, task_b


@pytest.mark.parametrize("name", ["ldt-task-a", "ldt-task-b"])
def test_no_student_is_born_with_the_tasks_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = find(name, STUDIES)
    run = next(iter(next(study.plan(study.smoke, tmp_path))))
    born: list[nn.Module] = []

    def kept(modules: list[nn.Module]) -> Seeds:
        born.extend(deepcopy(modules))
        return Seeds(modules)

    monkeypatch.setattr(_toy, "Seeds", kept)
    study.train(replace(run, seeds=[0], meta_steps=1), tmp_path, lambda step, values: None)
    first = next(p for p in born[0].parameters() if p.ndim == 2)
    generator = torch.Generator().manual_seed(0)
    if name == "ldt-task-a":
        truth = task_a(run.rows, run.dimension, generator=generator).weight
    else:
        truth = task_b(run.rows, logit_scale=run.logit_scale, generator=generator).weight
    assert first.shape[1] == truth.shape[1]
    assert (first[:, None] - truth).abs().amax(-1).min() > 1e-3


def test_no_board_is_in_two_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets: list[set[bytes]] = []
    draw = _life_training.game_of_life

    def kept(*given: Any, **named: Any) -> Any:
        found = draw(*given, **named)
        sets.append({bytes(board.numpy()) for board in found.x.flatten(1)})
        return found

    monkeypatch.setattr(_life_training, "game_of_life", kept)
    settings = _ldt_life.first("no_teacher")
    for seed in (0, 1, 1000):
        run = _life_training.Run("no_teacher", 64, settings, seed, epochs=1, held_out_rows=64)
        _life_training.train(replace(run, test_rows=64), tmp_path, lambda epoch, values: None)
        training, held_out, test = sets[-3:]
        assert training.isdisjoint(held_out | test)
        assert held_out.isdisjoint(test)
    assert len(sets) == 9
