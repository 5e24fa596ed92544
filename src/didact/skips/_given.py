"""Trajectories of different lengths, checked at the door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import InvalidInput, check_callable, check_integer, invalid
from ._losses import Loss, binary_cross_entropy

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Given:
    """Trajectories side by side. Frames stay where they came from, bookkeeping is NumPy's.

    Attributes:
        frames: ``[B, T, *frame]``.
        last: index of the last frame of each trajectory, ``[B]``.
        observed: which frames are there, ``[B, T]``; None: all.
        next: the first observed frame from each on, ``[B, T]``; None: that frame.
    """

    frames: Tensor
    last: Indices
    observed: NDArray[np.bool_] | None
    next: Indices | None

    def take(self, of: Tensor, rows: Indices, at: Indices) -> Tensor:
        """``of[b, t, ...]`` for all of ``at``, ``[n, ...]``, in trajectories ``rows``, ``[n]``."""
        places = at + rows.reshape(-1, *[1] * (at.ndim - 1)) * of.shape[1]
        flat = of.reshape(-1, *of.shape[2:])
        found = flat.index_select(0, torch.from_numpy(places.reshape(-1)).to(of.device))
        return found.view(*at.shape, *of.shape[2:]) if at.ndim > 1 else found


def check_given(
    trajectories: Tensor,
    lengths: Tensor | None,
    loss: Loss,
    context: int = 1,
    observed: Tensor | None = None,
) -> Given:
    """What was given, or one clear error."""
    check_integer("context", context)
    check_callable("loss", loss, "a function of prediction and target")
    if not isinstance(trajectories, Tensor) or trajectories.dim() < 3:
        raise invalid("trajectories", "a tensor [B, T, *frame]", _shape(trajectories))
    if not trajectories.is_floating_point():
        raise invalid("trajectories", "of floating-point numbers", trajectories.dtype)
    if 0 in trajectories.shape:
        raise invalid("trajectories", "without an empty dimension", tuple(trajectories.shape))
    batch, padded = trajectories.shape[:2]
    last = _last(lengths, batch, padded, context)
    following = seen = None
    if observed is not None:
        if _shape(observed) != (batch, padded) or observed.dtype != torch.bool:
            found = f"{_shape(observed)} {getattr(observed, 'dtype', '')}".rstrip()
            raise invalid("observed", f"a bool tensor {[batch, padded]}", found)
        steps = np.arange(padded)
        seen = observed.cpu().numpy() & (steps <= last[:, None])
        if not seen[:, :context].all():
            raise InvalidInput(
                f"Parameter `observed` should be true for the first frame of each trajectory (the "
                f"first `context` = {context}). Found one that is not in trajectory "
                f"{np.flatnonzero(~seen[:, :context].all(1))[0]}."
            )
        last = np.where(seen, steps, -1).max(1)
        if (last < context).any():
            raise InvalidInput(
                "Parameter `observed` should be true for a frame after those that a trajectory "
                "starts from. Found none "
                f"in trajectory {np.flatnonzero(last < context)[0]}."
            )
        later = np.where(seen, steps, padded)[:, ::-1]
        following = np.minimum.accumulate(later, 1)[:, ::-1]
    given = Given(trajectories.contiguous(), last, seen, following)
    if loss is binary_cross_entropy:
        _check_unit(given)
    return given


def _last(lengths: Tensor | None, batch: int, padded: int, context: int) -> Indices:
    if lengths is None:
        if padded < context + 1:
            rule = f"of {context + 1} frames or more: {context} to start from and one to predict"
            raise invalid("trajectories", rule, padded)
        lengths = torch.full((batch,), padded)
    if not isinstance(lengths, Tensor) or lengths.shape != (batch,):
        raise invalid("lengths", f"a tensor of {batch} integers, one a trajectory", lengths)
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise invalid("lengths", "integers", lengths.dtype)
    lengths = lengths.detach().to("cpu", torch.int64)
    least, most = int(lengths.min()), int(lengths.max())
    if least < context + 1:
        rule = f"at least {context + 1}: {context} to start from and one to predict"
        raise invalid("lengths", rule, least)
    if most > padded:
        raise invalid("lengths", f"at most {padded}, the frames that `trajectories` has", most)
    return (lengths - 1).numpy()


def check_finite(given: Given) -> None:
    """Frames that are finite, where a loss is not: is it f or the data?"""
    _check_frames(given, given.frames.detach().isfinite(), "finite")


def _check_unit(given: Given) -> None:
    """Frames in [0, 1]. What no loss will see may hold anything, and rarely does."""
    frames = given.frames.detach()
    low, high = torch.aminmax(frames)
    if not bool((low >= 0) & (high <= 1)):
        _check_frames(given, (frames >= 0) & (frames <= 1), "in [0, 1] for the cross-entropy")


def _check_frames(given: Given, right: Tensor, rule: str) -> None:
    batch, padded = right.shape[:2]
    seen = given.observed
    if seen is None:
        seen = np.arange(padded) <= given.last[:, None]
    wrong = np.argwhere(seen & ~right.reshape(batch, padded, -1).all(2).cpu().numpy())
    if len(wrong):
        b, t = wrong[0]
        off = given.frames[b, t][~right[b, t]]
        raise InvalidInput(
            f"Parameter `trajectories` should be {rule}. Found {float(off.flatten()[0]):g} in "
            f"frame {t} of trajectory {b}."
        )


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
