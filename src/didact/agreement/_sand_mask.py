"""The SAND-mask."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_number
from ._votes import check_grads, votes_of


def sand_mask(grads: Tensor, threshold: float = 0.5, *, steepness: float = 1e-3) -> Tensor:
    r"""A smooth AND-mask that also wants gradients of one size.

    ``m_j = max(0, tanh(k / σ_j² · (|mean_e sign(g_ej)| − τ)))``, σ_j² the variance over
    environments; ``update = m ⊙ mean_e g_e / mean_j m_j``.

    Reference: Shahtalebi et al., "SAND-mask: an enhanced gradient masking strategy for the
    discovery of invariances in domain generalization", 2021.

    Args:
        grads: ``[env, *param]``.
        threshold: τ in [0, 1].
        steepness: k.

    Returns:
        ``[*param]``; 0 where nothing survives.

    Raises:
        InvalidInput: fewer than two environments, NaN, a number outside its range.

    Example:
        >>> sand_mask(torch.tensor([[1.0, 2.0], [1.0, -2.0]]), steepness=1.0)
        tensor([2., 0.])
    """
    check_grads(grads)
    check_number("threshold", threshold, at_least=0, at_most=1)
    check_number("steepness", steepness, above=0)
    agreement = votes_of(grads).abs() / len(grads) - threshold
    variance = grads.to(agreement.dtype).var(0)
    # Equal gradients have no variance: tanh of infinity is 1. No agreement, no pull: 0.
    mask = torch.where(agreement > 0, (steepness * agreement / variance).tanh(), 0.0)
    share = mask.mean()
    found = grads.mean(0) * mask.to(grads.dtype)
    return found / share.to(grads.dtype) if float(share) > 0 else found
