"""A run that is killed at any moment, thirty times, ends with the same numbers."""

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from didact.dynamics import fit_dynamics
from didact.hindsight import fit, predict

KILLS = 30
PRELOADED = [
    "didact.dynamics", "didact.hindsight", "matplotlib.figure", "onnxruntime", "onnxscript",
    "optuna", "pandas", "torch._dynamo", "torch.utils.tensorboard",
]  # fmt: skip


def _table(path: Path) -> Path:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(90, 3)), rng.normal(size=(90, 2))
    frame = pd.DataFrame({f"x{j}": x[:, j] for j in range(3)} | {f"z{j}": z[:, j] for j in (0, 1)})
    frame["site"] = np.where(x[:, 2] > 0, "north", "south")
    frame["y"] = x[:, 0] + z[:, 0]
    frame.to_csv(path, index=False)
    return path


def _fit(data: Path, out: Path) -> None:
    fit(
        data, label="y", privileged=["z*"], trials=2, seeds=1, epochs=4, jobs=1, out=out,
        command="didact fit",
    )  # fmt: skip


def _dynamics(data: Path, out: Path) -> None:
    fit_dynamics(
        data, horizon=2, trials=2, seeds=2, epochs=2, jobs=1, out=out,
        command="didact fit-dynamics",
    )  # fmt: skip


def _die(run: Callable[[Path, Path], object], data: Path, out: Path, events: int) -> None:
    """Run in this process, which is killed before so many a file event.

    Events, and no times: how fast the machine is does not matter.
    """
    left = events

    def count(event: str, given: tuple[Any, ...]) -> None:
        nonlocal left
        if event in ("open", "os.rename", "os.mkdir", "os.remove") and str(given[0]).startswith(
            str(out)
        ):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    with open(os.devnull, "w") as null:
        sys.stderr = sys.stdout = null
        sys.addaudithook(count)
        run(data, out)


def _killed(run: Callable[[Path, Path], object], data: Path, out: Path, events: int) -> bool:
    """Whether a run in another process was killed; the process comes from a server, and fast."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    process = server.Process(target=_die, args=(run, data, out, events))
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


def test_thirty_kills_change_nothing(tmp_path: Path) -> None:
    data = _table(tmp_path / "table.csv")
    _fit(data, tmp_path / "whole")
    draw = random.Random(0)
    out = tmp_path / "killed"
    kills, seen = 0, set()
    for most in (70, 100):  # among the training runs, and up to the last file
        for _ in range(KILLS // 2):
            kills += _killed(_fit, data, out, draw.randint(1, most))
            seen.add(len(list(out.glob("state/cells/*.json"))))
    assert kills >= KILLS // 2
    assert len(seen) > 8  # not always the same moment
    _fit(data, tmp_path / "killed")
    for name in ("metrics.json", "report.html", "schema.json"):
        one, two = ((tmp_path / run / name).read_bytes() for run in ("whole", "killed"))
        assert one == two, name
    for run in ("whole", "killed"):
        assert predict(tmp_path / run, data, tmp_path / f"{run}.csv") == 90
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "killed.csv").read_bytes()
    hidden = [p for p in (tmp_path / "killed").rglob(".*.tmp") if p.parent.name == "cells"]
    assert not hidden


def test_kills_of_dynamics_change_nothing(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).normal(size=(15, 6, 2)).cumsum(1)
    np.savez(tmp_path / "walks.npz", frames=frames)

    data, out = tmp_path / "walks.npz", tmp_path / "killed"
    _dynamics(data, tmp_path / "whole")
    draw = random.Random(0)
    kills = sum(
        _killed(_dynamics, data, out, draw.randint(1, most)) for most in (30, 90) for _ in range(6)
    )
    assert kills >= 8
    _dynamics(data, out)
    for name in ("metrics.json", "report.html"):
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "killed"))
        assert one == two, name
