"""The networks of the ILC paper's studies."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F


def leaky_perceptron(
    inputs: int,
    width: int,
    depth: int,
    outputs: int = 1,
    *,
    batch_norm: bool = False,
    dropout: float = 0.0,
    kaiming: bool = True,
) -> nn.Sequential:
    """Hidden layers with LeakyReLU.

    Weights come from torch's global generator: Kaiming normal with biases of 0.01, as in the
    authors' code, or torch's own, with which outputs start nearer to 0.
    """
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers.append(nn.Linear(inputs, width))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(nn.LeakyReLU())
        if dropout:
            layers.append(nn.Dropout(dropout))
        inputs = width
    layers.append(nn.Linear(inputs, outputs))
    for layer in layers:
        if kaiming and isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.constant_(layer.bias, 0.01)
    return nn.Sequential(*layers)


class ResNet18(nn.Module):
    """The ResNet of 18 layers: a 7 × 7 convolution, pooling, and four stages of two blocks.

    Weights come from torch's global generator, as torch draws them.

    Reference: He et al., "Deep residual learning for image recognition", 2016.

    Args:
        channels: of the pictures.
        width: of the first stage; the paper's is 64. It doubles from stage to stage.
        outputs: of the linear layer at the end.
        batch_norm: as in the paper, else GroupNorm, which treats each picture alone.
    """

    def __init__(self, channels: int, width: int, outputs: int, *, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 7, 2, 3, bias=False), _norm(width, batch_norm), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        ]  # fmt: skip
        inputs = width
        for stage in range(4):
            for stride in (1 if stage == 0 else 2, 1):
                layers.append(_Block(inputs, width << stage, stride, batch_norm))
                inputs = width << stage
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.last = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.body(x))
        return out


class _Block(nn.Module):
    """``relu(s(x) + f(x))``: f two convolutions, s the identity or a strided 1 × 1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), _norm(outputs, batch_norm),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), _norm(outputs, batch_norm),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm(outputs, batch_norm)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.body(x))


def _norm(width: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(width) if batch_norm else nn.GroupNorm(math.gcd(8, width), width)
