"""Algorithm 3 as it is printed: a loop over trajectories, steps and the frames of a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy(prediction, target, reduction="none")


def squares(prediction: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(prediction, target, reduction="none")


@dataclass
class Literal:
    """Loss, and the matched frames of each trajectory."""

    losses: list[Tensor] = field(default_factory=list)
    matched: list[list[int]] = field(default_factory=list)

    @property
    def loss(self) -> Tensor:
        return torch.stack(self.losses).mean()

    def padded(self) -> list[list[int]]:
        """``[steps][B]``, as `SkipLoss.matched`."""
        steps = max(map(len, self.matched))
        return [[m[u] if u < len(m) else -1 for m in self.matched] for u in range(steps)]


def draws_of(generator: torch.Generator, steps: int, batch: int) -> list[list[list[float]]]:
    """The draws of every step: coin to explore, place in the window, coin to feed back."""
    return [torch.rand(3, batch, generator=generator).tolist() for _ in range(steps)]


def literal(
    f: Callable[..., Any],
    trajectories: Tensor,
    lengths: list[int],
    *,
    horizon: int,
    shortest: int = 1,
    exploration: float = 0.0,
    teacher_forcing: float = 0.0,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    draws: list[list[list[float]]] | None = None,
    observed: Tensor | None = None,
    cumulants: Tensor | None = None,
    cumulant_weight: float = 1.0,
    actions: Tensor | None = None,
    context: int = 1,
) -> Literal:
    found = Literal()
    for b, length in enumerate(lengths):
        there = [observed is None or bool(observed[b, s]) for s in range(length)]
        last = max(s for s in range(length) if there[s])
        fed = [trajectories[b, s] for s in range(context)]
        t, path = context - 1, []
        while t < last:
            x = fed[-1] if context == 1 else torch.stack(fed[-context:])
            more = []
            if actions is not None:
                ahead = [t + h for h in range(horizon)]
                more = [
                    torch.stack([actions[b, s] if s < last else 0 * actions[b, 0] for s in ahead])[
                        None
                    ],
                    torch.tensor([[s < last for s in ahead]]),
                ]
            out = f(x[None], *more)
            prediction = out[0][0] if cumulants is not None else out[0]

            def cost(
                s: int, b: int = b, t: int = t, out: Any = out, prediction: Tensor = prediction
            ) -> Tensor:
                value = loss(prediction, trajectories[b, s]).mean()
                if cumulants is not None:
                    gained = sum(float(c) for c in cumulants[b, t + 1 : s + 1])
                    value = value + cumulant_weight * (out[1][0] - gained) ** 2
                return value

            upper = min(t + horizon, last)
            window = [s for s in range(min(t + shortest, last), upper + 1) if there[s]]
            if not window:
                window = [min(s for s in range(t + shortest, length) if there[s])]
            explore, place, feed = (1.0, 0.0, 0.5) if draws is None else (
                row[b] for row in draws[len(path)]
            )  # fmt: skip
            if explore < exploration:
                chosen = window[int(place * len(window))]
            else:
                chosen = min(window, key=lambda s: float(cost(s).detach()))
            found.losses.append(cost(chosen))
            path.append(chosen)
            t = chosen
            fed.append(trajectories[b, t] if feed < teacher_forcing else prediction)
        found.matched.append(path)
    return found
