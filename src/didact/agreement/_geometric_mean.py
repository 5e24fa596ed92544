"""The geometric mean of gradients."""

from __future__ import annotations

from torch import Tensor

from ._and_mask import masked
from ._votes import agrees, check_grads, votes_of


def geometric_mean(grads: Tensor, threshold: float = 1.0, *, rescale: bool = False) -> Tensor:
    r"""Geometric mean of the sizes, with the common sign; 0 where environments disagree.

    ``m_j · sign(Σ_e sign(g_ej)) · exp(mean_e log|g_ej|)``, with the mask of :func:`and_mask`: one
    environment that is indifferent, with a gradient of 0, makes it 0.

    Reference: Parascandolo, Neitz et al. 2021, section 2.

    Args:
        grads: ``[env, *param]``.
        threshold: τ of the mask, in [0, 1].
        rescale: divide by the share of components that survive.

    Returns:
        ``[*param]``.

    Raises:
        InvalidInput: as :func:`and_mask`.

    Example:
        >>> import torch
        >>> grads = torch.tensor([[1.0, 2.0, -1.0], [4.0, -2.0, -9.0]])
        >>> geometric_mean(grads).round(decimals=3).tolist()
        [2.0, 0.0, -3.0]
    """
    check_grads(grads)
    votes = votes_of(grads)
    # log 0 is −∞, and its exponential 0 again; sums of logarithms do not overflow.
    size = grads.abs().log().mean(0).exp()
    mean = size * votes.sign().to(grads.dtype)
    return masked(mean, agrees(votes, len(grads), threshold), rescale)
