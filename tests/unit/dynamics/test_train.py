"""One training run: what it asks the loss for, what it keeps, what it does not see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from didact.dynamics import _cell, _fit, _train, fit_dynamics
from didact.dynamics._cell import run_cell, save_parts
from didact.dynamics._fit import split
from didact.dynamics._recordings import read_recordings
from didact.dynamics._train import START, Steps, train
from didact.skips import linear, reciprocal, skip_loss

SETTINGS = {"learning_rate": 1e-3, "exploration": 0.5, "teacher_forcing": 0.25}


def _falling(count: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    speed = torch.rand(count, 1, 1, generator=generator) + 0.5
    frames = speed * torch.arange(8.0)[None, :, None] ** torch.tensor([1.0, 0.5])
    return frames, torch.randint(4, 9, (count,), generator=generator)


def _trained(steps: Steps, judged: Any = lambda model: 1.0, seed: int = 0) -> Any:
    return train(
        steps, SETTINGS, _falling(), judged, epochs=3, context=1, seed=seed,
        device=torch.device("cpu"),
    )  # fmt: skip


@pytest.mark.parametrize("steps", [Steps(1, 4), Steps(2, 2)])
def test_the_loss_is_told_steps_and_schedules(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def spy(model: nn.Module, frames: Tensor, lengths: Tensor, **given: Any) -> Any:
        asked.append(given)
        return skip_loss(model, frames, lengths, **given)

    monkeypatch.setattr(_train, "skip_loss", spy)
    _trained(steps)
    assert len(asked) == 6  # three epochs of 32 and 8
    for i, given in enumerate(asked):
        assert (given["shortest"], given["horizon"]) == (steps.shortest, steps.horizon)
        assert given["exploration"] == (0 if steps.fixed else linear(i, 3))
        assert given["teacher_forcing"] == reciprocal(i, 1.5)


def test_gradients_are_clipped_before_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.Adam.step

    def spy(adam: torch.optim.Adam, *given: Any) -> Any:
        grads = [p.grad.flatten() for group in adam.param_groups for p in group["params"]]
        norms.append(float(torch.cat(grads).norm()))
        return step(adam, *given)

    def steep(model: nn.Module) -> Any:
        return lambda prediction, target: 1e4 * (prediction - target).square()

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    monkeypatch.setattr(_train, "loss_of", steep)
    _trained(Steps(1, 3))
    assert norms == pytest.approx([1.0] * 6, rel=1e-3)


def test_kept_is_the_epoch_that_validation_liked_best() -> None:
    seen: list[dict[str, Tensor]] = []
    errors = [3.0, 1.0, 2.0]

    def judged(model: nn.Module) -> float:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return errors[len(seen) - 1]

    found = _trained(Steps(1, 3), judged)
    assert (found.value, found.curve) == (1.0, errors)
    state = found.model.state_dict()
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, seen[1][name], rtol=0, atol=0)
    assert any(not torch.equal(tensor, seen[2][name]) for name, tensor in state.items())


def test_a_seed_decides_everything() -> None:
    first, again, other = (
        torch.cat([p.flatten() for p in _trained(Steps(1, 3), seed=seed).model.parameters()])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("calls", [None, 5])
def test_a_cell_is_judged_at_the_calls_it_is_told(
    calls: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {name: _falling(12, k) for k, name in enumerate(("train", "validation", "test"))}
    save_parts(tmp_path / "parts.pt", parts)
    asked: list[Any] = []

    def spy(model: nn.Module, steps: Steps, frames: Tensor, *given: Any) -> float:
        assert torch.equal(frames, parts["validation"][0])
        asked.append(given[-1])
        return 1.0

    paces = np.arange(1, 101)
    monkeypatch.setattr(_cell, "value", spy)
    monkeypatch.setattr(_cell, "own_pace", lambda *given: (paces, paces))
    record = run_cell(
        {"candidate": "adaptive", "shortest": 1, "horizon": 3, "settings": START, "seed": 0,
         "final": True, "calls": calls, "context": 1, "epochs": 2},
        tmp_path / "own", data=str(tmp_path / "parts.pt"), logs=str(tmp_path / "logs"),
        device="cpu",
    )  # fmt: skip
    assert asked == [calls, calls]
    # 99 of 100 are through after 99.01 calls.
    assert record["budget"] == 100 + 1


def _cells(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(out.glob("state/cells/*.json"))]


def _save(path: Path, frames: Tensor, lengths: Tensor) -> None:
    np.savez(path, frames=frames.numpy(), lengths=lengths.numpy())


def test_test_trajectories_decide_nothing(tmp_path: Path) -> None:
    frames, lengths = _falling(15)
    _save(tmp_path / "a.npz", frames, lengths)
    test = split(read_recordings(tmp_path / "a.npz"))["test"]
    poisoned = frames.clone()
    for i in range(15):
        n = int(lengths[i])
        if any(torch.equal(frames[i, :n], x[:k]) for x, k in zip(*test, strict=True) if k == n):
            poisoned[i] = poisoned[i].flip(0) * -3
    assert not torch.equal(poisoned, frames)
    _save(tmp_path / "b.npz", poisoned, lengths)
    found = []
    for name in ("a", "b"):
        metrics = fit_dynamics(
            tmp_path / f"{name}.npz", horizon=2, trials=2, epochs=2, seeds=2, jobs=1,
            out=tmp_path / name,
        )  # fmt: skip
        chosen = {c: one["settings"] for c, one in metrics["candidates"].items()}
        said = (metrics["calls"], metrics["rival"], metrics["deployed"], chosen)
        cells = _cells(tmp_path / name)
        records = [cell["record"] for cell in cells]
        found.append((said, sorted((r["value"], r["budget"] or 0, r["curve"]) for r in records)))
        needed = [
            cell["record"]["budget"]
            for cell in cells
            if cell["config"]["final"] and cell["config"]["candidate"] == "adaptive"
        ]
        assert len(needed) == 2
        assert metrics["calls"] == min(int(np.median(needed)), int(lengths.max()) - 1)
    assert found[0] == found[1]
    ends = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("a", "b")]
    assert ends[0]["candidates"] != ends[1]["candidates"]


def test_pieces_of_one_recording_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": np.cumsum(rng.normal(size=62)), "t": np.arange(62) % 7.0})
    table.to_csv(tmp_path / "a.csv", index=False)
    parts = split(read_recordings(tmp_path / "a.csv", length=4))
    assert [len(lengths) for _, lengths in parts.values()] == [9, 3, 3]
    whole = torch.cat([frames.flatten(0, 1) for frames, _ in parts.values()])
    np.testing.assert_allclose(whole[:, 0].numpy(), table["x"].to_numpy()[:60], rtol=1e-6)
    asked = []
    plain = _fit.judge

    def spy(*given: Any, ordered: bool, **named: Any) -> Any:
        asked.append(ordered)
        return plain(*given, ordered=ordered, **named)

    monkeypatch.setattr(_fit, "judge", spy)
    metrics = fit_dynamics(
        tmp_path / "a.csv", horizon=2, length=4, epochs=1, quick=True, seeds=1, jobs=1,
        out=tmp_path / "out",
    )  # fmt: skip
    assert asked == [True]
    assert any("last 2 rows" in said for said in metrics["data"]["warnings"])
    assert "4 rows on end" in (tmp_path / "out" / "report.html").read_text()
