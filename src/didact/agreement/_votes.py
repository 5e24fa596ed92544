"""How many environments agree on the sign of each component."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._checks import InvalidInput, check_number, invalid


def check_grads(grads: Tensor) -> Tensor:
    """``[env, *param]`` of at least two environments, floating and finite."""
    if not isinstance(grads, Tensor) or not grads.is_floating_point() or grads.dim() < 1:
        found = list(grads.shape) if isinstance(grads, Tensor) else type(grads).__name__
        raise invalid("grads", "a floating tensor [env, *param]", found)
    if len(grads) < 2:
        raise invalid("grads", "gradients of at least two environments", len(grads))
    if not bool(grads.isfinite().all()):
        e = int((~grads.isfinite()).flatten(1).any(1).nonzero()[0])
        raise InvalidInput(f"Parameter `grads` should be finite. Found NaN or ∞ in number {e}.")
    return grads


def fewest(environments: int, threshold: float) -> int:
    """Whole votes that τ asks for: 0.7 · 10 is a little more than 7."""
    check_number("threshold", threshold, at_least=0, at_most=1)
    return math.ceil(threshold * environments - 1e-6)


def agrees(votes: Tensor, environments: int, threshold: float) -> Tensor:
    """``|Σ_e sign(g_e)| ≥ τ d``: where enough environments agree, bool ``[*param]``.

    Args:
        votes: Σ_e sign(g_e), whole numbers; a gradient of 0 is no vote.
        environments: d, those without a vote included.
        threshold: τ in [0, 1]; t agreeing environments of d are τ = 2t/d − 1.

    Example:
        >>> agrees(torch.tensor([3.0, 2.0, -3.0, 1.0]), 3, 0.6)
        tensor([ True,  True,  True, False])
    """
    return votes.abs() >= fewest(environments, threshold)


def votes_of(grads: Tensor) -> Tensor:
    """Σ_e sign(g_e), counted in float32: bfloat16 has no 257."""
    return grads.sign().sum(0, dtype=torch.promote_types(grads.dtype, torch.float32))
