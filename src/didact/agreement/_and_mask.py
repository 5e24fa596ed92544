"""The AND-mask, and its complement."""

from __future__ import annotations

import torch
from torch import Tensor

from ._votes import agrees, check_grads, votes_of


def and_mask(grads: Tensor, threshold: float = 1.0, *, rescale: bool = False) -> Tensor:
    r"""Mean gradient where environments agree in sign, 0 elsewhere.

    ``m_j = 1[|mean_e sign(g_ej)| ≥ τ]``, ``update = m ⊙ mean_e g_e``.

    Reference: Parascandolo, Neitz et al., "Learning explanations that are hard to vary", ICLR 2021.

    Args:
        grads: ``[env, *param]``, of one layer or parameter.
        threshold: τ in [0, 1]; 0 is the plain mean, 1 asks all to agree. A gradient of 0 is no
            vote.
        rescale: divide by the share of components that survive.

    Returns:
        ``[*param]``.

    Raises:
        InvalidInput: fewer than two environments, NaN, a threshold outside [0, 1].

    Example:
        >>> grads = torch.tensor([[1.0, 2.0, -1.0], [3.0, -2.0, -3.0]])
        >>> and_mask(grads), and_mask(grads, rescale=True)
        (tensor([ 2.,  0., -2.]), tensor([ 3.,  0., -3.]))
    """
    check_grads(grads)
    return masked(grads.mean(0), agrees(votes_of(grads), len(grads), threshold), rescale)


def xor_mask(grads: Tensor, threshold: float = 1.0, *, rescale: bool = False) -> Tensor:
    """Mean gradient where environments do *not* agree: what the AND-mask throws away.

    At the same threshold it and the AND-mask add up to the mean.

    Args:
        grads, threshold, rescale: as in :func:`and_mask`.

    Returns:
        ``[*param]``.

    Raises:
        InvalidInput: as :func:`and_mask`.

    Example:
        >>> xor_mask(torch.tensor([[1.0, 2.0, -1.0], [3.0, -3.0, -3.0]]))
        tensor([ 0.0000, -0.5000,  0.0000])
    """
    check_grads(grads)
    return masked(grads.mean(0), ~agrees(votes_of(grads), len(grads), threshold), rescale)


def masked(mean: Tensor, mask: Tensor, rescale: bool) -> Tensor:
    """``m ⊙ g``, where asked for times numel / surviving; nothing left stays 0."""
    found = torch.where(mask, mean, 0.0)
    if rescale:
        exact = torch.promote_types(found.dtype, torch.float32)
        found = found * (mask.numel() / mask.sum().clamp_min(1).to(exact))
    return found


def mask_in_place(grads: list[Tensor], masks: list[Tensor], rescale: bool) -> None:
    """``g ← m ⊙ g`` of each parameter, m of 0 and 1 in float32; rescaled as in :func:`and_mask`."""
    torch._foreach_mul_(grads, masks)
    if rescale:
        left = torch.stack([mask.sum() for mask in masks]).tolist()
        scales = [mask.numel() / (n or 1.0) for mask, n in zip(masks, left, strict=True)]
        torch._foreach_mul_(grads, scales)
