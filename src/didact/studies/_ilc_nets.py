"""The networks of the ILC paper's studies."""

from __future__ import annotations

from torch import nn


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
