"""Gymnasium's MuJoCo environments, without their noise."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from .._checks import extra

Environment = Literal["Hopper", "Walker2d", "Swimmer", "HalfCheetah"]


def needed(*names: str) -> list[Any]:
    """Import optional packages, or say in one line what to install.

    Raises:
        MissingExtra: if one of them is not installed.
    """
    # Gymnasium changes the user's warning filters when it is imported: they are put back.
    with extra("mujoco"), warnings.catch_warnings():
        return [importlib.import_module(name) for name in names]


@contextmanager
def simulator_of(environment: str) -> Iterator[tuple[Any, list[str]]]:
    """The bare environment, and the list that MuJoCo's complaints go to.

    Left alone, MuJoCo appends warnings to MUJOCO_LOG.TXT in the working directory: always one when
    it compiles HalfCheetah ("settotalmass is deprecated"), and one when a state blows up.
    """
    gymnasium, mujoco = needed("gymnasium", "mujoco")
    messages: list[str] = []
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(messages.append)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*-v4 is out of date", DeprecationWarning)
            # Unwrapped: the wrappers refuse steps after termination, which the task ignores.
            simulator = gymnasium.make(f"{environment}-v4").unwrapped
        messages.clear()
        yield simulator, messages
        simulator.close()
    finally:
        mujoco.set_mju_user_warning(previous)
