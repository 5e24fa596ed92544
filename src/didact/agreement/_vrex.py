"""The penalty of risk extrapolation."""

from __future__ import annotations

from torch import Tensor

from ._environments import Environments
from ._irm import check_each


def variance_of_losses(losses: Tensor, environments: Tensor) -> Tensor:
    r"""How differently environments fare: the variance of their mean losses (V-REx).

    ``mean_e (L_e − L̄)²``. A weight times it is added to the loss.

    Reference: Krueger et al., "Out-of-distribution generalization via risk extrapolation", 2021.

    Args:
        losses: of each example (``reduction="none"``), ``[batch, …]``; what is beyond ``[batch]``
            is averaged.
        environments: a number for each example, ``[batch]``.

    Returns:
        A scalar, differentiable.

    Raises:
        InvalidInput: fewer than two environments, other shapes.

    Example:
        >>> import torch
        >>> variance_of_losses(torch.tensor([1.0, 3.0, 4.0]), torch.tensor([0, 0, 1]))
        tensor(1.)
    """
    of = Environments.of(environments, len(environments), losses.device)
    return of.means(check_each("losses", losses, len(environments))).var(correction=0)
