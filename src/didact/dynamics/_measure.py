"""How near a model comes to where trajectories end, and how often it is called for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .._checks import Diverged
from ..skips import rollout, skip_loss, squared_error
from ._models import OfStates
from ._train import Steps, loss_of

Floats = NDArray[np.float64]
AT_ONCE = 2**22
"""Numbers of as many trajectories as are looked at together."""


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
    """Calls of each trajectory, and all skips; of one that is left behind a call for each frame."""
    found = [_pace(model, steps, *part, context) for part in _parts(frames, lengths)]
    calls, skips = zip(*found, strict=True)
    return np.concatenate(calls), np.concatenate(skips)


def _pace(
    model: nn.Module, steps: Steps, frames: Tensor, lengths: Tensor, context: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    try:
        with torch.no_grad():
            found = skip_loss(
                model, frames, lengths, horizon=steps.horizon, shortest=steps.shortest,
                loss=loss_of(model), context=context,
            )  # fmt: skip
    except Diverged:
        if len(frames) == 1:
            calls = int(lengths[0]) - context
            return np.array([calls]), np.ones(calls, np.int64)
        halves = zip(frames.tensor_split(2), lengths.tensor_split(2), strict=True)
        calls_of_each, skips = zip(
            *(_pace(model, steps, *half, context) for half in halves), strict=True
        )
        return np.concatenate(calls_of_each), np.concatenate(skips)
    made = found.matched >= 0
    return made.sum(0).cpu().numpy(), found.skips[made].cpu().numpy()


def _parts(frames: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """So many trajectories at once that memory is no matter."""
    count = max(1, AT_ONCE // frames[0].numel())
    return zip(torch.split(frames, count), torch.split(lengths, count), strict=True)


def approaches(
    model: nn.Module, frames: Tensor, lengths: Tensor, context: int, calls: int
) -> tuple[Floats, Floats]:
    """``still``, and ``end`` of so many calls."""
    found = [_approach(model, *part, context, calls)[:2] for part in _parts(frames, lengths)]
    still, end = zip(*found, strict=True)
    return np.concatenate(still), np.concatenate(end)


def _approach(
    model: nn.Module, frames: Tensor, lengths: Tensor, context: int, calls: int
) -> tuple[Floats, Floats, Tensor]:
    """The same with predictions, ``[n, calls, *frame]``."""
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
    model: nn.Module, steps: Steps, frames: Tensor, lengths: Tensor, context: int,
    calls: int | None = None,
) -> float:  # fmt: skip
    """What is chosen by: mean end error as a share of standing still's.

    With so many calls; ``None``: as many as the model needs at its own pace.
    """
    own = np.full(len(frames), calls)
    if calls is None:
        own, _ = own_pace(model, steps, frames, lengths, context)
    still, end = approaches(model, frames, lengths, context, int(own.max()))
    return float(end[np.arange(len(own)), own - 1].mean() / still.mean())


def measure(
    model: nn.Module, steps: Steps, frames: Tensor, lengths: Tensor, context: int, grid: list[int]
) -> Measured:
    """Everything, with up to ``grid[-1]`` calls."""
    own, skips = own_pace(model, steps, frames, lengths, context)
    found = []
    for few, n in _parts(frames, lengths):
        still, end, made = _approach(model, few, n, context, grid[-1])
        path = [
            _paths(model, one[context:k], ahead)[[min(e, k - context) - 1 for e in grid]]
            for one, k, ahead in zip(few, n.tolist(), made, strict=True)
        ]
        found.append((still, end, np.stack(path)))
    stills, ends, paths = map(np.concatenate, zip(*found, strict=True))
    return Measured(stills, ends, paths, own, skips)


def _paths(model: nn.Module, frames: Tensor, made: Tensor) -> Floats:
    """Path error with at most 1, 2, … calls, as many as there are frames: by dynamic programming.

    The least mean over ``t_1 < … < t_k``, the last of the frames, of the distances of the k first
    predictions; ``D_k(t) = L(x̂_k, x_t) + min_{s < t} D_{k−1}(s)``.
    """
    far = distance(model)
    before = torch.zeros(len(frames), device=frames.device, dtype=torch.float64)
    means = []
    for k, one in enumerate(made[: len(frames)], start=1):
        cost = far(one.expand_as(frames), frames).flatten(1).mean(1).double()
        total = cost.nan_to_num(torch.inf, posinf=torch.inf) + before
        means.append(float(total[-1]) / k)
        before = F.pad(total.cummin(0).values[:-1], (1, 0), value=torch.inf)
    return np.minimum.accumulate(np.array(means))


def example(
    model: nn.Module, steps: Steps, frames: Tensor, lengths: Tensor, context: int
) -> dict[str, NDArray[Any]]:
    """The first trajectory: recorded, predicted, and which frame each prediction is taken for."""
    frames = frames[:1, : int(lengths[0])]
    _, skips = own_pace(model, steps, frames, lengths[:1], context)
    first = frames[:, 0] if context == 1 else frames[:, :context]
    made = rollout(model, first, len(skips), context=context)[0, context:]
    return {
        "example_recorded": frames[0].cpu().numpy(),
        "example_made": made.cpu().numpy(),
        "example_at": context - 1 + skips.cumsum(),
    }


def calls_of(longest: int) -> list[int]:
    """1, 2, 4, … and the most that a trajectory may get."""
    found = [1]
    while 2 * found[-1] < longest:
        found.append(2 * found[-1])
    return found if found[-1] == longest else [*found, longest]
