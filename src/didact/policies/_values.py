"""Values and visitations of a policy in a small MDP, by linear solves."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import InvalidInput, invalid
from ._mdp import Dense, closure

LONGEST = 1e9
"""Mean steps of an episode without discount: of 10⁹ some seven digits are left."""


def values(
    mdp: Dense, policy: Tensor, reward: Tensor | None = None, *, everywhere: bool = False
) -> Tensor:
    """V of a policy: ``V = r_π + γ P_π V``, by one linear solve.

    Without discount it is 0 in states that the policy never comes to and whence no episode of it
    would end.

    Args:
        mdp: from :func:`dense`.
        policy: probabilities ``[S, A]``; of one that sees observations, ``table[mdp.observation]``.
        reward: ``[S, A]`` in place of the task's.
        everywhere: refuse such states, too: somebody else may come to them.

    Returns:
        ``[S]``.

    Raises:
        InvalidInput: if the policy or the reward do not fit the MDP, or if without discount some
            episodes of the policy never end.

    Example:
        >>> from didact.policies import dense
        >>> from didact.tasks import corridor
        >>> right = torch.tensor([[0.0, 1.0]] * 5)
        >>> values(dense(corridor(2), discount=0.5), right)
        tensor([0.0625, 0.1250, 0.2500, 0.5000, 1.0000], dtype=torch.float64)
    """
    rows = check_policy("policy", policy, mdp)
    if reward is None:
        reward = mdp.reward
    elif not isinstance(reward, Tensor) or reward.shape != mdp.reward.shape:
        rule = f"a table [states, actions] = {list(mdp.reward.shape)}"
        raise invalid("reward", rule, list(reward.shape) if isinstance(reward, Tensor) else reward)
    elif not bool(reward.detach().isfinite().all()):
        raise invalid("reward", "finite", "NaN or infinity")
    return _solve(mdp, rows, (rows * reward).sum(-1), everywhere=everywhere)


def visitation(mdp: Dense, policy: Tensor) -> Tensor:
    """How often an episode visits each state: ``d = Σ_t γ^t P(s_t = ·)``.

    Args:
        mdp, policy: as in :func:`values`.

    Returns:
        ``[S]``; the sum is the mean length of an episode, discounted.

    Raises:
        InvalidInput: if the policy does not fit the MDP, or if without discount some episodes of
            the policy never end.

    Example:
        >>> from didact.policies import dense
        >>> from didact.tasks import corridor
        >>> right = torch.tensor([[0.0, 1.0]] * 5)
        >>> visitation(dense(corridor(2), discount=0.5), right)  # from the middle
        tensor([0.0000, 0.0000, 1.0000, 0.5000, 0.2500], dtype=torch.float64)
    """
    return _solve(mdp, check_policy("policy", policy, mdp), mdp.start, backwards=True)


def check_policy(name: str, policy: Tensor, mdp: Dense) -> Tensor:
    """Probabilities of every state, in the MDP's dtype, or ``InvalidInput``."""
    if not isinstance(mdp, Dense):
        raise invalid("mdp", "from `dense`", mdp)
    if not isinstance(policy, Tensor) or policy.shape != mdp.reward.shape:
        rule = f"a table [states, actions] = {list(mdp.reward.shape)}"
        raise invalid(name, rule, list(policy.shape) if isinstance(policy, Tensor) else policy)
    found = policy.detach()
    if not bool(found.isfinite().all()):
        raise invalid(name, "finite", "NaN or infinity")
    total = found.sum(-1)
    if bool((found < 0).any()) or float((total - 1).abs().max()) > 1e-5:
        raise InvalidInput(
            f"Parameter `{name}` should hold a probability distribution in each row. Found a sum "
            f"of {float(total[(total - 1).abs().argmax()]):g}, or a negative number."
        )
    rows = policy.to(mdp.reward.dtype)
    return rows / rows.detach().sum(-1, keepdim=True)  # what is missing to 1 would end episodes


def _solve(
    mdp: Dense, rows: Tensor, right: Tensor, *, backwards: bool = False, everywhere: bool = False
) -> Tensor:
    """(1 − γ P_π)⁻¹ right, or with the transposed matrix."""
    steps = torch.einsum("sa,sat->st", rows, mdp.transition)
    one = torch.eye(len(steps), dtype=steps.dtype)
    if mdp.discount < 1.0:
        return _solved(one - mdp.discount * steps, right, backwards)
    leads, ends = steps.detach() > 0, steps.detach().sum(-1) < 1 - 1 / LONGEST
    if not bool(ends.all()):
        endless = closure(leads.T, ~closure(leads.T, ends))
        if bool((endless & (everywhere | closure(leads, mdp.start > 0))).any()):
            raise _never()
        steps, right = steps * ~endless * ~endless[:, None], right * ~endless
    if backwards:
        found = _solved(one - steps, right, backwards)
        lengths = found.detach().sum().expand(1)
    else:
        both = _solved(one - steps, torch.stack([right, torch.ones_like(right)], 1), backwards)
        found, lengths = both[:, 0], both[:, 1].detach()
    if not bool(((lengths >= 0) & (lengths <= LONGEST)).all()):
        raise _never()
    return found


def _solved(matrix: Tensor, right: Tensor, backwards: bool) -> Tensor:
    try:
        found: Tensor = torch.linalg.solve(matrix.T if backwards else matrix, right)
    except RuntimeError:
        raise _never() from None
    return found


def _never() -> InvalidInput:
    return InvalidInput(
        "Without discount every episode of the policy should end. Found states that it comes to "
        "and never leaves, or hardly ever: a `discount` below 1 would do."
    )
