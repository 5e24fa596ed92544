"""The draws that the synthetic tasks share."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from .._checks import invalid


def linear_weight(rows: int, columns: int, generator: Generator) -> Tensor:
    """A matrix ∼ U(−1/√columns, 1/√columns), what a linear layer starts from.

    Args:
        rows: outputs.
        columns: inputs.
        generator: where the draw comes from.

    Returns:
        ``[rows, columns]``.

    Example:
        >>> bool(linear_weight(3, 100, torch.Generator().manual_seed(0)).abs().max() <= 0.1)
        True
    """
    unit = torch.rand(rows, columns, generator=generator, device=generator.device)
    return (2 * unit - 1) / math.sqrt(columns)


def normal(n: int, dimension: int, generator: Generator) -> Tensor:
    """Standard normal inputs ``[n, dimension]``."""
    return torch.randn(n, dimension, generator=generator, device=generator.device)


def check_weight(parameter: str, weight: Tensor, shape: tuple[int, int]) -> None:
    """Refuse a matrix of another shape."""
    if tuple(weight.shape) != shape:
        raise invalid(parameter, f"a tensor of shape {shape}", tuple(weight.shape))
