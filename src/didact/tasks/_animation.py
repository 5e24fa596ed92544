"""Films as animated pictures."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from .._checks import check_integer, extra, invalid
from ._whole import whole


def animation(
    frames: Tensor,
    out: str | os.PathLike[str],
    *,
    magnify: int = 3,
    milliseconds: int = 50,
    last: int = 1000,
) -> Path:
    """Write frames to an animated GIF, the whole of it or nothing.

    Args:
        frames: ``[time, 3, height, width]``, uint8, or floating in 0 … 1 (what is beyond is cut
            off). Films to be seen side by side are joined along their width.
        out: the file, ``.gif``; its folder is created if missing.
        magnify: the side of a pixel.
        milliseconds: each frame is shown for.
        last: milliseconds for the last frame, after which it starts again.

    Returns:
        ``out``.

    Raises:
        MissingExtra: if Pillow is not installed.
        InvalidInput: if an argument breaks its rule.
        DidactError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> from didact.tasks import animation, room_runner
        >>> film = room_runner(1, seed=0).film(0)
        >>> animation(film, tempfile.mkdtemp() + "/rooms.gif").name
        'rooms.gif'
    """
    out = Path(out)
    if out.suffix != ".gif":
        raise invalid("out", "a file that ends in .gif", str(out))
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise invalid("frames", "of shape [time, 3, height, width]", list(frames.shape))
    if not (frames.is_floating_point() or frames.dtype == torch.uint8):
        raise invalid("frames", "of dtype uint8 or floating", frames.dtype)
    check_integer("magnify", magnify)
    check_integer("milliseconds", milliseconds)
    check_integer("last", last)
    with extra("skips"):
        from PIL import Image
    if frames.is_floating_point():
        frames = (frames.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    large = frames.repeat_interleave(magnify, 2).repeat_interleave(magnify, 3)
    pictures = [Image.fromarray(frame) for frame in large.permute(0, 2, 3, 1).cpu().numpy()]
    times = [milliseconds] * (len(pictures) - 1) + [last]
    with whole(out) as file:
        pictures[0].save(
            file, "GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0
        )
    return out
