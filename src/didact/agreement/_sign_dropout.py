"""Gradient sign dropout (GradDrop)."""

from __future__ import annotations

import torch
from torch import Tensor

from ._votes import check_grads


def sign_dropout(grads: Tensor, *, generator: torch.Generator) -> Tensor:
    r"""Keep one sign for each component, drawn by how much gradient points that way; sum it.

    ``P_j = ½ (1 + Σ_e g_ej / Σ_e |g_ej|)``; with chance P_j the positive gradients are summed,
    else the negative ones.

    Reference: Chen et al., "Just pick a sign: optimizing deep multitask models with gradient sign
    dropout", NeurIPS 2020.

    Args:
        grads: ``[env, *param]``.
        generator: of the draw, on any device.

    Returns:
        ``[*param]``. Its mean is not the sum of the gradients.

    Raises:
        InvalidInput: fewer than two environments, NaN.

    Example:
        >>> grads = torch.tensor([[1.0, -2.0], [3.0, -4.0]])
        >>> sign_dropout(grads, generator=torch.Generator().manual_seed(0))
        tensor([ 4., -6.])
    """
    check_grads(grads)
    size = grads.abs().sum(0)
    positive = 0.5 * (1 + grads.sum(0) / torch.where(size > 0, size, 1.0))
    drawn = torch.rand(positive.shape, generator=generator, device=generator.device)
    up = drawn.to(positive.device) < positive
    return torch.where(up, grads.clamp_min(0).sum(0), grads.clamp_max(0).sum(0))
