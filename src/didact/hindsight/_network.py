"""The networks of ``didact fit``: plain MLPs whose hidden layers can be taught."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


class Student(nn.Module):
    """Features [batch, F] → (logits [batch, K], pre-activations of each hidden layer).

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
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, outputs)
        self.neurons = width * depth

    def forward(self, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        activations = []
        h = features
        for layer in self.hidden:
            activations.append(layer(h))
            h = self.dropout(torch.relu(activations[-1]))
        return self.output(h), activations


class Teacher(nn.Module):
    """Privileged features [batch, F*] → gates and targets [batch, 2·neurons], for ``gated_mse``."""

    def __init__(self, inputs: int, neurons: int, *, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(inputs, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 2 * neurons),
        )

    def forward(self, x_star: Tensor) -> Tensor:
        return self.net(x_star)  # type: ignore[no-any-return]


class Head(nn.Module):
    """The student's last hidden layer → privileged features, for the auxiliary task."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.output = nn.Linear(width, outputs)

    def forward(self, activations: list[Tensor]) -> Any:
        return self.output(torch.relu(activations[-1]))
