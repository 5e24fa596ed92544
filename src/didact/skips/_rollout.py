"""A model, applied to its own predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._checks import check_callable, check_integer, invalid
from ._call import called


def rollout(
    f: Callable[..., Any], x: Tensor, steps: int, *, context: int = 1, graph: bool = False
) -> Tensor:
    """The frames that f predicts from x on: x, f(x), f(f(x)), …

    Which moment a frame shows is up to f: see :func:`skip_loss`.

    Args:
        f: ``[B, *frame] → [B, *frame]``, in the mode it is in.
        x: first frames, ``[B, *frame]``; with a context of k > 1, ``[B, k, *frame]``.
        steps: calls of f.
        context: k, the last frames that f is called on.
        graph: keep the graph, for gradients through all steps; else there is none.

    Returns:
        ``[B, context + steps, *frame]``, with those that were given.

    Raises:
        InvalidInput: a number outside its range, f returns another shape.

    Example:
        >>> rollout(lambda x: x / 2, torch.tensor([[8.0], [16.0]]), 3).squeeze(2)
        tensor([[ 8.,  4.,  2.,  1.],
                [16.,  8.,  4.,  2.]])
    """
    check_callable("f", f)
    check_integer("steps", steps, at_least=0)
    check_integer("context", context)
    if not isinstance(x, Tensor) or not x.dim():
        raise invalid("x", "a tensor [B, *frame]", x)
    if context > 1 and (x.dim() < 2 or x.shape[1] != context):
        raise invalid("x", f"[B, {context}, *frame]", tuple(x.shape))
    with torch.set_grad_enabled(graph and torch.is_grad_enabled()):
        frames = [x] if context == 1 else list(x.unbind(1))
        for _ in range(steps):
            seen = frames[-1] if context == 1 else torch.stack(frames[-context:], 1)
            frames.append(called(f, seen, frame=frames[0].shape[1:])[0])
        return torch.stack(frames, 1)
