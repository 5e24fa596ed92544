"""Sliding minima."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def least_before(values: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The least of the ``width`` numbers before each, and where it is: ``[n, T]`` → ``[n, T]``.

    Minima of blocks from both ends: a window is the end of one block and the start of the next, so
    the width costs nothing (van Herk 1992, Gil & Werman 1993). Before the first it is ∞.

    Example:
        >>> least, where = least_before(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), 2)
        >>> least, where[:, 1:]
        (tensor([[inf, 3., 1., 1.]]), tensor([[0, 1, 1]]))
    """
    n, length = values.shape
    width = min(width, length)
    padded = F.pad(values, (width, -length % width), value=torch.inf)
    blocks = padded.view(n, -1, width)
    first = torch.arange(0, padded.shape[1], width, device=values.device).unsqueeze(1) - width
    ends, end = (t.flip(2) for t in blocks.flip(2).cummin(2))
    starts, start = blocks.cummin(2)
    ends, end = ends.flatten(1)[:, :length], (first + width - 1 - end).flatten(1)[:, :length]
    after = slice(width - 1, width - 1 + length)
    starts, start = starts.flatten(1)[:, after], (first + start).flatten(1)[:, after]
    earlier = ends <= starts
    return torch.where(earlier, ends, starts), torch.where(earlier, end, start)
