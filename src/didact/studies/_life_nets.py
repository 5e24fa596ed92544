"""Student, teacher and losses of the Game of Life (LDT, section 4.2 and appendix C)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

LAYERS_PER_STEP, STEPS = 3, 3


class Student(nn.Module):
    """Three convolutions per step of the game, then the centre cell's maps → one logit.

    Taught are the maps of each layer before their ReLU, ``[batch, size², filters]``.
    """

    def __init__(self, filters: int, scale: float) -> None:
        super().__init__()
        sizes = [1] + [filters] * (LAYERS_PER_STEP * STEPS)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.output = nn.Linear(filters, 1)
        with torch.no_grad():
            for name, weight in self.layers.named_parameters():
                if name.endswith("weight"):
                    weight.mul_(scale)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        taught = []
        for layer in self.layers:
            # Maps last in memory: on a CPU convolutions then take half the time.
            h = layer(x).contiguous(memory_format=torch.channels_last)
            taught.append(h.permute(0, 2, 3, 1).flatten(1, 2))
            x = h.relu()
        centre = x[..., x.shape[-2] // 2, x.shape[-1] // 2]
        return self.output(centre).squeeze(-1), tuple(taught)


class Mixtures(nn.Module):
    """The teacher: each map's target is a mixture of the boards, ``Σ_t softmax_t(φ)_{tkl} x_t``.

    Returns x* and, for every example, the logits φ/τ: the loss mixes, so that the targets of all
    inner batches never lie in memory at once.

    Args:
        phi: φ, ``[steps, layers, filters]``.
        temperature: τ. A step of φ is one of the logits that is 1/τ² times as large.
    """

    def __init__(self, phi: Tensor, temperature: float = 1.0) -> None:
        super().__init__()
        self.phi = nn.Parameter(phi)
        self.temperature = temperature

    def forward(self, x_star: Tensor) -> tuple[Tensor, Tensor]:
        return x_star, self.logits.expand(len(x_star), *self.phi.shape)

    @property
    def logits(self) -> Tensor:
        """φ/τ."""
        return self.phi / self.temperature

    def attention(self) -> float:
        """The largest weight of a mixture, on average: 1/steps … 1."""
        with torch.no_grad():
            return float(self.logits.softmax(0).amax(0).mean())


def mixed_mse(activations: Sequence[Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    """Mean squared distance of all maps from their mixtures of boards.

    ``Σ (h − Σ_t w_t x_t)² = Σ h² − 2 Σ_t w_t ⟨h, x_t⟩ + Σ_ts w_t w_s ⟨x_t, x_s⟩``: the mixtures
    themselves, as large as the maps, are never made.
    """
    boards, logits = targets
    boards = boards.flatten(2)
    gram = (boards @ boards.mT).sum(0)
    total: Tensor | float = 0.0
    for maps, weights in zip(activations, logits[0].softmax(0).unbind(1), strict=True):
        along = (boards @ maps * weights).sum()
        total = total + maps.square().sum() - 2 * along + (gram @ weights * weights).sum()
    return torch.as_tensor(total) / sum(maps.numel() for maps in activations)


def third_layers_mse(activations: Sequence[Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    """The same of every third layer alone."""
    boards, logits = targets
    third = slice(LAYERS_PER_STEP - 1, None, LAYERS_PER_STEP)
    return mixed_mse(activations[third], (boards, logits[:, :, third]))


def oracle_logits(order: Tensor, filters: int) -> Tensor:
    """φ that gives layer 3k, and those below it, the board after k steps."""
    logits = torch.full((STEPS, LAYERS_PER_STEP * STEPS, filters), -30.0)
    for place, step in enumerate(order.tolist()):
        logits[place, LAYERS_PER_STEP * step : LAYERS_PER_STEP * (step + 1)] = 30.0
    return logits
