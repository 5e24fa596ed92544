"""Values and visitations of a policy in a small MDP, by linear solves."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import DidactError
from ._mdp import Dense


def values(mdp: Dense, policy: Tensor, reward: Tensor | None = None) -> Tensor:
    """V of a policy: ``V = r_π + γ P_π V``, by one linear solve.

    Args:
        mdp: from :func:`dense`.
        policy: probabilities ``[S, A]``; of one that sees observations, ``table[mdp.observation]``.
        reward: ``[S, A]`` in place of the task's.

    Returns:
        ``[S]``.

    Example:
        >>> from didact.policies import dense
        >>> from didact.tasks import corridor
        >>> right = torch.tensor([[0.0, 1.0]] * 5)
        >>> values(dense(corridor(2), discount=0.5), right)
        tensor([0.0625, 0.1250, 0.2500, 0.5000, 1.0000], dtype=torch.float64)
    """
    rows = policy.to(mdp.reward.dtype)
    own = (rows * (mdp.reward if reward is None else reward)).sum(-1)
    return _solve(mdp, rows, own)


def visitation(mdp: Dense, policy: Tensor) -> Tensor:
    """How often each state is visited, ``d = Σ_t γ^t P(s_t = ·)``; ``[S]``, sums to the length."""
    return _solve(mdp, policy.to(mdp.reward.dtype), mdp.start, backwards=True)


def _solve(mdp: Dense, rows: Tensor, right: Tensor, *, backwards: bool = False) -> Tensor:
    """(1 − γ P_π)⁻¹ right, or with the transposed matrix."""
    steps = torch.einsum("sa,sat->st", rows, mdp.transition)
    matrix = torch.eye(len(steps), dtype=steps.dtype) - mdp.discount * steps
    try:
        found: Tensor = torch.linalg.solve(matrix.T if backwards else matrix, right)
    except RuntimeError as error:
        raise DidactError(
            "With this policy some episodes never end: without discount nothing is finite."
        ) from error
    return found
