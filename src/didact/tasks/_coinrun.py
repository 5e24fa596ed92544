"""What an expert does in CoinRun, from the file of `scripts/collect_coinrun.py`."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from .._checks import InvalidInput, shown

ACTIONS = 15
COMMAND = "python scripts/collect_coinrun.py --out"
ARRAYS = ("x", "p", "x_test", "p_test")


class CoinRun(NamedTuple):
    """States of an expert's games, and what it does there.

    Args:
        x: ``[level, n, 3, 64, 64]``, bytes 0 … 255, of the levels to train on.
        p: ``[level, n, 15]``, the expert's probabilities π*(a|s) of Procgen's actions.
        x_test: ``[m, 3, 64, 64]``, each from a level of its own that is not among those.
        p_test: ``[m, 15]``.
        about: how the expert came about, and the share of levels that it solves.
    """

    x: Tensor
    p: Tensor
    x_test: Tensor
    p_test: Tensor
    about: dict[str, Any]


def coinrun(path: str | os.PathLike[str]) -> CoinRun:
    """An expert's games of CoinRun: states of a few levels to train on, of many to test.

    The game runs in an environment of its own, where `scripts/collect_coinrun.py` writes the file.

    Reference: Cobbe et al., "Quantifying generalization in reinforcement learning", 2019.

    Args:
        path: what the script wrote, ``.npz``.

    Returns:
        States and probabilities, on the CPU.

    Raises:
        InvalidInput: if the file is not there, or holds something else.

    Example:
        >>> coinrun("nowhere.npz")
        Traceback (most recent call last):
        ...
        didact._checks.InvalidInput: `nowhere.npz` should be an expert's games of CoinRun. Found \
no such file; `python scripts/collect_coinrun.py --out nowhere.npz` writes it (see docs/studies.md).
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInput(
            f"`{path}` should be an expert's games of CoinRun. Found no such file; "
            f"`{COMMAND} {path}` writes it (see docs/studies.md)."
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = {name: held[name] for name in ARRAYS}
            about = json.loads(str(held["about"]))
    except (
        OSError, ValueError, TypeError, KeyError, IndexError, EOFError, BadZipFile, zlib.error
    ) as error:  # fmt: skip
        raise InvalidInput(f"{path} should be an .npz of `{COMMAND}`. Found: {error}.") from error
    _check(path, arrays, about)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return CoinRun(**tensors, about=about)


def _check(path: Path, arrays: dict[str, np.ndarray], about: Any) -> None:
    """Refuse what no expert's games are."""
    for states, actions in (("x", "p"), ("x_test", "p_test")):
        x, p = arrays[states], arrays[actions]
        lead = 2 if states == "x" else 1
        if x.dtype != np.uint8 or x.shape[lead:] != (3, 64, 64) or x.size == 0:
            found = f"{x.dtype} {list(x.shape)}"
            raise InvalidInput(f"{path} should hold pictures of 3 × 64 × 64 bytes. Found {found}.")
        if p.dtype != np.float32 or p.shape != (*x.shape[:lead], ACTIONS):
            found = f"{p.dtype} {list(p.shape)} for {list(x.shape[:lead])}"
            raise InvalidInput(f"{path} should hold {ACTIONS} floats a state. Found {found}.")
        if not (p >= 0).all() or not np.allclose(p.sum(-1), 1, atol=1e-4):
            raise InvalidInput(f"{path} should hold probabilities. Found other numbers.")
    if not isinstance(about, dict):
        raise InvalidInput(f"{path} should tell of the expert. Found {shown(about)}.")
