"""Adaptive skip intervals of a model that is told what will be done, and tells how long it took."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ..skips import skip_loss
from ..tasks import Trajectories
from ._asi_learners import Found, Matching, Method, found_of
from ._asi_nets import FrameModel, he_normal

MAPS = 8
"""Channels beside the frame, the same everywhere: what the actions come to."""
WEIGHT = 1e-4
"""Of the squared error of the duration, in frames², beside the cross-entropy."""


class DrivenModel(nn.Module):
    """Frame and actions to the frame after some of them, and how many: ``f(x, ahead, mask)``."""

    def __init__(self, settings: dict[str, Any], generator: Generator) -> None:
        super().__init__()
        filters, horizon = settings["filters"], settings["horizon"]
        self.read = nn.Sequential(
            nn.Linear(3 * horizon, 64), nn.ReLU(), nn.Linear(64, MAPS), nn.ReLU()
        )
        self.frame = FrameModel(
            settings["architecture"], filters, generator, 3 + MAPS, settings["residual"]
        )
        self.duration = nn.Linear(MAPS, 1)
        he_normal([*self.read, self.duration], generator)

    def forward(self, x: Tensor, ahead: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``[n, 3, height, width]``, ``[n, H, 2]``, ``[n, H]`` → frame, frames skipped ``[n]``."""
        ways = torch.cat([ahead.cumsum(1).flatten(1), mask.to(ahead)], 1)
        known = self.read(ways)
        maps = known[:, :, None, None].expand(-1, -1, *x.shape[2:])
        duration = 1 + F.softplus(self.duration(known)).squeeze(1)
        return self.frame(torch.cat([x, maps], 1)), duration


class Driven:
    """Actions are the ways from frame to frame. At test time the model keeps the time itself."""

    def __init__(
        self, method: Method, settings: dict[str, Any], generator: Generator, device: str
    ) -> None:
        self.horizon = settings["horizon"]
        self.shortest = self.horizon if method == "fixed_actions" else 1
        self.model = DrivenModel(settings, generator).to(device)

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()

    def loss(self, data: Trajectories, rows: Tensor, matching: Matching) -> Found:
        frames, lengths = data.batch(rows)
        actions = ways(data, rows)
        found = skip_loss(
            self.model, frames, lengths, horizon=self.horizon, shortest=self.shortest,
            **matching, actions=actions, cumulants=torch.ones_like(actions[..., 0]),
            cumulant_weight=WEIGHT,
        )  # fmt: skip
        return found_of(found)

    def predict(self, data: Trajectories, rows: Tensor, steps: int) -> Tensor:
        x, actions = data.first[rows], ways(data, rows)
        # Nothing is done after the end, and none of it counts.
        actions = F.pad(actions, (0, 0, 0, self.horizon))
        last = data.lengths[rows] - 1
        at = torch.zeros_like(last)
        each = torch.arange(self.horizon, device=at.device)
        frames = []
        for _ in range(steps):
            places = at[:, None] + each
            mask = places < last[:, None]
            ahead = actions.gather(1, places[..., None].expand(-1, -1, 2)) * mask[..., None]
            following, duration = self.model(x, ahead, mask)
            over = (at >= last)[:, None, None, None]
            x = torch.where(over, x, following)
            skip = duration.round().long().clamp(self.shortest, self.horizon)
            at = torch.minimum(at + skip, last)
            frames.append(x)
        return torch.stack(frames, 1)


def ways(data: Trajectories, rows: Tensor) -> Tensor:
    """From each frame to the next, ``[rows, time, 2]``; zeros from the last on."""
    lengths = data.lengths[rows]
    starts = data.lengths.cumsum(0)[rows] - lengths
    time = torch.arange(int(lengths.max()), device=rows.device)
    here = time.minimum(lengths[:, None] - 1)
    following = (here + 1).minimum(lengths[:, None] - 1)
    start = starts[:, None]
    found = data.positions[start + following] - data.positions[start + here]
    return found.to(torch.get_default_dtype())
