"""The patchwork network of the thesis' appendix B.1.1."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

PATCHWORK = torch.tensor([100.0, -50.0, 100.0, -75.0, 1.0, 1.0], dtype=torch.float64)
"""θ*, as printed."""
CLAIMED = torch.tensor([100.0, -50.0, 100.0, -75.0, 1.0, -0.5], dtype=torch.float64)
"""What the first environment cannot tell from it."""


def network(theta: Tensor, x: Tensor) -> Tensor:
    """Two neurons, ``θ_5 σ(θ_1 x + θ_2) + θ_6 σ(θ_3 x + θ_4)``."""
    first, second = (theta[2 * k] * x + theta[2 * k + 1] for k in (0, 1))
    return theta[4] * first.sigmoid() + theta[5] * second.sigmoid()


def target(x: Tensor) -> Tensor:
    """Two ramps, from 0.4 to 0.5 and from 0.7 to 0.8."""
    return (10 * (x - 0.4)).clamp(0, 1) + (10 * (x - 0.7)).clamp(0, 1)


def environments(split: str, inputs: int) -> list[Callable[[Tensor], Tensor]]:
    """Mean squared errors of two environments.

    Args:
        split: ``"halves"``: [0, ½) and [½, 1], as in the thesis; ``"every other"`` input, for
            comparison: the same data and network.
        inputs: evenly on [0, 1].
    """
    x = torch.linspace(0, 1, inputs, dtype=torch.float64)
    parts = (x[x < 0.5], x[x >= 0.5]) if split == "halves" else (x[::2], x[1::2])
    return [partial(_error, part) for part in parts]


def _error(x: Tensor, theta: Tensor) -> Tensor:
    return (network(theta, x) - target(x)).square().mean()


def refined(losses: list[Callable[[Tensor], Tensor]]) -> Tensor:
    """The minimum of the mean loss that descent from θ* finds."""
    from scipy.optimize import minimize

    def value(theta: Any) -> tuple[float, Any]:
        point = torch.tensor(theta, requires_grad=True)
        loss = torch.stack([each(point) for each in losses]).mean()
        (slope,) = torch.autograd.grad(loss, point)
        return float(loss.detach()), slope.numpy()

    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(value, PATCHWORK.numpy(), jac=True, method="L-BFGS-B", options=options)
    return torch.tensor(found.x)
