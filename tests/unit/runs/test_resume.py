"""A run that is killed without warning goes on where it was, and leaves nobody behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from didact.runs import FolderBusy, read_json, run_cells

# Cell x takes its time; its calls are counted outside the cells' folder.
SCRIPT = """
import os, sys, time
from pathlib import Path
from didact.runs import run_cells, write_json

def cell(config, folder):
    log = folder.parent.parent / "log"
    (folder / "artifact").write_text("started")
    with open(log, "a") as file:
        file.write(f"{config['x']} {os.getpid()}\\n")
    pause = folder.parent.parent / "pause"
    while config["x"] >= 3 and pause.exists():
        time.sleep(0.01)
    return {"third": config["x"] / 3}

root = Path(sys.argv[1])
records = run_cells(cell, [{"x": x} for x in range(6)], root / "cells", jobs=int(sys.argv[2]))
write_json(root / "records.json", records)
"""
EXPECTED = [{"third": x / 3} for x in range(6)]


def start(root: Path, jobs: int) -> subprocess.Popen[bytes]:
    (root / "script.py").write_text(SCRIPT)
    return subprocess.Popen([sys.executable, root / "script.py", root, str(jobs)])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def log(root: Path) -> list[tuple[int, int]]:
    if not (root / "log").exists():
        return []
    return [(int(a), int(b)) for a, b in map(str.split, (root / "log").read_text().splitlines())]


def stored(root: Path) -> set[int]:
    return {read_json(path)["config"]["x"] for path in (root / "cells").glob("*.json")}


def gone(pid: int) -> bool:
    # An orphan is reaped by process 1, which in a container may not do it: a zombie is gone too.
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


@pytest.mark.parametrize("jobs", [1, 2])
def test_kill_nine_then_again(tmp_path: Path, jobs: int) -> None:
    (tmp_path / "pause").touch()
    with start(tmp_path, jobs) as run:
        wait_for(lambda: stored(tmp_path) == {0, 1, 2} and len(log(tmp_path)) == 3 + jobs)
        with pytest.raises(FolderBusy):
            run_cells(lambda config, folder: {}, [], tmp_path / "cells")
        run.kill()
    workers = {pid for _, pid in log(tmp_path)}
    wait_for(lambda: all(gone(pid) for pid in workers))
    assert stored(tmp_path) == {0, 1, 2}
    (tmp_path / "pause").unlink()
    (tmp_path / "log").unlink()

    with start(tmp_path, jobs) as again:
        assert again.wait(300) == 0
    assert sorted(x for x, _ in log(tmp_path)) == [3, 4, 5]
    assert read_json(tmp_path / "records.json") == EXPECTED
    files = {path.name for path in (tmp_path / "cells").rglob("*") if path.is_file()}
    assert not any(name.endswith(".tmp") for name in files)


def test_of_two_processes_on_one_folder_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "pause").touch()
    with start(tmp_path, 1) as run:
        wait_for(lambda: stored(tmp_path) == {0, 1, 2})
        second = subprocess.run(
            [sys.executable, tmp_path / "script.py", tmp_path, "1"], capture_output=True, text=True
        )
        assert second.returncode == 1
        assert f"The folder `{tmp_path / 'cells'}` is in use by another run" in second.stderr
        (tmp_path / "pause").unlink()
        assert run.wait(300) == 0
    assert [x for x, _ in log(tmp_path)] == [0, 1, 2, 3, 4, 5]
    assert read_json(tmp_path / "records.json") == EXPECTED
