"""ψ: how a trajectory ended, read off its frames by hand-made rules, for predicted frames too."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .._checks import check_integer, invalid

WIDTH = 75
"""Of the funnel board's frames in the paper, by which pixels are counted."""


def funnel_label(frames: Tensor) -> Tensor:
    """On which platform is the ball? Where the blue is, just above the platforms.

    b = (1 − red)(1 − green) blue, nothing where below 0.3; m_k, its sum over the ten rows above the
    platforms in the k-th fifth of the width;

        p_k = (m_k + ε/5) / (Σ_j m_j + ε),   ε = 10⁻³.

    On the true last frames of :func:`~didact.tasks.funnel_board` the largest p_k is the label.

    Reference: Neitz's thesis, section 2.2; the rule is that of the authors' public code.

    Args:
        frames: ``[n, 3, height, width]`` in 0 … 1; of ``[n, time, 3, height, width]`` the sums are
            over time, too. In smaller frames the rows are fewer, in proportion.

    Returns:
        ``[n, 5]``, probabilities; all alike where no ball is seen.

    Raises:
        InvalidInput: if ``frames`` has another shape or is not floating.

    Example:
        >>> from didact.tasks import funnel_board, funnel_label
        >>> data = funnel_board(3, seed=0, pixels=3)
        >>> bool((funnel_label(data.last).argmax(1) == data.labels).all())
        True
    """
    red, green, blue = _channels("frames", frames)
    height, width = red.shape[-2:]
    bottom = height - math.ceil(1.5 * width / WIDTH)
    rows = slice(max(bottom - round(10 * width / WIDTH), 0), bottom)
    ball = ((1 - red) * (1 - green) * blue)[..., rows, :]
    columns = (ball * (ball >= 0.3)).sum((1, 2))
    fifth = ((torch.arange(width, device=frames.device) + 0.5) * 5 / width).long()
    mass = columns.new_zeros(len(columns), 5).index_add(1, fifth, columns)
    return (mass + 1e-3 / 5) / (mass.sum(1, keepdim=True) + 1e-3)


def room_label(frames: Tensor, first: Tensor, *, side: int = 16) -> Tensor:
    """Is the runner in the red room or in the blue one?

    A pixel is the runner's if (1 − red) green (1 − blue) > 0.2 and of a coloured room if in the
    first frame red (1 − green)(1 − blue) > 0.15, or blue in place of red. Each room is spread by
    up to two cells, sideways, up and down, into what is bright beside it and not the other room,
    which is the white before its door, and is smoothed by a binomial filter of 3 × 3. With m_k, the
    runner's pixels weighted by room k,

        p_k = (m_k + ε) / (Σ_j m_j + 2 ε),   ε = 10⁻⁴.

    On the true last frames of :func:`~didact.tasks.room_runner` the larger p_k is the label.

    Reference: Neitz's thesis, section 2.2; the rule is that of the authors' public code (which has
    0.25, too much for smaller frames).

    Args:
        frames: ``[n, 3, height, width]`` in 0 … 1; of ``[n, time, 3, height, width]`` the sums are
            over time, too.
        first: ``[n, 3, height, width]``, the true first frames, in which the rooms are found.
        side: cells along each side of the building.

    Returns:
        ``[n, 2]``, probabilities of red and of blue; both 1/2 where no runner is in either room.

    Raises:
        InvalidInput: if the shapes are others or do not fit, or a tensor is not floating.

    Example:
        >>> from didact.tasks import room_label, room_runner
        >>> data = room_runner(3, seed=0)
        >>> bool((room_label(data.last, data.first).argmax(1) == data.labels).all())
        True
    """
    red, green, blue = _channels("frames", frames)
    runner = (1 - red) * green * (1 - blue) > 0.2
    if first.ndim != 4 or first.shape != (len(frames), *frames.shape[-3:]):
        expected = f"of shape {[len(frames), *frames.shape[-3:]]}, as `frames`"
        raise invalid("first", expected, list(first.shape))
    red, green, blue = _channels("first", first)
    bright = first.amax(1) > 0.9
    red_room = (red * (1 - green) * (1 - blue) > 0.15)[:, 0]
    blue_room = (blue * (1 - green) * (1 - red) > 0.15)[:, 0]
    two_cells = 2 * first.shape[-1] // check_integer("side", side)
    weights = [
        _smooth(_spread(red_room, bright & ~blue_room, two_cells)),
        _smooth(_spread(blue_room, bright & ~red_room, two_cells)),
    ]
    mass = torch.stack([(runner * weight[:, None]).sum((1, 2, 3)) for weight in weights], 1)
    return (mass + 1e-4) / (mass.sum(1, keepdim=True) + 2e-4)


def _channels(parameter: str, frames: Tensor) -> list[Tensor]:
    """Red, green and blue, each ``[n, time, height, width]``."""
    if not frames.is_floating_point():
        raise invalid(parameter, "a tensor of a floating type, in 0 … 1", frames.dtype)
    if frames.ndim not in (4, 5) or frames.shape[-3] != 3:
        expected = "of shape [n, 3, height, width] or [n, time, 3, height, width]"
        raise invalid(parameter, expected, list(frames.shape))
    return list((frames if frames.ndim == 5 else frames[:, None]).unbind(2))


def _spread(room: Tensor, free: Tensor, pixels: int) -> Tensor:
    for _ in range(pixels):
        # Not across corners: in small frames a wall's corner is as bright as a door.
        beside = [
            F.max_pool2d(room.float(), size, stride=1, padding=(size[0] // 2, size[1] // 2))
            for size in ((1, 3), (3, 1))
        ]
        room = room | ((beside[0] + beside[1] > 0) & free)
    return room


def _smooth(room: Tensor) -> Tensor:
    line = torch.tensor([0.25, 0.5, 0.25], device=room.device)
    padded = F.pad(room.float()[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, (line[:, None] * line)[None, None])[:, 0]
