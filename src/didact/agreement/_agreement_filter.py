"""Gradient agreement filtering."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_number
from ._votes import check_grads


def agreement_filter(grads: Tensor, largest_distance: float = 0.97) -> Tensor:
    r"""Mean of the gradients that point the way of those before them; 0 if only one is left.

    From the first gradient on, the next one joins the running mean if its cosine distance to that,
    ``1 − cos(g, ḡ)``, is at most ``largest_distance``; the others are left out.

    Reference: Chaubard et al., "Beyond gradient averaging in parallel optimization: improved
    robustness through gradient agreement filtering", 2024.

    Args:
        grads: ``[env, *param]``: of all parameters together, flat, for the paper's method. Their
            order counts.
        largest_distance: in [0, 2].

    Returns:
        ``[*param]``.

    Raises:
        InvalidInput: fewer than two environments, NaN, a distance outside [0, 2].

    Example:
        >>> agreement_filter(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0]]))
        tensor([1.0000, 0.5000])
    """
    check_grads(grads)
    check_number("largest_distance", largest_distance, at_least=0, at_most=2)
    mean, joined = grads[0], 1
    for other in grads[1:]:
        cosine = torch.nn.functional.cosine_similarity(mean.flatten(), other.flatten(), dim=0)
        if float(1 - cosine) <= largest_distance:
            joined += 1
            mean = mean + (other - mean) / joined
    return mean if joined > 1 else torch.zeros_like(mean)
