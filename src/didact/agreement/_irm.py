"""The penalty of invariant risk minimisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .._checks import invalid
from ._environments import Environments


def irm_penalty(
    outputs: Tensor,
    targets: Tensor,
    environments: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    r"""How much environments would like the outputs rescaled, each in its way (IRMv1).

    ``mean_e (∂_w L_e(w f)|_{w = 1})²``, L_e the mean loss of environment e. A weight times it is
    added to the loss; it is 0 where no environment alone would move the last layer's scale.

    Reference: Arjovsky et al., "Invariant risk minimization", 2019.

    Args:
        outputs: f, ``[batch, …]``.
        targets: ``[batch, …]``.
        environments: a number for each example, ``[batch]``.
        loss: of outputs and targets, a value for each example (``reduction="none"``); what it has
            beyond ``[batch]`` is averaged.

    Returns:
        A scalar, differentiable.

    Raises:
        InvalidInput: fewer than two environments, a loss that is no value for each example.

    Example:
        >>> outputs, targets = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])
        >>> def loss(a, b):
        ...     return (a - b) ** 2 / 2
        >>> irm_penalty(outputs, targets, torch.tensor([0, 1]), loss=loss)  # (0² + (−2 · 2)²) / 2
        tensor(8.)
    """
    of = Environments.of(environments, len(outputs), outputs.device)
    with torch.enable_grad():
        # One factor for each example: the slope of a mean is the mean of slopes.
        scale = outputs.new_ones(len(outputs), *(1 for _ in outputs.shape[1:])).requires_grad_()
        losses = check_each("loss", loss(outputs * scale, targets), len(outputs))
        (slopes,) = torch.autograd.grad(losses.sum(), scale, create_graph=outputs.requires_grad)
    return of.means(slopes.flatten()).square().mean()


def check_each(parameter: str, losses: Tensor, batch: int) -> Tensor:
    """``[batch, …]`` → ``[batch]``, means over the rest."""
    if losses.dim() < 1 or len(losses) != batch:
        rule = f"a value for each of the {batch} examples (reduction='none')"
        raise invalid(parameter, rule, list(losses.shape))
    return losses.flatten(1).mean(1) if losses.dim() > 1 else losses
