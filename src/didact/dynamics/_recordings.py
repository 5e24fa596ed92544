"""Recorded trajectories from a file: states with names, or pictures."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .._checks import check_file, check_integer, extra, invalid, listed
from .._names import column_rule, named
from .._table import SUFFIXES, numbers, read_table

FEWEST = 10
"""Trajectories: two of ten for validation, two for the test."""


@dataclass(frozen=True)
class Recordings:
    """Trajectories side by side.

    Attributes:
        frames: ``[B, T, D]`` of states or ``[B, T, C, height, width]`` of pictures in [0, 1],
            float32; 0 beyond a trajectory's end.
        lengths: ``[B]`` int64.
        columns: names of the D numbers of a state; None for pictures.
        ordered: whether the trajectories are pieces of one recording, in its order.
        sha256: of the file.
        warnings: what was left out.
        unit: what 1 was in the file: 255 of pictures of bytes.
    """

    frames: Tensor
    lengths: Tensor
    columns: tuple[str, ...] | None
    ordered: bool
    sha256: str
    warnings: tuple[str, ...] = ()
    unit: int = 1

    def only(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some of them: frames and lengths."""
        lengths = self.lengths[rows]
        return self.frames[rows, : int(lengths.max())], lengths


def read_recordings(
    path: str | os.PathLike[str],
    *,
    state: Sequence[str] = (),
    group: str | None = None,
    length: int | None = None,
) -> Recordings:
    """Read trajectories from a file.

    Args:
        path: ``.npz``, or a table: ``.csv`` or ``.parquet``. In an npz, ``frames`` is
            ``[B, T, *frame]`` with ``lengths`` ``[B]`` (all T by default), or
            ``[Σ lengths, *frame]``, one trajectory after the other; without ``frames`` every array
            is a trajectory ``[T, *frame]``. A frame is a state ``[D]`` or a picture
            ``[C, height, width]`` or ``[height, width, C]``, of bytes or in [0, 1].
        state: names or globs of the columns of a table that are the state; by default all that are
            numbers, but for ``group``.
        group: the column of a table whose equal values are one trajectory; rows as they stand.
        length: without ``group``, a table is one recording, cut into pieces of so many rows.

    Returns:
        The trajectories side by side, padded, of states without the columns that never change.

    Raises:
        InvalidInput: no such file or column, an argument that is not for such a file, gaps, too few
            trajectories, one of a single frame, pictures outside [0, 1], states whose changes
            float32 would lose.
        MissingExtra: of a table, if pandas is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "falls.npz")
        ...     np.savez(file, frames=np.arange(60.0).reshape(10, 3, 2), lengths=[3] * 9 + [2])
        ...     found = read_recordings(file)
        >>> found.frames.shape, found.columns, found.lengths[-2:].tolist()
        (torch.Size([10, 3, 2]), ('x0', 'x1'), [3, 2])
    """
    if isinstance(state, str) or not all(isinstance(name, str) for name in state):
        raise invalid("state", "a list of strings", state)
    path = check_file("data", path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix.lower() == ".npz":
        if state or group is not None or length is not None:
            raise invalid("data", "a table where columns, groups or lengths are named", str(path))
        trajectories, warnings = _arrays(path)
        return _checked(trajectories, None, False, sha256, warnings)
    if path.suffix.lower() not in SUFFIXES:
        raise invalid("data", f"an .npz file, or a table: {', '.join(SUFFIXES)}", str(path))
    pieces, columns, warnings = _table(path, tuple(state), group, length)
    return _checked(pieces, columns, group is None, sha256, warnings)


def _arrays(path: Path) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Trajectories by what a message calls them, and a warning of arrays that are left out."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError
    except (OSError, ValueError, TypeError, AttributeError, EOFError, BadZipFile, zlib.error):
        raise invalid("data", "a readable .npz of arrays", str(path)) from None
    if "frames" not in arrays:
        return {f"`{name}`": array for name, array in arrays.items()}, ()
    frames, lengths = arrays.pop("frames"), arrays.pop("lengths", None)
    left = ", ".join(f"`{name}`" for name in arrays)
    return _cut(frames, lengths), (f"Left out: {left}.",) if left else ()


def _cut(frames: NDArray[Any], lengths: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
    """Trajectories of a padded array, or of one after the other."""
    if frames.ndim == 0:
        raise invalid("frames", "[B, T, *frame] or [Σ lengths, *frame]", frames.shape)
    if lengths is None:
        return _numbered(frames)
    whole = lengths.ndim == 1 and lengths.dtype.kind in "iu" and lengths.size
    if not whole or lengths.min() < 1:
        raise invalid("lengths", "positive integers, one for each trajectory", lengths)
    if len(frames) == lengths.sum() and len(frames) != len(lengths):
        return _numbered(np.split(frames, np.cumsum(lengths)[:-1]))
    if len(frames) != len(lengths) or frames.ndim < 2:
        rule = f"{len(frames)} numbers, one a trajectory of `frames`, or have that sum"
        raise invalid("lengths", rule, f"{len(lengths)} with the sum {lengths.sum()}")
    if lengths.max() > frames.shape[1]:
        raise invalid("lengths", f"at most {frames.shape[1]}, as `frames` has", lengths.max())
    return _numbered([one[:n] for one, n in zip(frames, lengths, strict=True)])


def _numbered(pieces: Iterable[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"number {i}": piece for i, piece in enumerate(pieces)}


def _table(
    path: Path, state: tuple[str, ...], group: str | None, length: int | None
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...], tuple[str, ...]]:
    with extra("fit"):
        import pandas as pd
    table = read_table(path)
    names = [str(name) for name in table.columns]
    if group is not None and group not in names:
        raise invalid("group", column_rule(group, names), group)
    if group is not None and length is not None:
        raise invalid("length", "None where a group says what a trajectory is", length)
    if group is not None and bool(table[group].isna().any()):
        raise invalid("group", "a column without gaps", f"{int(table[group].isna().sum())} gaps")
    countable = [n for n in names if pd.api.types.is_numeric_dtype(table[n]) and n != group]
    chosen = countable
    if state:
        if group in state:
            raise invalid("state", "other columns than the group", group)
        chosen = list(named("state", state, [name for name in names if name != group]))
        if words := [name for name in chosen if name not in countable]:
            raise invalid("state", "columns of numbers", words[0])
    if not chosen:
        raise invalid("state", f"some columns of numbers, of {listed(names)}", list(state))
    values = np.column_stack([numbers(table[name]) for name in chosen])
    gaps = (~np.isfinite(values)).sum(0)
    if gaps.any():
        worst = int(gaps.argmax())
        rule = "columns without gaps: fill them, or leave the column out by `state`"
        raise invalid("state", rule, f"{gaps[worst]} gaps in `{chosen[worst]}`")
    warnings: tuple[str, ...] = ()
    words = [name for name in names if name not in countable and name != group]
    if words and not state:
        warnings += (f"Left out, as they are not numbers: {listed(words)}.",)
    if group is not None:
        rows = table.groupby(group, sort=False).indices
        films = {f"{group} {value}": values[np.sort(each)] for value, each in rows.items()}
        return films, tuple(chosen), warnings
    if length is None:
        raise invalid("length", "given where no `group` says what a trajectory is", None)
    check_integer("length", length, at_least=2)
    if len(values) < FEWEST * length:
        raise invalid("length", f"a tenth of the {len(values)} rows at most", length)
    if rest := len(values) % length:
        said = (
            "row does not fill a piece, and is"
            if rest == 1
            else (f"{rest} rows do not fill a piece, and are")
        )
        warnings += (f"The last {said} left out.",)
    pieces = [values[i : i + length] for i in range(0, len(values) - length + 1, length)]
    return _numbered(pieces), tuple(chosen), warnings


def _checked(
    pieces: dict[str, NDArray[Any]], columns: tuple[str, ...] | None, ordered: bool, sha256: str,
    warnings: tuple[str, ...],
) -> Recordings:  # fmt: skip
    if len(pieces) < FEWEST:
        raise invalid("data", f"at least {FEWEST} trajectories", len(pieces))
    frame = next(iter(pieces.values())).shape[1:]
    for name, piece in pieces.items():
        if piece.dtype.kind not in "fiu":
            raise invalid("data", "integers or floating-point numbers", f"{piece.dtype} in {name}")
        if piece.ndim not in (2, 4) or piece.shape[1:] != frame:
            rule = "trajectories of states [T, D] or pictures [T, C, height, width], all alike"
            raise invalid("data", rule, f"{list(piece.shape)} in {name}")
        if 0 in piece.shape[1:]:
            raise invalid("data", "frames of one number or more", f"{list(piece.shape)}")
        if len(piece) < 2:
            raise invalid("data", "trajectories of two frames or more", f"one frame in {name}")
        if not np.isfinite(piece).all():
            raise invalid("data", "finite", f"NaN or infinity in {name}")
    parts = list(pieces.values())
    if len(frame) == 3:
        parts, unit, said = _pictures(parts)
    else:
        unit = 1
        parts, columns, said = _states(parts, columns or tuple(f"x{j}" for j in range(frame[0])))
    made = [torch.from_numpy(np.asarray(part, dtype=np.float32)) / unit for part in parts]
    lengths = torch.tensor([len(one) for one in made])
    return Recordings(
        pad_sequence(made, batch_first=True), lengths, columns, ordered, sha256,
        (*said, *warnings), unit,
    )  # fmt: skip


def _pictures(parts: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], int, tuple[str, ...]]:
    """Channels first, what 1 is, and warnings."""
    said: tuple[str, ...] = ()
    channels, *_, last = parts[0].shape[1:]
    if last in (1, 3, 4) and channels > 4:
        parts = [part.transpose(0, 3, 1, 2) for part in parts]
        said += (
            "Pictures are taken as [height, width, channels], as they stand in the file; models "
            "take and give [channels, height, width].",
        )
    bytes_ = [part.dtype == np.uint8 for part in parts]
    largest = max(float(part.max()) for part in parts)
    least = min(float(part.min()) for part in parts)
    if any(bytes_) and not all(bytes_):
        raise invalid("data", "pictures all of bytes or all in [0, 1]", "both")
    if all(bytes_) and largest > 1:
        return parts, 255, said
    if least < 0 or largest > 1:
        raise invalid("data", "pictures of bytes or in [0, 1]", f"{least:.4g} … {largest:.4g}")
    if all(bytes_):
        said += ("Bytes that are all 0 or 1 are taken as masks: 1 is full.",)
    return parts, 1, said


def _states(
    parts: list[NDArray[Any]], columns: tuple[str, ...]
) -> tuple[list[NDArray[Any]], tuple[str, ...], tuple[str, ...]]:
    """What changes, its names, and warnings of what does not, and of what only grows."""
    values = np.concatenate(parts)
    changes = values.min(0) < values.max(0)
    constant = [name for name, change in zip(columns, changes, strict=True) if not change]
    kept = tuple(name for name in columns if name not in constant)
    if not kept:
        raise invalid("data", "columns that change", listed(columns))
    _check_single(values[:, changes], kept)
    said: tuple[str, ...] = ()
    if constant:
        parts = [part[:, changes] for part in parts]
        said += (f"Left out, as they never change: {listed(constant)}.",)
    grows = np.logical_and.reduce([(part[1:] > part[:-1]).all(0) for part in parts])
    if clocks := [name for name, each in zip(kept, grows, strict=True) if each]:
        said += (
            f"From row to row in every trajectory {listed(clocks)} "
            f"{'grows' if len(clocks) == 1 else 'grow'}: a clock should be left out.",
        )
    return parts, kept, said


def _check_single(values: NDArray[Any], columns: tuple[str, ...]) -> None:
    """Refuse numbers whose changes single precision would lose, or that it cannot hold."""
    values = values.astype(np.float64)
    largest, spread = np.abs(values).max(0), values.std(0)
    lost = (largest > 1e30) | (largest * 2.0**-23 > 1e-3 * spread)
    if lost.any():
        j = int(lost.argmax())
        raise invalid(
            "data", "states whose changes are not small beside their size: subtract an origin, or "
            "leave the column out", f"`{columns[j]}` of size {largest[j]:.3g} "
            f"that varies by {spread[j]:.3g}",
        )  # fmt: skip
