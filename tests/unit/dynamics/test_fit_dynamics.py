"""The command, from a file to a report and a model."""

import json
import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from didact import DidactError, InvalidInput
from didact._checks import Diverged
from didact.cli import main
from didact.dynamics import _cell, _fit, dynamics_report, fit_dynamics
from didact.dynamics._fit import split
from didact.dynamics._recordings import read_recordings
from didact.dynamics._train import Steps
from didact.export import load_pt2
from didact.runs import FolderBusy, locked


def _falls(path: Path, pictures: bool = False, unit: int = 1) -> None:
    """Something falls, and rests; how fast differs."""
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for i in range(15):
        speed, n = rng.uniform(0.5, 1.5), rng.integers(6, 9)
        height = np.maximum(0, 4 - speed * np.arange(n))
        made[f"{i:02}"] = np.stack([height, np.full(n, speed)], 1)
        if pictures:
            films = unit * np.eye(5)[height.astype(int)][:, None, :, None]
            made[f"{i:02}"] = films.astype(np.uint8 if unit > 1 else float)
    np.savez(path, **made)


def test_from_states_to_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "falls.npz", tmp_path / "out"
    _falls(data)
    command = ["fit-dynamics", str(data), "--horizon", "3", "--epochs", "3", "--seeds", "2",
               "--trials", "2", "--jobs", "1", "--out", str(out)]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["verdict"]["sentence"] in said
    assert set(metrics["candidates"]) == {"adaptive", "every 1", "every 2", "every 3"}
    assert metrics["data"]["trajectories"] == {"train": 9, "validation": 3, "test": 3}
    page = (out / "report.html").read_text()
    assert page == dynamics_report(metrics)
    assert metrics["verdict"]["kind"] == "few"  # three test trajectories
    assert "No verdict, for which 10 test trajectories" in page
    first = torch.rand(5, 2)
    step, about = load_pt2(out / "step.pt2")
    assert about["columns"] == ["x0", "x1"]
    deployed = metrics["deployed"]
    assert about["candidate"] == deployed["candidate"]
    name = deployed["candidate"]
    steps = (1, 3) if name == "adaptive" else 2 * (int(name.split()[1]),)
    assert (about["shortest"], about["horizon"]) == steps
    assert (about["seed"], about["calls"]) == (deployed["seed"], metrics["calls"])
    assert deployed["rollout_onnx"] is True
    assert "rollout.onnx" in page
    rolled, _ = load_pt2(out / "rollout.pt2")
    x, frames = first, []
    for _ in range(metrics["calls"]):
        x = step(x)
        frames.append(x)
    torch.testing.assert_close(rolled(first), torch.stack(frames, 1))
    for name, wanted in (("step", frames[0]), ("rollout", torch.stack(frames, 1))):
        (found,) = onnxruntime.InferenceSession(out / f"{name}.onnx").run(
            None, {"x": first.numpy()}
        )
        torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-4, rtol=1e-4)
    for file in (
        out / f"{name}.{kind}" for name in ("step", "rollout") for kind in ("onnx", "pt2")
    ):
        inside = file.read_bytes()
        if file.suffix == ".pt2":
            with ZipFile(file) as archive:
                inside = b"".join(map(archive.read, archive.namelist()))
        assert b"_models.py" not in inside  # where the code of who trained it lies
    # A killed command goes on, and ends with the same numbers.
    before = (out / "metrics.json").read_bytes()
    (out / "metrics.json").unlink()
    cells = sorted((out / "state" / "cells").glob("*.json"))
    assert len(cells) == 4 * (2 + 2)
    for cell in cells[::3]:
        cell.unlink()
        shutil.rmtree(cell.with_suffix(""), ignore_errors=True)
    assert main(command) == 0
    assert (out / "metrics.json").read_bytes() == before
    command[3] = "2"
    assert main(command) == 2
    assert "another fit" in capsys.readouterr().err
    assert any((out / "tensorboard" / "adaptive").rglob("events*"))


@pytest.mark.parametrize("unit", [1, 255])
def test_pictures_and_context(unit: int, tmp_path: Path) -> None:
    _falls(tmp_path / "falls.npz", pictures=True, unit=unit)
    metrics = fit_dynamics(
        tmp_path / "falls.npz", horizon=2, context=2, calls=3, quick=True, epochs=1, seeds=1,
        jobs=1, out=tmp_path / "out",
    )  # fmt: skip
    assert metrics["verdict"]["sentence"].startswith("Demonstration.")
    assert metrics["calls"] == 3
    step, about = load_pt2(tmp_path / "out" / "step.pt2")
    assert about["frame"] == [1, 5, 1]
    assert about["unit"] == unit
    x = unit * torch.rand(3, 2, 1, 5, 1)
    after = step(x)
    assert after.shape == (3, 1, 5, 1)
    assert 0 < float(after.min()) < 0.5 * unit < float(2 * after.max()) < 2 * unit
    rolled, _ = load_pt2(tmp_path / "out" / "rollout.pt2")
    frames = list(x.unbind(1))
    for _ in range(3):
        frames.append(step(torch.stack(frames[-2:], 1)))
    torch.testing.assert_close(rolled(x), torch.stack(frames[2:], 1))
    (found,) = onnxruntime.InferenceSession(tmp_path / "out" / "rollout.onnx").run(
        None, {"x": x.numpy()}
    )
    torch.testing.assert_close(torch.from_numpy(found), rolled(x), atol=1e-4, rtol=1e-4)
    assert set(metrics["example"]["pictures"]) == {"adaptive", metrics["rival"]}


def test_what_diverges_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _falls(tmp_path / "falls.npz")
    plain = _cell.train

    def train(steps: Steps, *given: Any, **named: Any) -> Any:
        if steps.horizon == steps.shortest == 2:
            raise Diverged("The loss of update 0 is nan.")
        return plain(steps, *given, **named)

    monkeypatch.setattr(_cell, "train", train)
    metrics = fit_dynamics(
        tmp_path / "falls.npz", horizon=3, trials=2, epochs=1, seeds=1, jobs=1,
        out=tmp_path / "out",
    )  # fmt: skip
    assert set(metrics["candidates"]) == {"adaptive", "every 1", "every 3"}
    assert any("every trial of `every 2` diverged" in said for said in metrics["data"]["warnings"])
    monkeypatch.setattr(_cell, "train", lambda *given, **named: train(Steps(2, 2)))
    with pytest.raises(DidactError, match="Nothing could be trained"):
        fit_dynamics(
            tmp_path / "falls.npz", horizon=3, epochs=2, quick=True, seeds=1, jobs=1,
            out=tmp_path / "other",
        )  # fmt: skip


def test_a_rollout_that_rounding_carries_away_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _falls(tmp_path / "falls.npz")
    plain = _fit.save_tensor_onnx

    def save(model: Any, x: torch.Tensor, path: Path) -> None:
        plain(model, x, path)
        if path.name == "rollout.onnx":
            raise DidactError("onnxruntime and PyTorch disagree.")

    monkeypatch.setattr(_fit, "save_tensor_onnx", save)
    out = tmp_path / "out"
    command = ["fit-dynamics", str(tmp_path / "falls.npz"), "--horizon", "2", "--epochs", "1",
               "--seeds", "1", "--quick", "--jobs", "1", "--out", str(out)]  # fmt: skip
    assert main(command) == 0
    assert "rollout.onnx" not in capsys.readouterr().out
    assert not (out / "rollout.onnx").exists()
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["deployed"]["rollout_onnx"] is False
    assert any("There is no rollout.onnx" in said for said in metrics["data"]["warnings"])
    page = (out / "report.html").read_text()
    assert "/step.onnx" in page
    assert "/rollout.onnx" not in page


def test_a_csv_by_its_columns(tmp_path: Path) -> None:
    _falls(tmp_path / "falls.npz")
    with np.load(tmp_path / "falls.npz") as arrays:
        rows = [[name, *row] for name in arrays for row in arrays[name]]
    table = pd.DataFrame(rows, columns=["run", "height", "speed"])
    table.to_csv(tmp_path / "falls.csv", index=False)
    metrics = fit_dynamics(
        tmp_path / "falls.csv", horizon=2, group="run", quick=True, epochs=1, seeds=1, jobs=1,
        out=tmp_path / "out",
    )  # fmt: skip
    assert metrics["data"]["columns"] == ["height", "speed"]


def test_what_is_learnt_is_where_it_goes(tmp_path: Path) -> None:
    """Everything ends at 0: with a few epochs that is known."""
    _falls(tmp_path / "falls.npz")
    metrics = fit_dynamics(
        tmp_path / "falls.npz", horizon=4, quick=True, epochs=60, seeds=1, jobs=1,
        out=tmp_path / "out",
    )  # fmt: skip
    of = metrics["candidates"]["adaptive"]
    assert of["own"]["end"] < 0.1
    assert of["curves"][0][0] > 2 * min(of["curves"][0])
    assert sum(of["skips"]) == pytest.approx(3 * of["own"]["calls"])
    needed, ends = metrics["verdict"]["needed"], of["ends"]
    level = max(metrics["candidates"][name]["at_calls"] for name in needed)
    assert ends[needed["adaptive"] - 1] <= level
    assert all(end > level for end in ends[: needed["adaptive"] - 1])
    recorded = np.array(metrics["example"]["recorded"])
    shown = metrics["example"]["states"]["adaptive"]
    assert len(shown["at"]) == len(shown["made"])
    assert shown["at"][-1] == len(recorded) - 1
    assert np.abs(np.array(shown["made"][-1]) - recorded[-1]).max() < 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"horizon": 1}, "`horizon` should be an integer of at least 2"),
        ({"horizon": 9}, "`horizon` should be at most 7, the frames that the longest of"),
        ({"calls": 8}, "`calls` should be at most the frames .* to come, 7"),
        ({"calls": 0}, "`calls`"),
        ({"context": 6}, "`context` should be less than the shortest trajectory, 6"),
        ({"seeds": 0}, "`seeds`"),
        ({"epochs": 0}, "`epochs`"),
        ({"state": "x"}, "`state` should be a list"),
        ({"device": "gpu"}, "`device`"),
        ({"jobs": 0}, "`jobs`"),
    ],
)
def test_bad_input_is_said(given: dict[str, Any], says: str, tmp_path: Path) -> None:
    _falls(tmp_path / "falls.npz")
    with pytest.raises(InvalidInput, match=says):
        fit_dynamics(tmp_path / "falls.npz", **{"horizon": 2, "out": tmp_path / "out", **given})
    assert not (tmp_path / "out").exists()


def test_horizons_beyond_what_is_trained_on(tmp_path: Path) -> None:
    """Fixed steps must have frames to be trained on, and not of one long trajectory alone."""
    rng, path = np.random.default_rng(0), tmp_path / "a.npz"
    np.savez(path, **{f"{i}": rng.normal(size=(7 if i > 15 else 5, 2)) for i in range(20)})
    lengths = split(read_recordings(path))["train"][1]
    assert set(lengths.tolist()) == {5, 7}
    given: dict[str, Any] = {"quick": True, "epochs": 1, "seeds": 1, "jobs": 1}
    with pytest.raises(InvalidInput, match="`horizon` should be at most 6, the frames"):
        fit_dynamics(path, horizon=7, out=tmp_path / "none", **given)
    near = fit_dynamics(path, horizon=4, out=tmp_path / "near", **given)
    assert not any("lead to the end" in said for said in near["data"]["warnings"])
    far = fit_dynamics(path, horizon=6, out=tmp_path / "far", **given)
    said = f"{int((lengths == 5).sum())} of 12 training trajectories have less than 6 frames"
    assert far["data"]["warnings"][0].startswith(said)


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    _falls(tmp_path / "falls.npz")
    with locked(tmp_path / "out"), pytest.raises(FolderBusy):
        fit_dynamics(tmp_path / "falls.npz", horizon=2, out=tmp_path / "out", quick=True, jobs=1)


def test_trajectories_that_end_where_they_begin_are_refused(tmp_path: Path) -> None:
    loop = np.sin(np.linspace(0, 2 * np.pi, 9)[:, None] * [[1.0, 2.0]])
    loop[-1] = loop[0]
    np.savez(tmp_path / "loops.npz", **{f"{i}": loop for i in range(12)})
    with pytest.raises(InvalidInput, match="end elsewhere than they begin"):
        fit_dynamics(tmp_path / "loops.npz", horizon=2, out=tmp_path / "out")


def test_a_page_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidInput, match="complete"):
        dynamics_report({"format": "dynamics 2"})
