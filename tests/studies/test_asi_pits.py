"""The study of pits: what it looks at, what its runs see, and that it can tell methods apart."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from didact import InvalidInput
from didact.studies import _asi_pits_training
from didact.studies._asi_pits import BOTH_WAYS, ONE_WAY, Config, compared, plan, study
from didact.studies._asi_pits_training import Model, Run, cut, data_of, loss_of, right, train
from didact.studies._study import Cell

RUN = Run(
    method="asi", horizon=12, exploring=True, temperature=0.0, both_ways=False, told=False, seed=0,
    falls=100, levels=2, epochs=100, looks=2,
)  # fmt: skip


def _runs(config: Config) -> list[Run]:
    (runs,) = plan(config, None)  # type: ignore[arg-type]
    return list(runs)


class Perfect(Model):
    """Turns by 2 radians, as the world does, one pit a call; told, to the right side."""

    def predict(self, first: Tensor, actions: Tensor | None, steps: int) -> Tensor:
        turn = 1.0 if actions is None else actions[:, 0, 0]
        place, level = torch.view_as_complex(first[:, :2].contiguous()), first[:, 2]
        made = []
        for _ in range(steps):
            place = place * torch.polar(torch.ones(len(first)), torch.ones(len(first)) * 2 * turn)
            level = level + 2 / 2
            made.append(torch.cat([torch.view_as_real(place), level[:, None]], 1))
        return torch.stack(made, 1)


@pytest.mark.parametrize(("both_ways", "told"), [(False, False), (True, True), (True, False)])
def test_what_is_right(both_ways: bool, told: bool) -> None:
    run = replace(RUN, both_ways=both_ways, told=told)
    states, lengths, actions = data_of(run, 5)
    seen = actions if told else None
    found = right(Perfect(run), states, lengths, seen, run.levels)
    if told or not both_ways:
        assert found == 1
    else:  # Near the middle one side is as good as the other.
        assert found == pytest.approx(float((actions == 1).float().mean()), abs=0.1)


class Lands(Model):
    """Comes to where the ball lies, off by so much, with level so much, at the second call."""

    def __init__(self, run: Run, ends: Tensor, off: float, level: float) -> None:
        super().__init__(run)
        self.ends, self.off, self.level = ends, off, level

    def predict(self, first: Tensor, actions: Tensor | None, steps: int) -> Tensor:
        made = torch.full((len(first), steps, 3), -1.0)
        made[:, :, :2] = self.ends.unsqueeze(1)
        made[:, 1, 0] += self.off
        made[:, 1, 2] = self.level
        return made


@pytest.mark.parametrize(
    ("off", "level", "found"),
    [(0.0, 1.0, 1.0), (0.24, 1.0, 1.0), (0.26, 1.0, 0.0), (0.0, 0.51, 1.0), (0.0, 0.49, 0.0)],
)
def test_right_is_near_and_at_the_bottom(off: float, level: float, found: float) -> None:
    states, lengths, _ = data_of(RUN, 5)
    ends = states[torch.arange(len(states)), lengths - 1, :2]
    model = Lands(RUN, ends, off, level)
    assert right(model, states, lengths, None, RUN.levels) == found


def test_cut_falls_are_the_ends_of_falls() -> None:
    states, lengths, _ = data_of(RUN, 0)
    pieces, left = cut(states, lengths, RUN.horizon, torch.Generator().manual_seed(0))
    starts = lengths - left
    assert int(left.min()) >= 2
    assert set(starts.tolist()) == set(range(RUN.horizon))
    for fall, length, piece, n in zip(states, lengths.tolist(), pieces, left.tolist(), strict=True):
        assert torch.equal(piece[:n], fall[length - n : length])


@pytest.mark.parametrize("label", [*ONE_WAY, *BOTH_WAYS])
def test_every_method_has_a_gradient_for_all_that_it_trains(label: str) -> None:
    kinds = {**ONE_WAY, **BOTH_WAYS}
    run = replace(RUN, **kinds[label], both_ways=label in BOTH_WAYS)
    for done in (0.0, 0.9):
        model = Model(run)
        states, lengths, actions = data_of(run, 0)
        loss, calls, matched = loss_of(
            run, model, states, lengths, actions if run.told else None, done,
            torch.Generator().manual_seed(0),
        )  # fmt: skip
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
        assert 0 < matched <= calls


def test_it_learns_and_tells_adaptive_from_fixed() -> None:
    logged: list[tuple[int, dict[str, Any]]] = []
    record = train(RUN, None, lambda step, values: logged.append((step, values)))
    assert record["right"][-1] > 0.9
    assert record["updates"] == [200, 400] == [step for step, _ in logged]
    assert record["evaluations"] == sorted(record["evaluations"])
    again = train(RUN, None, lambda step, values: None)
    assert {**again, "seconds": 0} == {**record, "seconds": 0}
    fixed = train(replace(RUN, method="fixed", horizon=1), None, lambda step, values: None)
    assert fixed["right"][-1] < 0.5
    assert fixed["evaluations"][-1] > 2 * record["evaluations"][-1]


def test_fixed_steps_alone_begin_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[int]] = {}

    def spy(run: Run, model: Model, states: Tensor, *more: Any) -> tuple[Tensor, int, int]:
        seen.setdefault(run.method, set()).update(states[:, 0, 2].tolist())
        return loss_of(run, model, states, *more)

    monkeypatch.setattr(_asi_pits_training, "loss_of", spy)
    for kind in ({"method": "asi"}, {"method": "aligned"}, {"method": "fixed", "horizon": 8}):
        train(replace(RUN, **kind, epochs=1, looks=1), None, lambda step, values: None)
    assert seen == {"asi": {-1.0}, "aligned": {-1.0}, "fixed": {-1.0, 0.0, 1.0} & seen["fixed"]}
    assert len(seen["fixed"]) > 1


def test_a_loss_that_is_not_finite_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = (torch.tensor(float("nan"), requires_grad=True), 1, 1)
    monkeypatch.setattr(_asi_pits_training, "loss_of", lambda *_: lost)
    record = train(RUN, None, lambda step, values: None)
    assert record["diverged"] == "The loss of update 0 is nan."
    assert "0 of 1" in study.table([Cell(_runs(Config(seeds=1))[0], record, {})])


def test_methods_stand_beside_those_of_their_size_alone() -> None:
    record = {"right": [0.5], "updates": [1], "evaluations": [2], "skip": [1.0], "seconds": 1.0}
    small, large = Config(seeds=1, epochs=2), Config(seeds=2, epochs=3)
    other = Config(seeds=1, epochs=3, horizon=9)
    runs = _runs(other) + _runs(small) + _runs(large) + _runs(other)
    cells = [
        Cell(run, {**record, "diverged": None}, {}) for run in runs
    ]  # fmt: skip
    found = compared(cells)
    assert list(found["pits"]) == list(ONE_WAY)
    assert list(found["pits, both ways"]) == list(BOTH_WAYS)
    for groups in found.values():
        for same in groups.values():
            assert [(cell.run.seed, cell.run.epochs) for cell in same] == [(0, 3), (1, 3)]
            assert same[0].run.horizon != 9
    for wrong in ("seeds", "epochs", "looks"):
        with pytest.raises(InvalidInput, match=f"`{wrong}`"):
            _runs(replace(small, **{wrong: 0}))
