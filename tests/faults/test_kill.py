"""A run that is killed at any moment, thirty times, ends with the same numbers."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from didact.hindsight import fit, predict

KILLS = 30


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


def _child(data: Path, out: Path) -> int:
    """A process that fits and ends; it is a copy of this one, so that it starts at once."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with open(os.devnull, "w") as null:
            sys.stderr = sys.stdout = null
            _fit(data, out)
        status = 0
    finally:
        os._exit(status)


def _ended(pid: int, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
    """Wait for so long, or until something is so; whether the process ended by itself."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.002)
    return False


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_thirty_kills_change_nothing(tmp_path: Path) -> None:
    data = _table(tmp_path / "table.csv")
    started = time.monotonic()
    _fit(data, tmp_path / "whole")
    whole = time.monotonic() - started
    draw = random.Random(0)
    out = tmp_path / "killed"
    cells = len(list((tmp_path / "whole").glob("state/cells/*.json")))
    kills, seen = 0, set()

    def done() -> int:
        return len(list(out.glob("state/cells/*.json")))

    for _ in range(KILLS):
        pid = _child(data, out)
        # Among the training runs a little after some more of them; then anywhere up to the last
        # file. How fast the machine is does not matter.
        goal = done() + draw.randint(0, 3)
        if goal < cells:
            gone = _ended(pid, 60, lambda goal=goal: done() >= goal)
            gone = gone or _ended(pid, draw.uniform(0, 0.3))
        else:
            gone = _ended(pid, draw.uniform(0.1, 0.6 * whole))
        if gone:
            continue
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills += 1
        seen.add(done())
    assert kills >= KILLS // 2
    assert len(seen) > 5  # not always the same moment
    _fit(data, tmp_path / "killed")
    for name in ("metrics.json", "report.html", "schema.json"):
        one, two = ((tmp_path / run / name).read_bytes() for run in ("whole", "killed"))
        assert one == two, name
    for run in ("whole", "killed"):
        assert predict(tmp_path / run, data, tmp_path / f"{run}.csv") == 90
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "killed.csv").read_bytes()
    hidden = [p for p in (tmp_path / "killed").rglob(".*.tmp") if p.parent.name == "cells"]
    assert not hidden
