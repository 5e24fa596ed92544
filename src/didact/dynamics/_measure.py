"""How near a model comes to where trajectories end, and how often it is called for that."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..skips import aligned_loss, rollout, skip_loss, squared_error
from ._models import OfStates
from ._train import Steps, loss_of

Floats = NDArray[np.float64]


class Measured(NamedTuple):
    """Of each trajectory; errors are mean squares, of states in units of their scale.

    Attributes:
        still: error of staying in the first frame, ``[n]``.
        end: the least distance to the last frame with at most e calls, e = 1 …, ``[n, calls]``; a
            trajectory gets no more calls than it has frames to come.
        path: mean distance along the best alignment of the first predictions, at most as many as
            ``grid`` says, with ever later frames, the last with the last, ``[n, grid]``.
        own: calls that bring the model from the first frame to the last, ``[n]``, if each is
            taken for the frame that its loss takes it for.
        skips: frames of each of those calls, of all trajectories.
    """

    still: Floats
    end: Floats
    path: Floats
    own: NDArray[np.int64]
    skips: NDArray[np.int64]


def distance(model: nn.Module) -> Any:
    """What errors are measured by."""
    return loss_of(model) if isinstance(model, OfStates) else squared_error


def own_pace(
    model: nn.Module, steps: Steps, frames: Tensor, lengths: Tensor, context: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Calls of each trajectory, and all skips."""
    with torch.no_grad():
        found = skip_loss(
            model, frames, lengths, horizon=steps.horizon, shortest=steps.shortest,
            loss=loss_of(model), context=context,
        )  # fmt: skip
    made = found.matched >= 0
    return made.sum(0).cpu().numpy(), found.skips[made].cpu().numpy()


def approaches(
    model: nn.Module, frames: Tensor, lengths: Tensor, context: int, calls: int
) -> tuple[Floats, Floats, Tensor]:
    """``still``, ``end`` of so many calls, and the predictions ``[n, calls, *frame]``."""
    far = distance(model)
    rows = torch.arange(len(frames), device=frames.device)
    last = frames[rows, lengths - 1]
    first = frames[:, 0] if context == 1 else frames[:, :context]
    made = rollout(model, first, calls, context=context)[:, context:]
    each = far(made, last.unsqueeze(1).expand_as(made)).flatten(2).mean(2)
    beyond = torch.arange(calls, device=frames.device) >= (lengths - context).unsqueeze(1)
    least = (
        each.nan_to_num(torch.inf, posinf=torch.inf).masked_fill(beyond, torch.inf).cummin(1).values
    )
    here = frames[rows, torch.full_like(rows, context - 1)]
    still = far(here, last).flatten(1).mean(1)
    return still.double().cpu().numpy(), least.double().cpu().numpy(), made


def value(
    model: nn.Module, steps: Steps, frames: Tensor, lengths: Tensor, context: int
) -> float:  # fmt: skip
    """What is chosen by: mean end error at the model's own pace, as a share of standing still's."""
    own, _ = own_pace(model, steps, frames, lengths, context)
    still, end, _ = approaches(model, frames, lengths, context, int(own.max()))
    return float(end[np.arange(len(own)), own - 1].mean() / still.mean())


def measure(
    model: nn.Module, steps: Steps, frames: Tensor, lengths: Tensor, context: int, grid: list[int]
) -> Measured:
    """Everything, with up to ``grid[-1]`` calls."""
    own, skips = own_pace(model, steps, frames, lengths, context)
    still, end, made = approaches(model, frames, lengths, context, grid[-1])
    path = np.array(
        [
            [
                _path(model, frames[i, context - 1 : n], made[i], min(calls, n - context))
                for calls in grid
            ]
            for i, n in enumerate(lengths.tolist())
        ]
    )
    return Measured(still, end, path, own, skips)


def _path(model: nn.Module, frames: Tensor, made: Tensor, calls: int) -> float:
    replayed = iter(made[:calls])
    if not bool(made[:calls].isfinite().all()):
        return float("inf")
    with torch.no_grad():
        found = aligned_loss(
            lambda x: next(replayed).unsqueeze(0), frames.unsqueeze(0), horizon=len(frames),
            steps=calls, loss=distance(model),
        )  # fmt: skip
    return float(found.loss)


def calls_of(longest: int) -> list[int]:
    """1, 2, 4, … and the most that a trajectory may get."""
    found = [1]
    while 2 * found[-1] < longest:
        found.append(2 * found[-1])
    return found if found[-1] == longest else [*found, longest]
