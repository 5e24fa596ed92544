"""The networks of the LDT paper's reward model."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class RewardStudent(nn.Module):
    """Multi-layer perceptron with ReLU and weight norm.

    Returns (logits ``[batch, outputs]``, pre-activations of all hidden neurons ``[batch, K]``).
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs] + [width] * depth
        self.hidden = nn.ModuleList(
            weight_norm(nn.Linear(a, b)) for a, b in itertools.pairwise(sizes)
        )
        self.output = weight_norm(nn.Linear(width, outputs))
        self.neurons = width * depth

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        taught = []
        for layer in self.hidden:
            h = layer(x)
            taught.append(h)
            x = h.relu()
        return self.output(x), torch.cat(taught, dim=-1)


class TrajectoryTeacher(nn.Sequential):
    """Convolutions over time and one hidden layer (table 6).

    ``[batch, channels, steps]`` → ``[batch, outputs]``.
    """

    def __init__(self, channels: int, steps: int, outputs: int) -> None:
        sizes = [channels, 96, 96, 96, 256]
        convolutions: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            convolutions += [nn.Conv1d(a, b, 3, padding=1), nn.ReLU(), nn.BatchNorm1d(b)]
        super().__init__(
            *convolutions,
            nn.Flatten(),
            nn.Linear(sizes[-1] * steps, 768),
            nn.ReLU(),
            nn.Linear(768, outputs),
        )


class TrajectoryHead(nn.Sequential):
    """The auxiliary task: the last hidden layer, after its ReLU → the whole trajectory."""

    def __init__(self, width: int, channels: int, steps: int) -> None:
        super().__init__(nn.Linear(width, channels * steps), nn.Unflatten(1, (channels, steps)))
        self.width = width

    def forward(self, activations: Tensor) -> Tensor:
        out: Tensor = super().forward(activations[:, -self.width :].relu())  # type: ignore[no-untyped-call]
        return out
