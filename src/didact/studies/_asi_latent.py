"""Adaptive skip intervals in the space of an auto-encoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ..skips import binary_cross_entropy, latent_skip_loss, rollout
from ..tasks import Trajectories
from ._asi_learners import Found, Matching, found_of
from ._asi_nets import he_normal

MAPS = 8
"""Channels of a latent frame, which has half the height and width."""
DECODED = 8
"""Frames of a batch that the decoder learns from."""


class Encoder(nn.Module):
    """``[n, 3, height, width]`` → ``[n, 8, height / 2, width / 2]``."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, filters, 5, 2, 2)
        self.second = nn.Conv2d(filters, MAPS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.second(self.first(x).relu())
        return z


class Dynamics(nn.Module):
    """Latent frame to latent frame: what is added to it."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        sizes = ((MAPS, filters, 5), (filters, filters, 7), (filters, filters, 5))
        self.around = nn.ModuleList(nn.Conv2d(a, b, k, padding=k // 2) for a, b, k in sizes)
        self.mix = nn.Conv2d(filters + MAPS, filters, 1)
        self.output = nn.Conv2d(filters, MAPS, 1)

    def forward(self, z: Tensor) -> Tensor:
        h = z
        for layer in self.around:
            h = layer(h).relu()
        found: Tensor = z + self.output(self.mix(torch.cat([h, z], 1)).relu())
        return found


class Decoder(nn.Module):
    """Latent frames to frames of a given height and width."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.first = nn.ConvTranspose2d(MAPS, filters, 5, 2, 2)
        self.second = nn.Conv2d(filters, 3, 3, padding=1)

    def forward(self, z: Tensor, size: torch.Size) -> Tensor:
        found: Tensor = self.second(self.first(z, output_size=size).relu()).sigmoid()
        return found


class Latent:
    """Encoder, decoder and what happens between; ψ sees what is decoded."""

    def __init__(self, settings: dict[str, Any], generator: Generator, device: str) -> None:
        self.horizon = settings["horizon"]
        filters = settings["filters"]
        self.encoder, self.f, self.decoder = Encoder(filters), Dynamics(filters), Decoder(filters)
        self.nets = nn.ModuleList([self.encoder, self.f, self.decoder])
        he_normal(self.nets.modules(), generator)
        with torch.no_grad():
            self.f.output.weight.mul_(0.1)  # At first next to nothing happens.
        self.nets.to(device)

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.nets.parameters()

    def loss(self, data: Trajectories, rows: Tensor, matching: Matching) -> Found:
        frames, lengths = data.batch(rows)
        found = latent_skip_loss(
            self.encoder, self.f, frames, lengths, horizon=self.horizon, **matching,
        )  # fmt: skip
        draws = torch.rand(2, DECODED, generator=matching["generator"]).to(lengths.device)
        row = (draws[0] * len(lengths)).long()
        some = frames[row, (draws[1] * lengths[row]).long()]
        again = binary_cross_entropy(self.decoder(self.encoder(some), some.shape[2:]), some)
        return found_of(found.found, found.loss + again.mean())

    def predict(self, data: Trajectories, rows: Tensor, steps: int) -> Tensor:
        first = data.first[rows]
        latent = rollout(self.f, self.encoder(first), steps)[:, 1:]
        frames: Tensor = self.decoder(latent.flatten(0, 1), first.shape[2:])
        return frames.view(*latent.shape[:2], *frames.shape[1:])
