"""The networks of ``didact fit``: plain MLPs whose hidden layers can be taught."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

TEACHER_WIDTH = 256
TEACHER_CHANNELS = 64


class Body(nn.Module):
    """Features [batch, F] → (last hidden layer [batch, width], pre-activations of each layer)."""

    def __init__(self, inputs: int, *, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        activations = []
        h = features
        for layer in self.hidden:
            activations.append(layer(h))
            h = self.dropout(torch.relu(activations[-1]))
        return h, activations


class Student(nn.Module):
    """Features [batch, F] → (output [batch, K], pre-activations of each hidden layer).

    Args:
        inputs: F.
        outputs: K.
        width: neurons per hidden layer.
        depth: hidden layers.
        dropout: probability, after each hidden layer.
    """

    def __init__(
        self, inputs: int, outputs: int, *, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__()
        self.body = Body(inputs, width=width, depth=depth, dropout=dropout)
        self.output = nn.Linear(width, outputs)
        self.neurons = width * depth

    def forward(self, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        h, activations = self.body(features)
        return self.output(h), activations


class Features(nn.Module):
    """The last hidden layer of a student, for TRAM."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body

    def forward(self, features: Tensor) -> Tensor:
        h: Tensor = self.body(features)[0]
        return h


class PrivilegedHead(nn.Module):
    """(Last hidden layer, x*) → output [batch, K], for TRAM."""

    def __init__(self, width: int, privileged: int, outputs: int) -> None:
        super().__init__()
        self.net = _mlp(width + privileged, outputs)

    def forward(self, h: Tensor, x_star: Tensor) -> Tensor:
        found: Tensor = self.net(torch.cat([h, x_star.flatten(h.dim() - 1)], -1))
        return found


class Head(nn.Module):
    """The student's last hidden layer → privileged features, for the auxiliary task."""

    def __init__(self, width: int, privileged: int) -> None:
        super().__init__()
        self.output = nn.Linear(width, privileged)

    def forward(self, activations: list[Tensor]) -> Tensor:
        found: Tensor = self.output(torch.relu(activations[-1]))
        return found


class Convolutions(nn.Module):
    """Rows in time [batch, steps, F*] → [batch, K]: convolutions along time, then an MLP."""

    def __init__(self, steps: int, privileged: int, outputs: int) -> None:
        super().__init__()
        half, whole = TEACHER_CHANNELS // 2, TEACHER_CHANNELS
        self.along_time = nn.Sequential(
            nn.Conv1d(privileged, half, 3, padding=1), nn.ReLU(),
            nn.Conv1d(half, whole, 3, padding=1, stride=2), nn.ReLU(),
            nn.Conv1d(whole, whole, 3, padding=1, stride=2), nn.ReLU(),
        )  # fmt: skip
        self.net = _mlp(whole * -(-steps // 4), outputs)  # each stride halves, rounding up

    def forward(self, x_star: Tensor) -> Tensor:
        found: Tensor = self.net(self.along_time(x_star.transpose(-1, -2)).flatten(-2))
        return found


def teacher(steps: int, privileged: int, outputs: int) -> nn.Module:
    """A network of x*: an MLP on a row of a table, convolutions on the rows of a series.

    Args:
        steps: rows in time; 0 for a table.
        privileged: F*, numbers per row.
        outputs: of the network: gates and targets of each neuron for a teacher of activations.

    Example:
        >>> teacher(0, 5, 8)(torch.zeros(2, 5)).shape, teacher(7, 5, 8)(torch.zeros(2, 7, 5)).shape
        (torch.Size([2, 8]), torch.Size([2, 8]))
    """
    return Convolutions(steps, privileged, outputs) if steps else _mlp(privileged, outputs)


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, TEACHER_WIDTH),
        nn.ReLU(),
        nn.Linear(TEACHER_WIDTH, TEACHER_WIDTH),
        nn.ReLU(),
        nn.Linear(TEACHER_WIDTH, outputs),
    )
