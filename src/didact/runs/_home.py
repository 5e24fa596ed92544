"""What a command that leaves a folder has to look after, whatever it trains."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .._checks import InvalidInput
from ._files import read_json


def versions(*more: str) -> dict[str, str]:
    """Of Python and of what decides numbers, ``more`` packages included, where installed."""
    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "pandas", "scikit-learn", "optuna", *more):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def refuse_another(home: Path, data: dict[str, Any], asked: Iterable[str]) -> None:
    """Keep the model and report of another question from being written over."""
    if not (home / "metrics.json").exists():
        return
    stored = read_json(home / "metrics.json").get("data", {})
    told = {"sha256": "the data file's contents"}
    if different := [told.get(name, name) for name in asked if stored.get(name) != data[name]]:
        raise InvalidInput(
            "Parameter `out` should be a folder without the results of another fit. "
            f"`{home}` holds one that differs in: {', '.join(different)}. Choose another "
            "folder, or remove it."
        )


def usable_device(device: str) -> str:
    """A device that torch can use here; CUDA for ``"auto"``, where there is any."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=torch.device(device)).item()
    except (RuntimeError, AssertionError) as error:
        raise InvalidInput(
            f"Parameter `device` should be a device that torch can use here. Found {device!r}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return device
