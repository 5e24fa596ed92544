"""Gradient reversal, of domain-adversarial networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._checks import check_number


def reverse_gradient(features: Tensor, weight: float = 1.0) -> Tensor:
    r"""The identity, whose gradient is −λ times what comes back.

    Between features and a classifier of environments: that learns to tell environments apart, while
    the features learn to prevent it (DANN).

    Reference: Ganin et al., "Domain-adversarial training of neural networks", JMLR 2016.

    Args:
        features: any shape.
        weight: λ ≥ 0.

    Returns:
        The features.

    Raises:
        InvalidInput: a negative weight.

    Example:
        >>> features = torch.ones(2, requires_grad=True)
        >>> (3 * reverse_gradient(features, 0.5)).sum().backward()
        >>> features.grad
        tensor([-1.5000, -1.5000])
    """
    check_number("weight", weight, at_least=0)
    found: Tensor = _Reversed.apply(features, weight)  # type: ignore[no-untyped-call]
    return found


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        return -ctx.weight * grads[0], None
