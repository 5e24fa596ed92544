"""Networks that predict what comes next, from and in the recordings' own units."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan


class OfStates(nn.Module):
    """``x ↦ x + s ⊙ net((x − m) / s)``: what comes next is near what is.

    Args:
        mean, scale: m and s of each number, ``[D]``.
        context: frames that it looks at.
        width: of two hidden layers.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, context: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.context, size = context, len(mean)
        self.net = nn.Sequential(
            nn.Linear(context * size, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, size),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """``[n, D]``, with a context ``[n, k, D]``, to ``[n, D]``."""
        last = x if self.context == 1 else x[:, -1]
        scaled = ((x - self.mean) / self.scale).flatten(1)
        found: Tensor = last + self.scale * self.net(scaled)
        return found


class OfPictures(nn.Module):
    """Convolutions with the picture joined to their end, as the paper's; values in (0, 1).

    Args:
        channels: of a picture.
        context: frames that it looks at.
        maps: of four hidden layers.
    """

    def __init__(self, channels: int, context: int, maps: int) -> None:
        super().__init__()
        self.context, seen = context, channels * context
        self.body = nn.Sequential(
            nn.Conv2d(seen, maps, 5, padding=2), nn.ReLU(),
            nn.Conv2d(maps, maps, 5, padding=2), nn.ReLU(),
            nn.Conv2d(maps, maps, 7, padding=3), nn.ReLU(),
            nn.Conv2d(maps, maps, 5, padding=2), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Conv2d(maps + seen, maps, 1), nn.ReLU(), nn.Conv2d(maps, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[n, C, height, width]``, with a context ``[n, k, C, …]``, to ``[n, C, …]``."""
        x = x if self.context == 1 else x.flatten(1, 2)
        found: Tensor = self.head(torch.cat([self.body(x), x], 1))
        return found


class InUnits(nn.Module):
    """A model of numbers in [0, 1] for pictures of bytes: ``x ↦ u · f(x / u)``.

    Args:
        model: of pictures in [0, 1].
        unit: u, 255.
    """

    def __init__(self, model: nn.Module, unit: int) -> None:
        super().__init__()
        self.model, self.unit = model, unit

    def forward(self, x: Tensor) -> Tensor:
        """Floats in and out, in the recordings' units."""
        found: Tensor = self.model(x / self.unit) * self.unit
        return found


class Unrolled(nn.Module):
    """A model applied to its own predictions, so many times; exported as one loop.

    Args:
        model: ``[n, *frame]``, with a context ``[n, k, *frame]``, to ``[n, *frame]``.
        steps: calls.
        context: k.

    Example:
        >>> Unrolled(nn.Identity(), steps=2)(torch.ones(1, 3)).shape
        torch.Size([1, 2, 3])
    """

    def __init__(self, model: nn.Module, steps: int, context: int = 1) -> None:
        super().__init__()
        self.model, self.steps, self.context = model, steps, context

    def forward(self, x: Tensor) -> Tensor:
        """What is predicted, ``[n, steps, *frame]``; which moment each shows is the model's."""
        if torch.compiler.is_exporting():
            _, made = scan(self._step, x, x.new_zeros(self.steps, 1))
            out: Tensor = made.transpose(0, 1)
            return out
        found = []
        for _ in range(self.steps):
            x, made = self._step(x, None)
            found.append(made)
        return torch.stack(found, 1)

    def _step(self, x: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
        made: Tensor = self.model(x)
        after = made if self.context == 1 else torch.cat([x[:, 1:], made.unsqueeze(1)], 1)
        return after, made.clone()
