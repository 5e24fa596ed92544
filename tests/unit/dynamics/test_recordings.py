"""Recordings in every form that they come in."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from didact import InvalidInput
from didact.dynamics import read_recordings
from didact.dynamics._fit import split

RNG = np.random.default_rng(0)
PIECES = [RNG.normal(size=(n, 3)) for n in RNG.integers(4, 9, 12)]
LENGTHS = np.array([len(piece) for piece in PIECES])


def _padded() -> np.ndarray:
    found = np.full((12, 10, 3), 7.0)
    for row, piece in zip(found, PIECES, strict=True):
        row[: len(piece)] = piece
    return found


@pytest.mark.parametrize(
    "arrays",
    [
        {f"run {i}": piece for i, piece in enumerate(PIECES)},
        {"frames": _padded(), "lengths": LENGTHS},
        {"frames": np.concatenate(PIECES), "lengths": LENGTHS, "labels": LENGTHS},
    ],
    ids=["each its own", "padded", "one after the other"],
)
def test_an_npz_in_three_forms(arrays: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_recordings(tmp_path / "a.npz")
    assert found.columns == ("x0", "x1", "x2")
    left = ["Left out: `labels`."] if "labels" in arrays else []
    assert [one for one in found.warnings if "Left out: " in one] == left
    assert found.lengths.tolist() == LENGTHS.tolist()
    for i, piece in enumerate(PIECES):
        torch.testing.assert_close(found.frames[i, : len(piece)], torch.tensor(piece).float())
        assert not found.frames[i, len(piece) :].any()
    parts = split(found)
    assert [len(n) for _, n in parts.values()] == [8, 2, 2]
    sums = sorted(
        round(float(x[i, : n[i]].sum()), 3) for x, n in parts.values() for i in range(len(n))
    )
    assert sums == pytest.approx(sorted(float(piece.sum()) for piece in PIECES), abs=2e-3)


def test_pictures_are_bytes_or_shares(tmp_path: Path) -> None:
    films = RNG.integers(0, 256, (10, 4, 1, 5, 6), dtype=np.uint8)
    for stored in (films, films / 255):
        np.savez(tmp_path / "a.npz", frames=stored)
        found = read_recordings(tmp_path / "a.npz")
        assert found.columns is None
        torch.testing.assert_close(found.frames, torch.tensor(films / 255).float())


def test_masks_and_channels_that_come_last(tmp_path: Path) -> None:
    films = RNG.integers(0, 2, (10, 4, 5, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", frames=films)
    found = read_recordings(tmp_path / "a.npz")
    assert found.unit == 1
    torch.testing.assert_close(found.frames, torch.tensor(films).permute(0, 1, 4, 2, 3).float())
    assert [said.split()[0] for said in found.warnings] == ["Pictures", "Bytes"]


def test_columns_of_an_npz_that_never_change(tmp_path: Path) -> None:
    states = RNG.normal(size=(10, 4, 3))
    states[..., 1] = 3
    np.savez(tmp_path / "a.npz", frames=states)
    found = read_recordings(tmp_path / "a.npz")
    assert found.columns == ("x0", "x2")
    torch.testing.assert_close(found.frames, torch.tensor(states[..., [0, 2]]).float())
    assert found.warnings == ("Left out, as they never change: `x1`.",)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint64])
def test_integers_that_fall_are_no_clocks(kind: type[np.generic], tmp_path: Path) -> None:
    falls = np.stack([np.arange(9, 0, -2), RNG.permutation(5)], 1).astype(kind)
    np.savez(tmp_path / "a.npz", frames=np.stack([falls] * 10))
    assert read_recordings(tmp_path / "a.npz").warnings == ()
    np.savez(tmp_path / "a.npz", frames=np.stack([falls[::-1]] * 10))
    assert "`x0` grows" in read_recordings(tmp_path / "a.npz").warnings[0]


def test_a_column_named_like_a_glob(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    _table().rename(columns={"x": "q[0]", "y": "q0"}).to_csv(path, index=False)
    assert read_recordings(path, group="run", state=["q[0]"]).columns == ("q[0]",)
    assert read_recordings(path, group="run", state=["q[0-9]"]).columns == ("q0",)
    with pytest.raises(InvalidInput, match=r"`data` should be an \.npz file, or a table: \.csv"):
        read_recordings(Path(__file__))


def _both_kinds() -> dict[str, Any]:
    pictures = {f"{i}": np.zeros((4, 1, 2, 2)) for i in range(9)}
    return {**pictures, "9": np.zeros((4, 1, 2, 2), np.uint8)}


def _table(**change: Any) -> pd.DataFrame:
    rows = [
        {"run": f"r{i}", "x": x, "y": y, "still": 3.0, "note": "n"}
        for i, piece in enumerate(PIECES)
        for x, y, _ in piece
    ]
    return pd.DataFrame(rows).assign(**change)


def test_a_csv_by_group_and_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    _table().to_csv(path, index=False)
    found = read_recordings(path, group="run")
    assert found.columns == ("x", "y")
    assert found.warnings == (
        "Left out, as they never change: `still`.", "Left out, as they are not numbers: `note`.",
    )  # fmt: skip
    assert found.lengths.tolist() == LENGTHS.tolist()
    assert not found.ordered
    torch.testing.assert_close(
        found.frames[3, : LENGTHS[3]], torch.tensor(PIECES[3][:, :2]).float()
    )
    mixed = _table().sample(frac=1, random_state=0).sort_index(key=lambda i: i % 2)
    mixed.to_csv(path, index=False)
    one = read_recordings(path, group="run", state=["[xy]"])
    rows = mixed[mixed.run == mixed.run.iloc[0]][["x", "y"]].to_numpy()
    torch.testing.assert_close(one.frames[0, : len(rows)], torch.tensor(rows).float())
    cut = read_recordings(path, state=["y"], length=4)
    assert cut.ordered
    assert cut.frames.shape == (len(mixed) // 4, 4, 1)
    first = split(cut)["train"][0]
    torch.testing.assert_close(
        first.flatten(), torch.tensor(mixed.y.to_numpy()[: first.numel()]).float()
    )


@pytest.mark.parametrize(
    ("change", "given", "says"),
    [
        ({}, {"group": "who"}, "`group` should be one of the columns `run`, `x`"),
        ({}, {}, "`length` should be given where no `group`"),
        ({}, {"length": 1}, "`length`"),
        ({}, {"group": "run", "length": 3}, "`length` should be None"),
        ({}, {"group": "run", "state": ["z*"]}, "`state`.*a pattern for one of the columns"),
        ({}, {"group": "Run"}, "`run`, .*did you mean `run`"),
        ({}, {"group": "run", "state": ["run"]}, "`state` should be other columns than the group"),
        ({}, {"group": "run", "state": [3]}, "`state` should be a list of strings"),
        ({}, {"group": "run", "state": ["note"]}, "columns of numbers. Found 'note'"),
        ({}, {"group": "run", "state": ["still"]}, "columns that change"),
        ({"x": np.nan}, {"group": "run"}, "without gaps.*in `x`"),
        ({"y": np.inf}, {"group": "run"}, "without gaps.*in `y`"),
        ({"run": "one"}, {"group": "run"}, "at least 10 trajectories. Found 1"),
        ({"run": range(int(LENGTHS.sum()))}, {"group": "run"}, "two frames or more.*in run 0"),
    ],
)  # fmt: skip
def test_a_csv_that_is_none_is_said(
    change: dict[str, Any], given: dict[str, Any], says: str, tmp_path: Path
) -> None:
    _table(**change).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InvalidInput, match=says):
        read_recordings(tmp_path / "a.csv", **given)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"frames": _padded(), "lengths": LENGTHS + 5}, "`lengths` should be at most .*, as `fra"),
        ({"frames": _padded(), "lengths": LENGTHS * 1.0}, "`lengths` should be positive integers"),
        ({"frames": _padded(), "lengths": LENGTHS - LENGTHS.min()}, "`lengths`"),
        ({"frames": _padded(), "lengths": LENGTHS[:-1]}, "`lengths` should be .* have that sum"),
        (
            {"frames": np.zeros((100, 2)), "lengths": np.full(12, 8)},
            "be 100 numbers, .* sum. Found '12 with the sum 96'",
        ),
        ({"frames": np.full((10, 4, 1, 2, 2), 2.0)}, r"in \[0, 1\]"),
        ({"frames": np.zeros((10, 4))}, "states"),
        ({"frames": np.zeros((0, 4, 2)), "lengths": np.zeros(0, int)}, "`lengths` should be pos"),
        ({"frames": np.full((10, 4, 2), np.nan)}, "finite"),
        ({"frames": np.zeros((10, 1, 2))}, "two frames or more. Found .?one frame in number 0"),
        ({"frames": np.zeros((9, 4, 2))}, "at least 10"),
        ({"frames": np.ones((10, 4, 2))}, "columns that change. Found '`x0`, `x1`'"),
        ({"frames": np.zeros((10, 4, 2), bool)}, "integers or floating.*bool in number 0"),
        ({"frames": np.zeros((10, 4, 2), complex)}, "integers or floating.*complex128 in number"),
        (_both_kinds(), "all of bytes or all in"),
        (
            {**{f"{i}": np.zeros((4, 2)) for i in range(9)}, "9": np.zeros((4, 3))},
            "all alike.*in `9`",
        ),
    ],
)
def test_an_npz_that_is_none_is_said(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InvalidInput, match=says):
        read_recordings(tmp_path / "a.npz")


def test_csvs_as_they_are_written(tmp_path: Path) -> None:
    path, wanted = tmp_path / "a.csv", _table()
    wanted.to_csv(path, sep=";", encoding="utf-8-sig")  # with an index, which has no name
    found = read_recordings(path, group="run")
    assert found.columns == ("x", "y")
    wanted.assign(clock=range(len(wanted))).to_csv(path, index=False)
    said = "From row to row in every trajectory `clock` grows: a clock should be left out."
    assert said in read_recordings(path, group="run").warnings
    wanted.assign(clock=range(len(wanted)), later=range(7, 7 + len(wanted))).to_csv(path)
    pieces = read_recordings(path, state=["x", "clock", "later"], length=2)
    assert any("`clock`, `later` grow:" in said for said in pieces.warnings)
    with pytest.raises(InvalidInput, match=r"`length` should be a tenth of the .* rows at most"):
        read_recordings(path, state=["x"], length=20)
    with pytest.raises(InvalidInput, match="`state` should be a list"):
        read_recordings(path, state="xy", length=2)
    pd.DataFrame({"height": np.arange(40.0) % 7}).to_csv(path, index=False)
    one = read_recordings(path, length=3)
    assert one.columns == ("height",)
    assert one.warnings == ("The last row does not fill a piece, and is left out.",)
    for text, says in (
        ("", "a file that is not empty"), ("x,x\n1,2\n", "one column of each name"),
        ("run,x\n,1\na,2\n", "without gaps"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(InvalidInput, match=says):
            read_recordings(path, group="run" if "run" in text else None, length=None)


def test_changes_that_single_precision_loses_are_refused(tmp_path: Path) -> None:
    for arrays in (
        {f"{i}": piece + 1e8 for i, piece in enumerate(PIECES)},
        {f"{i}": piece * 1e39 for i, piece in enumerate(PIECES)},
    ):
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(InvalidInput, match=r"not small beside their size.*`x0`"):
            read_recordings(tmp_path / "a.npz")


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(InvalidInput, match=r"a readable .npz"):
        read_recordings(tmp_path / "a.npz")
    (tmp_path / "a.txt").write_text("x")
    for name, says in (
        ("nowhere.npz", "`data` should be an existing file"), ("a.txt", "at least one row"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match=says):
            read_recordings(tmp_path / name)
    np.savez(tmp_path / "b.npz", frames=_padded(), lengths=LENGTHS)
    with pytest.raises(InvalidInput, match=r"a table where columns"):
        read_recordings(tmp_path / "b.npz", group="run")
