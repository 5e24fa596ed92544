"""Cells run once, in any number of processes, and failures are named."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact import DidactError, Diverged, InvalidInput
from didact.runs import CellFailed, FolderBusy, key, locked, run_cells

Config = dict[str, Any]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
CONFIGS = st.dictionaries(st.text(), VALUES, max_size=5)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reversed_keys(value[name]) for name in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


def square(config: Config, folder: Path) -> Config:
    return {"y": config["x"] ** 2, "third": config["x"] / 3}


@given(config=CONFIGS)
def test_the_key_does_not_see_the_order_of_keys(config: Config) -> None:
    assert key(reversed_keys(config)) == key(config)


@given(first=CONFIGS, second=CONFIGS)
def test_two_configs_share_a_key_only_if_they_are_one(first: Config, second: Config) -> None:
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (key(first) == key(second)) is same


def test_the_key_is_what_it_was_yesterday() -> None:
    # A changed rule would orphan every stored cell.
    assert key({"b": "x", "a": (1, 2.0)}) == hashlib.sha256(b'{"a":[1,2.0],"b":"x"}').hexdigest()


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ([1], "config"),
        ({"a": math.nan}, r"config\.a"),
        ({"a": [1, {2}]}, r"config\.a\[1\]"),
        ({1: 2}, "config"),
    ],
)
def test_a_config_that_is_not_json_is_refused(config: Any, where: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"Parameter `{where}` should be"):
        key(config)
    with pytest.raises(InvalidInput, match=f"Parameter `{where}` should be"):
        run_cells(square, [config], tmp_path / "cells")
    assert not (tmp_path / "cells").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_records_come_in_order_and_each_cell_runs_once(tmp_path: Path, jobs: int) -> None:
    def cell(config: Config, folder: Path) -> Config:
        with open(folder.parent.parent / f"calls-{config['x']}", "a") as file:
            file.write("|")
        return {"y": config["x"] ** 2, "third": config["x"] / 3}

    xs = [5, 1, 4, 1, 5, 2]
    seen: list[tuple[int, int, Any, bool]] = []
    records = run_cells(
        cell,
        [{"x": x} for x in xs],
        tmp_path / "cells",
        jobs=jobs,
        progress=lambda *news: seen.append(news),
    )
    assert records == [{"y": x * x, "third": x / 3} for x in xs]
    assert [news[:2] for news in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(news[2]["y"] for news in seen) == [1, 4, 16, 25]
    assert not any(news[3] for news in seen)
    again = run_cells(cell, [{"x": x} for x in [2, 7]], tmp_path / "cells", jobs=jobs)
    assert again == [{"y": 4, "third": 2 / 3}, {"y": 49, "third": 7 / 3}]
    calls = {file.name: file.read_text() for file in tmp_path.glob("calls-*")}
    assert calls == {f"calls-{x}": "|" for x in (1, 2, 4, 5, 7)}


def test_two_processes_give_what_one_gives_bit_for_bit(tmp_path: Path) -> None:
    def noise(config: Config, folder: Path) -> Config:
        import random

        import torch

        generator = torch.Generator().manual_seed(config["seed"])
        matrix = torch.randn(40, 40, generator=generator)
        (folder / "matrix.txt").write_text(str(matrix.tolist()))
        return {"det": float(matrix.det()), "draw": random.Random(config["seed"]).random()}

    configs = [{"seed": seed} for seed in range(5)]
    here = run_cells(noise, configs, tmp_path / "one", jobs=1)
    there = run_cells(noise, configs, tmp_path / "two", jobs=2)
    assert here == there
    files = [
        {
            path.relative_to(root): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.name != ".lock"
        }
        for root in (tmp_path / "one", tmp_path / "two")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 10


def test_workers_are_other_processes_with_one_torch_thread(tmp_path: Path) -> None:
    def where(config: Config, folder: Path) -> Config:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(3)  # the next cell of this worker must not inherit it
        return {"pid": os.getpid(), "threads": threads, "omp": os.environ["OMP_NUM_THREADS"]}

    before = os.environ.get("OMP_NUM_THREADS")
    records = run_cells(where, [{"x": x} for x in range(5)], tmp_path, jobs=2)
    assert os.getpid() not in {record["pid"] for record in records}
    assert {(record["threads"], record["omp"]) for record in records} == {(1, "1")}
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_a_stored_cell_is_reported_first_and_as_cached(tmp_path: Path) -> None:
    run_cells(square, [{"x": 3}], tmp_path / "cells")
    seen: list[tuple[Any, bool]] = []
    run_cells(
        square,
        [{"x": 2}, {"x": 3}],
        tmp_path / "cells",
        progress=lambda done, total, record, cached: seen.append((record["y"], cached)),
    )
    assert seen == [(9, True), (4, False)]


def test_the_stored_file_is_the_config_and_the_record(tmp_path: Path) -> None:
    def greedy(config: Config, folder: Path) -> Config:
        config["x"] = "changed"
        return {"pair": (1, 2)}

    assert run_cells(greedy, [{"x": 1}], tmp_path) == [{"pair": [1, 2]}]
    stored = json.loads((tmp_path / f"{key({'x': 1})}.json").read_text())
    assert stored == {"config": {"x": 1}, "record": {"pair": [1, 2]}}


def test_records_do_not_share_memory(tmp_path: Path) -> None:
    first, second = run_cells(square, [{"x": 1}, {"x": 1}], tmp_path / "cells")
    first["y"] = "mine"
    assert second["y"] == 1


def test_the_cells_own_folder(tmp_path: Path) -> None:
    def artist(config: Config, folder: Path) -> Config:
        found = sorted(path.name for path in folder.iterdir())
        if config["keep"]:
            (folder / "picture.txt").write_text("art")
        return {"found": found}

    kept, empty = {"keep": True}, {"keep": False}
    half = tmp_path / key(kept)
    (half / "sub").mkdir(parents=True)
    (half / "sub" / "half-written").write_text("a killed attempt")
    assert run_cells(artist, [kept, empty], tmp_path) == [{"found": []}, {"found": []}]
    assert [path.name for path in half.iterdir()] == ["picture.txt"]
    assert not (tmp_path / key(empty)).exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cell_that_raises_is_named_by_its_config(tmp_path: Path, jobs: int) -> None:
    def picky(config: Config, folder: Path) -> Config:
        if config["x"] == 2:
            raise ValueError("two is too many")
        return {"y": 1}

    with pytest.raises(CellFailed) as caught:
        run_cells(picky, [{"x": 1}, {"x": 2}, {"x": 3}], tmp_path, jobs=jobs)
    assert str(caught.value) == "The cell {'x': 2} failed: ValueError: two is too many"
    assert not (tmp_path / f"{key({'x': 2})}.json").exists()
    if jobs == 1:
        assert (tmp_path / f"{key({'x': 1})}.json").exists()
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_didact_keeps_its_type_and_text(tmp_path: Path, jobs: int) -> None:
    def diverging(config: Config, folder: Path) -> Config:
        raise Diverged("Step 3: the loss is nan.")

    with pytest.raises(Diverged) as caught:
        run_cells(diverging, [{"x": 1}, {"x": 1.5}], tmp_path, jobs=jobs)
    assert str(caught.value) == "Step 3: the loss is nan."
    assert any("{'x': 1" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("record", "where"),
    [({"a": {"b": math.nan}}, r"record\.a\.b"), ([1], "record"), ({"p": Path()}, r"record\.p")],
)
def test_a_record_that_is_not_json_is_refused(tmp_path: Path, record: Any, where: str) -> None:
    with pytest.raises(InvalidInput, match=f"Parameter `{where}` should be"):
        run_cells(lambda config, folder: record, [{"x": 1}], tmp_path)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_and_what_is_done_stays(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    def interrupted(config: Config, folder: Path) -> Config:
        if config["x"] == 2:
            raise stop
        return {"y": 1}

    with pytest.raises(stop):
        run_cells(interrupted, [{"x": 1}, {"x": 2}, {"x": 3}], tmp_path)
    assert [path.stem for path in tmp_path.glob("*.json")] == [key({"x": 1})]


def test_an_error_in_the_callback_ends_the_workers_quietly(tmp_path: Path) -> None:
    def slow(config: Config, folder: Path) -> Config:
        import time

        time.sleep(0.2 if config["x"] == 0 else 30)
        return {}

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells(slow, [{"x": x} for x in range(4)], tmp_path, jobs=2, progress=stop)
    assert [path.stem for path in tmp_path.glob("*.json")] == [key({"x": 0})]


def test_a_worker_that_is_killed_is_reported(tmp_path: Path) -> None:
    def killed(config: Config, folder: Path) -> Config:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(DidactError, match="A worker process was killed, perhaps for memory"):
        run_cells(killed, [{"x": 1}, {"x": 2}], tmp_path, jobs=2)


def edit_text(path: Path) -> None:
    path.write_text('{"config"')


def edit_config(path: Path) -> None:
    path.write_text('{"config": {"x": 2}, "record": {}}')


def edit_record(path: Path) -> None:
    path.write_text('{"config": {"x": 1}, "record": 3}')


def edit_shape(path: Path) -> None:
    path.write_text("[]")


@pytest.mark.parametrize("edit", [edit_text, edit_config, edit_record, edit_shape])
def test_an_edited_file_is_named(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    run_cells(square, [{"x": 1}], tmp_path / "cells")
    path = tmp_path / "cells" / f"{key({'x': 1})}.json"
    edit(path)
    with pytest.raises(InvalidInput, match=str(path)):
        run_cells(square, [{"x": 1}], tmp_path / "cells")


def test_a_held_folder_and_wrong_jobs_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(FolderBusy):
        run_cells(square, [{"x": 1}], tmp_path)
    with pytest.raises(InvalidInput, match=r"`jobs` should be a positive integer. Found 0"):
        run_cells(square, [{"x": 1}], tmp_path, jobs=0)


def test_leftovers_of_killed_writers_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".abc.json.1-2.tmp").write_text("half")
    (tmp_path / "mine.tmp").write_text("kept")
    assert run_cells(square, [], tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "mine.tmp"]


def test_the_global_random_state_is_not_touched(tmp_path: Path) -> None:
    random.seed(1)
    before = random.getstate()
    run_cells(square, [{"x": 1}], tmp_path / "cells")
    assert random.getstate() == before
