"""Two environments' losses in the plane: a minimum that they share, and one that only looks so."""

from __future__ import annotations

import torch
from torch import Tensor


def surfaces(theta: Tensor) -> Tensor:
    """Losses ``[2, …]`` of A and B at ``[…, 2]``: 0 at both minima.

    ``1/L_e = 1/q + 1/q_e``: around the bottom left one q is the same for both; at the top right A
    has a valley ``q_A = (θ_1 − 1)²/2``, B one across it.
    """
    shared = (theta + 1).square().sum(-1) / 2
    own = (theta - 1).square().movedim(-1, 0) / 2
    return shared * own / (shared + own).clamp_min(1e-12)


def gradients(theta: Tensor) -> Tensor:
    """``[2, …, 2]``, of A and B at ``[…, 2]``."""
    theta = theta.detach().requires_grad_()
    losses = surfaces(theta)
    grads = [torch.autograd.grad(loss.sum(), theta, retain_graph=True)[0] for loss in losses]
    return torch.stack(grads)


def hessians(curvature: float) -> Tensor:
    """Diagonals of figure 3.3's H_A and H_B, ``[2, 2]``."""
    return torch.tensor([[curvature, 1.0], [1.0, curvature]], dtype=torch.float64)
