"""The written table is the simulated one, in full or not at all."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from didact import DidactError, InvalidInput
from didact.tasks import (
    MissingExtra,
    as_table,
    funnel_board,
    load_trajectories,
    mujoco_rollouts,
    room_runner,
    simulate,
)


def read_csv(path: Path) -> pd.DataFrame:
    # By Python's own float: what pandas' parser makes of the last bit depends on its version.
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return pd.DataFrame([[float(cell) for cell in row] for row in rows], columns=header)


@pytest.mark.parametrize(("name", "read"), [("a.csv", read_csv), ("b.parquet", pd.read_parquet)])
def test_numbers_come_back_bit_for_bit(
    tmp_path: Path, name: str, read: Callable[[Path], pd.DataFrame]
) -> None:
    out = tmp_path / "new" / "folder" / name
    seen: list[tuple[int, int]] = []
    written = simulate(
        "hopper", str(out), rollouts=5, seed=2, progress=lambda *news: seen.append(news)
    )
    assert written == out
    pd.testing.assert_frame_equal(
        read(out), as_table(mujoco_rollouts("Hopper", 5, seed=2)), check_exact=True
    )
    assert seen == [(5, 5)]
    assert [path.name for path in out.parent.iterdir()] == [name]


@pytest.mark.parametrize(
    ("task", "columns"),
    [("walker2d", 402), ("swimmer", 185), ("halfcheetah", 402)],
)
def test_every_task_has_a_name(tmp_path: Path, task: str, columns: int) -> None:
    table = pd.read_parquet(simulate(task, tmp_path / "t.parquet", rollouts=1, seed=0))
    assert table.shape == (1, columns)


@pytest.mark.parametrize(
    ("task", "world"), [("room-runner", room_runner), ("funnel-board", funnel_board)]
)
@pytest.mark.parametrize("perturbed", [False, True])
def test_films_come_back_as_they_were(
    tmp_path: Path, task: str, world: Callable[..., Any], perturbed: bool
) -> None:
    seen: list[tuple[int, int]] = []
    out = simulate(
        task, tmp_path / "new" / "a.npz", rollouts=2, seed=3, perturbed=perturbed,
        progress=lambda *news: seen.append(news),
    )  # fmt: skip
    expected = world(2, seed=3, perturbed=perturbed)
    for found, tensor in zip(load_trajectories(out), expected, strict=True):
        assert torch.equal(found, tensor)
    assert seen == [(2, 2)]
    assert [path.name for path in out.parent.iterdir()] == ["a.npz"]
    assert out.stat().st_size < expected.frames.numel() / 20


def test_films_and_tables_are_not_mixed_up(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"`out` should be a file that ends in \.npz"):
        simulate("room-runner", tmp_path / "a.csv", rollouts=1, seed=0)
    with pytest.raises(InvalidInput, match="`rollouts` should be a positive integer"):
        simulate("room-runner", tmp_path / "a.npz", rollouts=0, seed=0)
    with pytest.raises(InvalidInput, match="`perturbed` should be False: hopper has one kind"):
        simulate("hopper", tmp_path / "a.csv", rollouts=1, seed=0, perturbed=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["a.json", "a", "a.csv.gz", ".parquet"])
def test_other_extensions_are_refused_before_any_work(tmp_path: Path, out: str) -> None:
    with pytest.raises(InvalidInput, match=r"`out` should be a file that ends in \.csv or"):
        simulate("hopper", tmp_path / "new" / out, rollouts=10**9, seed=0)
    assert not (tmp_path / "new").exists()


def test_an_unknown_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="`task` should be one of 'hopper', 'walker2d'"):
        simulate("Hopper", tmp_path / "a.csv", rollouts=1, seed=0)


def test_a_folder_that_cannot_be_written_costs_no_simulation(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DidactError, match=r"Cannot write `.*file/a\.csv`: "):
        simulate("hopper", tmp_path / "file" / "a.csv", rollouts=10**9, seed=0)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_a_stop_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    out = tmp_path / "a.csv"
    out.write_text("old")

    def interrupt(done: int, total: int) -> None:
        raise stop

    with pytest.raises(stop):
        simulate("swimmer", out, rollouts=2, seed=0, progress=interrupt)
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_disk_that_fills_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(DidactError, match=r"Cannot write `.*a\.csv`: No space left on device"):
        simulate("swimmer", tmp_path / "a.csv", rollouts=1, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_a_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf'`{package}`: pip install "didact\[mujoco\]"'):
        simulate("swimmer", tmp_path / "a.parquet", rollouts=10**9, seed=0)
