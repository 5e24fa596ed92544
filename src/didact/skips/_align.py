"""Global alignment: all predictions against all frames at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .._checks import Diverged, check_callable, check_integer, check_number, invalid
from ._call import called
from ._given import Indices, check_finite, check_given
from ._losses import Loss, binary_cross_entropy, explained, of_frames, of_windows
from ._skip_loss import SkipLoss
from ._sliding import least_before

NEVER = -1e30
"""Logarithm of the weight of what cannot be; finite, so that its gradient is 0 and not NaN."""
COLDEST = 1e-12
"""Below, losses over the temperature would come near to it."""


def aligned_loss(
    f: Callable[..., Any],
    trajectories: Tensor,
    lengths: Tensor | None = None,
    *,
    horizon: int = 20,
    steps: int | None = None,
    temperature: float = 0.0,
    loss: Loss = binary_cross_entropy,
) -> SkipLoss:
    r"""Loss of free predictions x̂_1, x̂_2, … that are aligned with the frames as well as can be.

    Where :func:`skip_loss` decides step by step, this looks at all alignments
    0 = t_0 < t_1 < … < t_K = T with skips of at most H, and at all K:

        ``min_K min_t (1/K) Σ_k L(x̂_k, x_{t_k})``,

    by dynamic programming, ``D_k(s) = L(x̂_k, x_s) + min_{1 ≤ h ≤ H} D_{k−1}(s − h)``, in
    O(K · T) after the losses, by a sliding minimum. At a temperature τ > 0, in O(K · T · H), both
    minima are soft,
    ``−τ log Σ exp(−·/τ)``: every alignment takes part in the gradient, and the loss, which may be
    negative, tends to the hard one as τ → 0. There is no teacher forcing: which true frame comes
    next is known only at the end.

    Reference: beyond the paper, which names it; soft minima as in M. Cuturi & M. Blondel,
    "Soft-DTW", ICML 2017.

    Args:
        f: ``[n, *frame] → [n, *frame]``.
        trajectories: ``[B, T, *frame]``.
        lengths: frames of each trajectory, ``[B]``. None: T.
        horizon: H, the longest skip, in frames.
        steps: the largest K, for which f is called K times. None: a step for every frame.
        temperature: τ, in units of the loss; 0, or at least 10⁻¹². Above 0 the losses of all pairs
            are in the graph.
        loss: as in :func:`skip_loss`, called on ``[n, T, *frame]``.

    Returns:
        :class:`SkipLoss`: the mean over trajectories, and the best alignment.

    Raises:
        InvalidInput: as in :func:`skip_loss`; frames that are not finite; so few steps that the
            last frame cannot be reached.
        Diverged: a prediction that is not finite, whether aligned or not: its gradient would not be
            finite either. Fewer ``steps`` may help.

    Example:
        >>> x = torch.tensor([0.0, 0.4, 0.5, 0.9, 1.0])[None, :, None]
        >>> found = aligned_loss(lambda x: x + 0.5, x, loss=lambda p, t: (p - t) ** 2)
        >>> found.matched[:, 0].tolist(), float(found.loss)
        ([2, 4], 0.0)
    """
    check_callable("f", f)
    check_integer("horizon", horizon)
    check_number("temperature", temperature, at_least=0)
    if 0 < temperature < COLDEST:
        raise invalid("temperature", f"0, or at least {COLDEST:g}", temperature)
    given = check_given(trajectories, lengths, loss)
    check_finite(given)
    longest = int(given.last.max())
    most = longest if steps is None else min(check_integer("steps", steps), longest)
    if most * horizon < longest:
        rule = f"at least {-(-longest // horizon)}, to reach frame {longest} by skips of {horizon}"
        raise invalid("steps", rule, steps)
    # The longest first: those that are still running are the first n, without a copy.
    order = np.argsort(-given.last, kind="stable")
    last, rows = given.last[order], torch.from_numpy(order).to(trajectories.device)
    x = given.frames.index_select(0, rows)
    ends = torch.from_numpy(last).to(x.device)
    beyond = torch.arange(x.shape[1], device=x.device) > ends.unsqueeze(1)
    frames = x.detach().masked_fill(beyond.view(*beyond.shape, *[1] * (x.dim() - 2)), 0)
    x = x[:, 0]
    best = _Best(last, ends)
    predictions, soft = [], []
    total = torch.full(
        beyond.shape, torch.inf, device=x.device,
        dtype=torch.promote_types(x.dtype, torch.float32),
    )  # fmt: skip
    total[:, 0] = 0
    weight = total.masked_fill(total > 0, NEVER)
    for k in range(1, most + 1):
        n = int((last >= k).sum())
        x, _ = called(f, x[:n], frame=frames.shape[2:])
        predictions.append(x)
        with torch.set_grad_enabled(temperature > 0 and torch.is_grad_enabled()):
            costs = of_windows(loss, x, frames[:n])
        total = best.step(costs.detach(), total[:n], horizon)
        if temperature > 0:
            weight = _sum_before(weight[:n], horizon) - costs / temperature
            end = weight.gather(1, ends[:n].unsqueeze(1)).squeeze(1)
            soft.append(F.pad(end, (0, len(last) - n), value=NEVER) / k)
    finite = torch.stack([each.isfinite().all() for each in predictions])
    if not bool(finite.all()):
        wrong = int((~finite).nonzero()[0])
        raise Diverged(
            f"Step {wrong} of the free rollout, of {most}, is not finite. Fewer `steps` may help."
        )
    try:
        matched, number = best.traced()
    except Diverged as error:
        every = torch.cat(predictions).detach()
        raise Diverged(f"{error}{explained(loss, every)}") from None
    if temperature > 0:
        value = -temperature * torch.stack(soft).logsumexp(0).mean()
    else:
        step, row = np.nonzero(matched >= 0)
        chosen = [
            each[torch.from_numpy(row[step == k]).to(x.device)]
            for k, each in enumerate(predictions)
        ]
        target = given.take(frames, row, matched[step, row])
        values = of_frames(loss, torch.cat(chosen), target)
        share = torch.from_numpy(1 / (number[row] * len(last))).to(values)
        value = (values * share).sum()
    found = np.empty_like(matched)
    found[:, order] = matched
    calls = sum(map(len, predictions))
    return SkipLoss(value, torch.from_numpy(found).to(trajectories.device), calls)


def _sum_before(weights: Tensor, width: int) -> Tensor:
    """Logarithm of the sum of the ``width`` weights before each: ``[n, T]`` → ``[n, T]``."""
    width = min(width, weights.shape[1])
    return F.pad(weights, (width, 0), value=NEVER).unfold(1, width, 1)[:, :-1].logsumexp(2)


class _Best:
    """The alignment of least mean cost, found step by step. Longest trajectories first."""

    def __init__(self, last: Indices, ends: Tensor) -> None:
        self.last, self.ends = last, ends.unsqueeze(1)
        self.back: list[Tensor] = []
        self.means: list[Tensor] = []

    def step(self, costs: Tensor, total: Tensor, horizon: int) -> Tensor:
        """D_k from D_{k−1}: both ``[n, T]``."""
        least, where = least_before(total, horizon)
        total = costs + least
        self.back.append(where)
        mean = total.gather(1, self.ends[: len(total)]).squeeze(1) / len(self.back)
        self.means.append(F.pad(mean, (0, len(self.last) - len(mean)), value=torch.inf))
        return total

    def traced(self) -> tuple[Indices, Indices]:
        """Matched frames, ``[K, B]`` with −1 after the end, and the number of steps, ``[B]``."""
        means = torch.stack(self.means).cpu().numpy()
        if np.isnan(means).any():
            raise Diverged(f"The loss of step {np.argwhere(np.isnan(means))[0, 0]} is nan.")
        if np.isinf(means.min(0)).any():
            raise Diverged("The loss of every alignment is infinite.")
        number = means.argmin(0) + 1
        at = self.last.copy()
        matched = np.full((int(number.max()), len(at)), -1)
        for k in range(len(matched) - 1, -1, -1):
            rows = np.flatnonzero(number > k)
            matched[k, rows] = at[rows]
            at[rows] = self.back[k].cpu().numpy()[rows, at[rows]]
        return matched, number
