"""How many processes are worth starting."""

from __future__ import annotations

import os


def cores(device: str = "cpu") -> int:
    """The cores that this process may use; of a GPU, one: its runs would share its memory.

    >>> cores() >= 1, cores("cuda:0")
    (True, 1)
    """
    if not device.startswith("cpu"):
        return 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
