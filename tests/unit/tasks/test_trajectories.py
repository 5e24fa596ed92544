"""Films of many lengths, in memory and in files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from didact import DidactError, InvalidInput
from didact.tasks import (
    MissingExtra,
    Trajectories,
    animation,
    load_trajectories,
    room_runner,
    save_trajectories,
)


def films(lengths: list[int]) -> Trajectories:
    total = sum(lengths)
    generator = torch.Generator().manual_seed(total)
    return Trajectories(
        frames=torch.randint(256, (total, 3, 2, 4), generator=generator, dtype=torch.uint8),
        positions=torch.rand(total, 2, generator=generator, dtype=torch.float64),
        lengths=torch.tensor(lengths),
        labels=torch.arange(len(lengths)),
        draws=torch.ones(len(lengths), dtype=torch.int64),
    )


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_batches_are_the_films_side_by_side(lengths: list[int], data: st.DataObject) -> None:
    trajectories = films(lengths)
    each, start = [], 0
    for length in lengths:
        each.append(trajectories.frames[start : start + length].tolist())
        start += length
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=4))
    batch, found = trajectories.batch(torch.tensor(rows))
    assert found.tolist() == [lengths[i] for i in rows]
    assert batch.shape == (len(rows), max(lengths[i] for i in rows), 3, 2, 4)
    for b, i in enumerate(rows):
        assert trajectories.film(i).tolist() == each[i]
        for t in range(batch.shape[1]):
            expected = torch.tensor(each[i][min(t, lengths[i] - 1)]) / 255
            assert torch.equal(batch[b, t], expected)
        assert torch.equal(trajectories.first[i] * 255, torch.tensor(each[i][0]).float())
        assert torch.equal(trajectories.last[i], torch.tensor(each[i][-1]) / 255)


def test_no_film_of_that_number() -> None:
    with pytest.raises(InvalidInput, match="`i` should be less than 2, the number of trajec"):
        films([2, 3]).film(2)


def test_files_give_back_every_number(tmp_path: Path) -> None:
    data = room_runner(2, seed=5)
    out = save_trajectories(data, str(tmp_path / "new" / "rooms.npz"))
    again = load_trajectories(out)
    for name, tensor in data._asdict().items():
        assert torch.equal(getattr(again, name), tensor), name
        assert getattr(again, name).dtype == tensor.dtype
    assert [path.name for path in out.parent.iterdir()] == ["rooms.npz"]
    # The world stands still but for a dot.
    assert out.stat().st_size < data.frames.numel() / 30


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DidactError, match=r"Cannot write `.*file/a\.npz`: "):
        save_trajectories(films([1]), tmp_path / "file" / "a.npz")


def test_a_stop_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = save_trajectories(films([1]), tmp_path / "a.npz")
    before = out.read_bytes()

    def stop(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stop)
    with pytest.raises(KeyboardInterrupt):
        save_trajectories(films([2]), out)
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"`out` should be a file that ends in \.npz"):
        save_trajectories(films([1]), tmp_path / "a.pt")
    (tmp_path / "text.npz").write_text("no zip")
    (tmp_path / "empty.npz").write_text("")
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    np.savez(tmp_path / "pickle.npz", frames=np.array([None]))
    whole = save_trajectories(films([3]), tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    middle = whole.index(b"positions") // 2
    (tmp_path / "spoilt.npz").write_bytes(whole[:middle] + b"~~~~" + whole[middle + 4 :])
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as file:
        file.writestr("frames.npy", b"no array")
    for name in ("missing", "text", "empty", "other", "pickle", "half", "spoilt", "zip"):
        with pytest.raises(InvalidInput, match="`path` should be a file of trajectories"):
            load_trajectories(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("floating", [False, True])
def test_a_gif_shows_every_frame(tmp_path: Path, floating: bool) -> None:
    film = torch.zeros(4, 3, 2, 5, dtype=torch.uint8)
    for t in range(4):
        film[t, t % 3, t % 2, t] = 255
    frames = (film * 1.25 / 255 - 0.1) if floating else film
    out = animation(frames, tmp_path / "a.gif", magnify=2, milliseconds=40, last=500)
    with Image.open(out) as picture:
        assert picture.n_frames == 4  # type: ignore[attr-defined]
        assert picture.info["loop"] == 0
        for t in range(4):
            picture.seek(t)
            assert picture.info["duration"] == (500 if t == 3 else 40)
            shown = np.asarray(picture.convert("RGB"))
            expected = np.kron(film[t].permute(1, 2, 0).numpy(), np.ones((2, 2, 1), np.uint8))
            assert (shown == expected).all()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"out": "a.png"}, r"`out` should be a file that ends in \.gif"),
        ({"frames": torch.zeros(3, 4, 4)}, "`frames` should be of shape"),
        ({"frames": torch.zeros(0, 3, 4, 4)}, "`frames` should be of shape"),
        ({"frames": torch.zeros(1, 3, 4, 4).long()}, "`frames` should be of dtype uint8 or"),
        ({"magnify": 0}, "`magnify` should be a positive integer"),
        ({"milliseconds": 0.5}, "`milliseconds` should be a positive integer"),
        ({"last": -1}, "`last` should be a positive integer"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    arguments = {"frames": torch.zeros(1, 3, 4, 4), "out": "a.gif", **change}
    arguments["out"] = tmp_path / arguments["out"]
    with pytest.raises(InvalidInput, match=rule):
        animation(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_gif_needs_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r'`PIL`: pip install "didact\[skips\]"'):
        animation(torch.zeros(1, 3, 4, 4), tmp_path / "a.gif")
