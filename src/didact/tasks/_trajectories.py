"""Trajectories of pictures: of many lengths, without padding."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import IO, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from .._checks import check_integer, invalid
from ._whole import whole


class Trajectories(NamedTuple):
    """Films of some world, one after the other, and how each ended.

    Args:
        frames: ``[Σ lengths, 3, height, width]`` uint8, the frames of all trajectories.
        positions: ``[Σ lengths, 2]`` float64, where what moves is in each frame (x to the right, y
            up, in the world's units); not for a model that is to see pictures alone.
        lengths: ``[n]`` int64, frames of each trajectory.
        labels: ``[n]`` int64, what became of it.
        draws: ``[n]`` int64, how many worlds were drawn until this one was kept.
    """

    frames: Tensor
    positions: Tensor
    lengths: Tensor
    labels: Tensor
    draws: Tensor

    @property
    def first(self) -> Tensor:
        """``[n, 3, height, width]``, the first frame of each, in 0 … 1."""
        return _unit(self.frames[self._ends - self.lengths])

    @property
    def last(self) -> Tensor:
        """``[n, 3, height, width]``, the last frame of each, in 0 … 1."""
        return _unit(self.frames[self._ends - 1])

    def film(self, i: int) -> Tensor:
        """The frames of trajectory i, a view ``[length, 3, height, width]`` uint8.

        Raises:
            InvalidInput: if there is no such trajectory.
        """
        if check_integer("i", i, at_least=0) >= len(self.lengths):
            raise invalid("i", f"less than {len(self.lengths)}, the number of trajectories", i)
        end = int(self._ends[i])
        return self.frames[end - int(self.lengths[i]) : end]

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some trajectories side by side, the shorter ones padded with their last frame.

        Args:
            rows: ``[batch]`` int64, which.

        Returns:
            ``[batch, time, 3, height, width]`` in 0 … 1, of torch's default floating type, and
            ``[batch]``, their lengths.
        """
        if not isinstance(rows, Tensor) or rows.dim() != 1 or rows.dtype != torch.int64:
            raise invalid("rows", "an int64 tensor [batch]", rows)
        lengths = self.lengths[rows]
        time = torch.arange(int(lengths.max()), device=rows.device)
        places = (self._ends[rows] - lengths)[:, None] + time.minimum(lengths[:, None] - 1)
        return _unit(self.frames[places]), lengths

    @property
    def _ends(self) -> Tensor:
        return self.lengths.cumsum(0)


def _unit(frames: Tensor) -> Tensor:
    return frames.to(torch.get_default_dtype()) / 255


def save_trajectories(data: Trajectories, out: str | os.PathLike[str]) -> Path:
    """Write trajectories to a compressed file, the whole of it or nothing.

    Args:
        data: on any device.
        out: the file, ``.npz``; its folder is created if missing.

    Returns:
        ``out``.

    Raises:
        InvalidInput: if ``out`` ends in anything else.
        DidactError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> from didact.tasks import load_trajectories, room_runner, save_trajectories
        >>> data = room_runner(1, seed=0)
        >>> out = save_trajectories(data, tempfile.mkdtemp() + "/rooms.npz")
        >>> bool((load_trajectories(out).frames == data.frames).all())
        True
    """
    out = Path(out)
    if out.suffix != ".npz":
        raise invalid("out", "a file that ends in .npz", str(out))
    with whole(out) as file:
        compress(data, file)
    return out


def compress(data: Trajectories, file: IO[bytes]) -> None:
    """Write them to a file that is there."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in data._asdict().items()}
    np.savez_compressed(file, allow_pickle=False, **arrays)


def load_trajectories(path: str | os.PathLike[str]) -> Trajectories:
    """Read what :func:`save_trajectories` wrote.

    Args:
        path: the file.

    Returns:
        The same trajectories, on the CPU.

    Raises:
        InvalidInput: if the file is missing or holds something else.

    Example:
        >>> import tempfile
        >>> n = torch.tensor([2])  # one trajectory of two frames
        >>> data = Trajectories(torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2, 2).double(), n, n, n)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = load_trajectories(save_trajectories(data, folder + "/films.npz"))
        >>> found.film(0).shape, found.frames.dtype
        (torch.Size([2, 3, 4, 4]), torch.uint8)
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Trajectories(*(torch.from_numpy(arrays[name]) for name in Trajectories._fields))
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise invalid("path", "a file of trajectories", os.fspath(path)) from error
