"""Adaptive skip intervals: a model is trained on the frame that it predicts best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import Diverged, check_callable, check_integer, check_number, invalid
from ._call import Cumulants, ahead, called, check_actions, check_finite_actions
from ._given import Indices, check_finite, check_given
from ._losses import Loss, binary_cross_entropy, explained, of_frames, ranked
from ._window import bounds, columns, drawn, nearest


@dataclass(frozen=True)
class SkipLoss:
    """What :func:`skip_loss` came to.

    Attributes:
        loss: mean over all steps of all trajectories together.
        matched: index, from 0, of the frame that each prediction was matched with, ``[steps, B]``;
            −1 after a trajectory has ended.
        evaluations: frames that f was called on, which is steps of all trajectories.
        context: frames that each trajectory started from.
    """

    loss: Tensor
    matched: Tensor
    evaluations: int
    context: int = 1

    @property
    def skips(self) -> Tensor:
        """Frames from one match to the next, ``[steps, B]``; 0 after a trajectory has ended."""
        start = self.matched.new_full((1, self.matched.shape[1]), self.context - 1)
        return (self.matched - torch.cat([start, self.matched[:-1]])).clamp_min(0)


def skip_loss(
    f: Callable[..., Any],
    trajectories: Tensor,
    lengths: Tensor | None = None,
    *,
    horizon: int = 20,
    shortest: int = 1,
    exploration: float = 0.0,
    teacher_forcing: float = 0.0,
    loss: Loss = binary_cross_entropy,
    generator: torch.Generator | None = None,
    observed: Tensor | None = None,
    cumulants: Tensor | None = None,
    cumulant_weight: float = 1.0,
    actions: Tensor | None = None,
    context: int = 1,
) -> SkipLoss:
    r"""Loss of a model that predicts what comes next, but not when.

    From t = 1 and x = x_1, until the trajectory's last frame T is reached:

        ``x̂ = f(x)``,   window = {t + shortest .. min(t + H, T)},
        ``t ← argmin_s L(x̂, x_s)`` in the window; with probability μ any of it,
        ``loss += L(x̂, x_t)``,
        ``x ← x̂``; with probability ε the true frame x_t.

    The search has no gradient. The loss of the matched frame has, through all predictions that led
    to it; frames of the trajectories are constants as targets. ``shortest=horizon=Δ`` are fixed
    steps; exploration 0 is greedy. Of equally good frames the first is matched.

    Reference: A. Neitz, G. Parascandolo, S. Bauer & B. Schölkopf, "Adaptive skip intervals:
    Temporal abstraction for recurrent dynamical models", NeurIPS 2018, Algorithm 1 (with
    comments: Algorithm 3 of A. Neitz's thesis).

    Args:
        f: ``[n, *frame] → [n, *frame]``, for the n trajectories that have not ended. With actions
            ``f(x, actions [n, H, A], mask [n, H])``: those from t on, and which of them lie before
            T; the others are 0.
        trajectories: ``[B, T, *frame]``.
        lengths: frames of each trajectory, ``[B]``; what lies beyond may be anything. None: T.
        horizon: H, the longest skip, in frames.
        shortest: the shortest. A window that would begin beyond T is {T}.
        exploration: μ. Schedules: :func:`linear`, :func:`cosine`.
        teacher_forcing: ε (scheduled sampling). Schedules: :func:`reciprocal`.
        loss: L(x̂, x), number by number, averaged here over the frame: called on ``[n, *frame]``
            and on ``[n, window, *frame]``.
        generator: every draw comes from it, at each step ``torch.rand(3, B)``: whether to explore,
            where in the window, whether to feed back x_t. None if nothing is left to chance.
        observed: bool ``[B, T]``; frames that are missing are neither matched nor fed back, and may
            hold anything. The first must be there; T is the last that is. A window in which none
            is, is the next that is.
        cumulants: ``[B, T]``, of which each belongs to the arrival at its frame, be that frame
            missing or not. f returns a pair (frame, cumulant ``[n]``), whose target is the sum over
            the skip, up to x_t (eq. 2.3).
        cumulant_weight: of its squared error, which is part of L.
        actions: ``[B, T, A]``; each leads from its frame to the next.
        context: k, frames that a trajectory starts from. f is called on the last k that it
            was fed, ``[n, k, *frame]`` if k > 1.

    Returns:
        :class:`SkipLoss`: loss, matched frames, skips, evaluations.

    Raises:
        InvalidInput: lengths below k + 1 or beyond the padding, numbers outside their range, frames
            outside [0, 1] with the cross-entropy, f or loss of another shape; frames or
            actions that are not finite, where the loss is not.
        Diverged: a loss that is not finite, with its step.

    Example:
        >>> x = torch.linspace(0, 1, 9)[None, :, None]  # one trajectory of 9 numbers
        >>> half = lambda x: x + 0.5
        >>> found = skip_loss(half, x, horizon=6, loss=lambda x, y: (x - y) ** 2)
        >>> found.matched[:, 0].tolist(), found.skips[:, 0].tolist(), float(found.loss)
        ([4, 8], [4, 4], 0.0)
    """
    check_callable("f", f)
    check_integer("horizon", horizon)
    check_integer("shortest", shortest)
    if shortest > horizon:
        raise invalid("shortest", f"at most the horizon, {horizon}", shortest)
    check_number("exploration", exploration, at_least=0, at_most=1)
    check_number("teacher_forcing", teacher_forcing, at_least=0, at_most=1)
    check_number("cumulant_weight", cumulant_weight, at_least=0)
    random = exploration > 0 or 0 < teacher_forcing < 1
    if not isinstance(generator, torch.Generator) and (random or generator is not None):
        rule = "a torch.Generator: there is something to draw" if random else "a torch.Generator"
        raise invalid("generator", rule, generator)
    given = check_given(trajectories, lengths, loss, context, observed)
    gains = None if cumulants is None else Cumulants(cumulants, given, cumulant_weight)
    actions = None if actions is None else check_actions(actions, given)
    trajectories = given.frames
    batch, padded = trajectories.shape[:2]
    frame, device = trajectories.shape[2:], trajectories.device
    width = min(horizon - shortest + 1, padded)
    rows, last = np.arange(batch), given.last
    at = np.full(batch, context - 1)
    x = trajectories[:, 0] if context == 1 else trajectories[:, :context]
    predictions: list[Tensor] = []
    gained: list[Tensor] = []
    path: list[tuple[Indices, Indices, Indices]] = []
    while len(rows):
        more = () if actions is None else ahead(given, actions, rows, at, horizon)
        prediction, gain = called(f, x, *more, frame=frame, cumulant=gains is not None)
        if generator is not None:
            draws = torch.rand(
                3, batch, generator=generator, device=generator.device, dtype=torch.float32
            )
            explore, place, truth = draws.cpu().numpy()[:, rows]
        start = at
        low, high = bounds(given, rows, at, last, min(shortest, padded), min(horizon, padded))
        at = low
        if width > 1:
            frames = columns(low, high, width)
            if exploration < 1:
                with torch.no_grad():
                    costs = ranked(loss, prediction, given.take(trajectories, rows, frames))
                    if gains is not None and gain is not None:
                        costs += gains.error(gain, rows, start, frames)
                at = nearest(given, rows, low, high, frames, costs)
            if exploration > 0:
                other = drawn(given, rows, low, high, frames, place)
                at = np.where(explore < exploration, other, at)
        predictions.append(prediction)
        if gain is not None:
            gained.append(gain)
        path.append((rows, start, at))
        fed = prediction
        if teacher_forcing > 0:
            fed = given.take(trajectories, rows, at)
            if teacher_forcing < 1:
                coin = torch.from_numpy(truth < teacher_forcing).to(device)
                fed = torch.where(coin.view(-1, *[1] * len(frame)), fed, prediction)
        x = fed if context == 1 else torch.cat([x[:, 1:], fed.unsqueeze(1)], 1)
        running = np.flatnonzero(at < last)
        if len(running) < len(rows):
            rows, at, last = rows[running], at[running], last[running]
            x = x.index_select(0, torch.from_numpy(running).to(device))
    counts = [len(each) for each, _, _ in path]
    rows, start, at = (np.concatenate(each) for each in zip(*path, strict=True))
    target = given.take(trajectories.detach(), rows, at)
    values = of_frames(loss, torch.cat(predictions), target)
    if gains is not None:
        values = values + gains.error(torch.cat(gained), rows, start, at)
    step = np.repeat(np.arange(len(counts)), counts)
    if not bool(values.isfinite().all()):
        check_finite(given)
        if actions is not None:
            check_finite_actions(given, actions)
        wrong = int((~values.isfinite()).nonzero()[0])
        why = explained(loss, predictions[step[wrong]].detach())
        if not why and gained and not bool(gained[step[wrong]].isfinite().all()):
            why = " The cumulant that f returned is not finite."
        raise Diverged(f"The loss of step {step[wrong]} is {float(values[wrong].detach())}.{why}")
    matched = np.full((len(counts), batch), -1)
    matched[step, rows] = at
    return SkipLoss(values.mean(), torch.from_numpy(matched).to(device), len(rows), context)
