"""The model, called and looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import InvalidInput, invalid
from ._given import Given, Indices


def called(
    f: Callable[..., Any], x: Tensor, *more: Tensor, frame: torch.Size, cumulant: bool = False
) -> tuple[Tensor, Tensor | None]:
    """A frame for each of ``x``, ``[n, *frame]``, and, where asked for, a cumulant, ``[n]``."""
    # A copy: what was fed is matched, aligned or returned later, and an f that begins with
    # ReLU(inplace=True) writes into what it is given.
    found, gain = f(x.clone(), *more), None
    if cumulant:
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise InvalidInput(
                "With `cumulants`, `f` should return a pair: frame and cumulant. Found "
                f"{type(found).__name__}."
            )
        found, gain = found
        if not isinstance(gain, Tensor) or gain.shape != x.shape[:1]:
            raise invalid("f", f"a model of a cumulant for each frame, ({len(x)},)", _shape(gain))
    wanted = (len(x), *frame)
    if _shape(found) != wanted:
        raise InvalidInput(
            f"Parameter `f` should return a frame for each that it is given, {wanted}. Found "
            f"{_shape(found)}."
        )
    return found, gain


class Cumulants:
    """What is gained on the way from one frame to another (equation 2.3 of the thesis)."""

    def __init__(self, cumulants: Tensor, given: Given, weight: float) -> None:
        wanted = tuple(given.frames.shape[:2])
        if _shape(cumulants) != wanted:
            raise invalid("cumulants", f"a tensor {list(wanted)}", _shape(cumulants))
        # float64: a gain is the difference of two sums. The first frame is not arrived at.
        gained = cumulants.detach().cpu().double().numpy().copy()
        t = np.arange(wanted[1])
        gained[(t == 0) | (t > given.last[:, None])] = 0
        if not np.isfinite(gained).all():
            row, at = np.argwhere(~np.isfinite(gained))[0]
            raise invalid("cumulants", "finite", f"{gained[row, at]} at [{row}, {at}]")
        self.until = gained.cumsum(1)
        self.weight = weight

    def error(self, gain: Tensor, rows: Indices, start: Indices, at: Indices) -> Tensor:
        """Squared error of predicted gains on the ways to ``at``: ``[n]``, or ``[n, W]``."""
        each = (-1, *[1] * (at.ndim - 1))
        target = self.until[rows.reshape(each), at] - self.until[rows, start].reshape(each)
        gain = gain.view(each).to(torch.promote_types(gain.dtype, torch.float32))
        return self.weight * (gain - torch.from_numpy(target).to(gain)).square()


def check_actions(actions: Tensor, given: Given) -> Tensor:
    """``[B, T, A]``, in one piece."""
    batch, padded = given.frames.shape[:2]
    if (
        not isinstance(actions, Tensor)
        or actions.dim() != 3
        or actions.shape[:2] != (batch, padded)
    ):
        raise invalid("actions", f"a tensor [{batch}, {padded}, A]", _shape(actions))
    return actions.contiguous()


def check_finite_actions(given: Given, actions: Tensor) -> None:
    """Actions that are finite, where a loss is not; those from the last frame on do not count."""
    before = np.arange(actions.shape[1]) < given.last[:, None]
    wrong = np.argwhere(before & ~actions.detach().isfinite().all(2).cpu().numpy())
    if len(wrong):
        b, t = wrong[0]
        raise invalid("actions", "finite", f"{actions[b, t].tolist()} at [{b}, {t}]")


def ahead(
    given: Given, actions: Tensor, rows: Indices, at: Indices, horizon: int
) -> tuple[Tensor, Tensor]:
    """Actions from ``at`` on, ``[n, H, A]``, and which lie before the last frame, ``[n, H]``."""
    steps = at[:, None] + np.arange(horizon)
    before = torch.from_numpy(steps < given.last[rows, None]).to(actions.device)
    found = given.take(actions, rows, np.minimum(steps, actions.shape[1] - 1))
    return found.masked_fill(~before.unsqueeze(2), 0), before


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
