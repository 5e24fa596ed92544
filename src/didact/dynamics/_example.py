"""One trajectory beside what models make of it, small enough for a record."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_COLUMNS, MOST_FRAMES, MOST_PICTURES = 4, 400, 8


def shown(found: dict[str, dict[str, NDArray[Any]]]) -> dict[str, Any]:
    """Of states the columns that change most, of pictures strips of a few.

    Args:
        found: by candidate, ``recorded`` ``[T, *frame]``, ``made`` ``[K, *frame]``, and ``at``
            ``[K]``, the frame that each prediction is taken for.

    Returns:
        ``columns``: their places; ``frames`` and ``recorded``; by candidate ``at`` and ``made``. Of
        pictures by candidate ``at``, and ``strip``: predictions above what they are taken for, a
        PNG in base64.
    """
    recorded = next(iter(found.values()))["recorded"]
    if recorded.ndim == 4:
        return {"pictures": {name: _strip(**arrays) for name, arrays in found.items()}}
    columns = np.sort(np.argsort(-_spread(recorded), kind="stable")[:MOST_COLUMNS])
    frames = _some(len(recorded), MOST_FRAMES)
    told = {}
    for name, arrays in found.items():
        some = _some(len(arrays["at"]), MOST_FRAMES)
        told[name] = {
            "at": arrays["at"][some].tolist(),
            "made": _rounded(arrays["made"][some][:, columns]),
        }
    return {
        "columns": columns.tolist(), "frames": frames.tolist(),
        "recorded": _rounded(recorded[frames][:, columns]), "states": told,
    }  # fmt: skip


def _spread(recorded: NDArray[Any]) -> NDArray[np.float64]:
    """By column: how much it changes, of its size."""
    size = np.abs(recorded).max(0).astype(np.float64)
    spread: NDArray[np.float64] = recorded.std(0) / np.where(size > 0, size, 1)
    return spread


def _some(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _rounded(values: NDArray[Any]) -> list[list[float | None]]:
    return [[float(f"{v:.5g}") if np.isfinite(v) else None for v in row] for row in values.tolist()]


def _strip(recorded: NDArray[Any], made: NDArray[Any], at: NDArray[Any]) -> dict[str, Any]:
    from matplotlib.image import imsave

    some = _some(len(at), MOST_PICTURES)
    rows = [
        np.concatenate([_picture(x) for x in row], 1) for row in (made[some], recorded[at[some]])
    ]
    file = io.BytesIO()
    imsave(file, np.concatenate(rows, 0), format="png")
    return {"at": at[some].tolist(), "strip": base64.b64encode(file.getvalue()).decode()}


def _picture(x: NDArray[Any]) -> NDArray[np.uint8]:
    """``[C, height, width]`` in [0, 1] to RGB, with a margin; if not of 3 channels, the first."""
    colours = x.transpose(1, 2, 0) if len(x) == 3 else np.repeat(x[0][:, :, None], 3, 2)
    inside = np.rint(np.nan_to_num(colours).clip(0, 1) * 255).astype(np.uint8)
    return np.pad(inside, ((1, 1), (1, 1), (0, 0)), constant_values=128)
