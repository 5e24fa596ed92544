"""One training run: a candidate, its settings, a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import Diverged
from ..runs import Real, Space, drawn
from ..skips import binary_cross_entropy, linear, reciprocal, skip_loss, squared_error
from ._models import OfPictures, OfStates

Pieces = tuple[Tensor, Tensor]
"""Frames and lengths."""

SPACE: Space = {
    "learning_rate": Real(3e-4, 3e-3, log=True),
    "exploration": Real(0.1, 1.0),
    "teacher_forcing": Real(0.1, 1.0),
}
START = {"learning_rate": 1e-3, "exploration": 0.5, "teacher_forcing": 0.5}
"""Shares of all updates over which exploration and teacher forcing fade."""
BATCH, WIDTH = 32, 128
PICTURES_BATCH, MAPS = 4, 16
CLIP = 1.0


@dataclass(frozen=True)
class Steps:
    """How a candidate steps: fixed steps are both equal."""

    shortest: int
    horizon: int

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return self.shortest == self.horizon


@dataclass(frozen=True)
class Trained:
    """A network as it was where validation was best, and its curve (None: not finite)."""

    model: nn.Module
    value: float
    curve: list[float | None]


def network(frames: Tensor, lengths: Tensor, context: int) -> nn.Module:
    """One for such frames; the scale is theirs."""
    if frames.dim() == 5:
        return OfPictures(frames.shape[2], context, MAPS)
    inside = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]
    seen = frames[inside].double()
    return OfStates(seen.mean(0).float(), seen.std(0).float(), context, WIDTH)


def loss_of(model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """The cross-entropy of pictures; of states the squared error in units of their scale."""
    if not isinstance(model, OfStates):
        return binary_cross_entropy
    scale = model.scale

    def scaled(prediction: Tensor, target: Tensor) -> Tensor:
        return squared_error(prediction / scale, target / scale)

    return scaled


def phased(
    frames: Tensor, lengths: Tensor, steps: Steps, context: int, generator: torch.Generator
) -> Pieces:
    """Trajectories from one of their first frames on, of as many as the longest skip is long.

    So fixed steps meet all frames, and not only each Δth; for them the end is cut, too, so that
    no step is shorter than the others. One step at least is left of each.
    """
    start = torch.rand(len(frames), generator=generator).to(frames.device)
    start = (start * (lengths - context).clamp_max(steps.horizon)).long()
    rest = lengths - context - start
    if steps.fixed:
        rest = torch.where(rest < steps.horizon, rest, rest - rest % steps.horizon)
    lengths = context + rest
    index = start.unsqueeze(1) + torch.arange(int(lengths.max()), device=frames.device)
    rows = torch.arange(len(frames), device=frames.device).unsqueeze(1)
    return frames[rows, index.clamp_max(frames.shape[1] - 1)], lengths


def train(
    steps: Steps,
    settings: dict[str, Any],
    training: Pieces,
    judged: Callable[[nn.Module], float],
    *,
    epochs: int,
    context: int,
    seed: int,
    device: torch.device,
    log: Callable[[int, float, float], None] | None = None,
) -> Trained:
    """Adam over all epochs; kept is the network of the epoch that validation liked best.

    Raises:
        Diverged: naming the update.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = network(*training, context).to(device)
    frames, lengths = (part.to(device) for part in training)
    batch = PICTURES_BATCH if frames.dim() == 5 else BATCH
    updates = epochs * math.ceil(len(frames) / batch)
    adam = torch.optim.Adam(model.parameters(), settings["learning_rate"])
    loss = loss_of(model)
    best, kept, i = math.inf, {}, 0
    curve: list[float | None] = []
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for rows in torch.split(torch.randperm(len(frames), generator=generator), batch):
            cut, left = phased(frames[rows], lengths[rows], steps, context, generator)
            found = skip_loss(
                model, cut, left, horizon=steps.horizon,
                shortest=steps.shortest, loss=loss, generator=generator, context=context,
                exploration=0.0 if steps.fixed
                else linear(i, max(1, settings["exploration"] * updates)),
                teacher_forcing=reciprocal(i, max(1, settings["teacher_forcing"] * updates)),
            )  # fmt: skip
            if not bool(found.loss.isfinite()):
                raise Diverged(f"The loss of update {i} is {float(found.loss)}.")
            adam.zero_grad(set_to_none=True)
            found.loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            adam.step()
            total += float(found.loss.detach()) * len(rows)
            i += 1
        model.eval()
        value = judged(model)
        curve.append(value if math.isfinite(value) else None)
        if value < best:
            best = value
            kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if log is not None:
            log(epoch, total / len(frames), value)
    if not kept:
        raise Diverged(f"The validation error of all {epochs} epochs is not finite.")
    model.load_state_dict(kept)
    return Trained(model, best, curve)


def tried(steps: Steps, trials: int) -> list[dict[str, Any]]:
    """The start, then draws from the space, the same for every candidate."""
    found = drawn(SPACE, trials=trials, seed=0, first=START)
    if not steps.fixed:
        return found
    return [{n: v for n, v in one.items() if n != "exploration"} for one in found]
