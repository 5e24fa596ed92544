"""Episodes of any lengths, and sums of their rewards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._checks import InvalidInput, check_number, invalid


@dataclass(frozen=True)
class Episodes:
    """B episodes of at most T steps; what lies behind an episode's end is not looked at.

    Args:
        actions: a_t, ``[B, T]``, or ``[B, T, ...]`` for actions of several numbers.
        rewards: r_t, ``[B, T]``.
        lengths: steps of each episode, ``[B]``, 1 … T.
        terminated: whether the episode ended there, ``[B]``; else it was cut off (truncated).

    Raises:
        InvalidInput: what is no tensor, shapes that do not fit, rewards that are integers or, where
            steps were made, not finite.

    Example:
        >>> Episodes(torch.zeros(2, 5), torch.zeros(2, 5), torch.tensor([5, 3]),
        ...          torch.tensor([True, False])).mask.int()
        tensor([[1, 1, 1, 1, 1],
                [1, 1, 1, 0, 0]], dtype=torch.int32)
    """

    actions: Tensor
    rewards: Tensor
    lengths: Tensor
    terminated: Tensor

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, Tensor):
                raise invalid(name, "a tensor", value)
        b, t = self.rewards.shape if self.rewards.dim() == 2 else (-1, -1)
        if b < 1 or t < 1:
            raise invalid("rewards", "a tensor [episodes, steps]", list(self.rewards.shape))
        if self.actions.shape[:2] != (b, t):
            rule = f"a tensor [{b}, {t}, ...], as the rewards"
            raise invalid("actions", rule, list(self.actions.shape))
        for name in ("lengths", "terminated"):
            if getattr(self, name).shape != (b,):
                raise invalid(name, f"a tensor [{b}]", list(getattr(self, name).shape))
        if not self.rewards.is_floating_point():
            raise invalid("rewards", "floating", self.rewards.dtype)
        whole = not self.lengths.is_floating_point() and self.lengths.dtype != torch.bool
        if not whole or bool(((self.lengths < 1) | (self.lengths > t)).any()):
            raise invalid("lengths", f"integers from 1 to {t}", self.lengths.tolist())
        if self.terminated.dtype != torch.bool:
            raise invalid("terminated", "a tensor of bool", self.terminated.dtype)
        check_finite("The reward", self.rewards, self.mask)

    @property
    def mask(self) -> Tensor:
        """Which steps were made: bool ``[B, T]``."""
        steps = torch.arange(self.rewards.shape[1], device=self.rewards.device)
        return steps < self.lengths[:, None]


def returns(
    episodes: Episodes, rewards: Tensor, discount: float, critic: Tensor | None, trace: float = 1.0
) -> Tensor:
    """TD(λ) returns of any reward, ``R_t = r_t + γ [(1 − λ) v_{t+1} + λ R_{t+1}]``; ``[B, T]``.

    Behind the end stands 0 where an episode terminated, else the critic.

    Args:
        episodes: whose ends they are.
        rewards: ``[B, T]``.
        discount: γ.
        critic: v, ``[B, T + 1]``.
        trace: λ.

    Raises:
        InvalidInput: shapes that do not fit, a critic that is needed and missing.

    Example:
        >>> one = Episodes(torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([3]),
        ...                torch.tensor([True]))
        >>> returns(one, one.rewards, 0.5, None)
        tensor([[1.7500, 1.5000, 1.0000]])
    """
    shape = tuple(episodes.rewards.shape)
    if not isinstance(rewards, Tensor):
        raise invalid("rewards", "a tensor", rewards)
    if tuple(rewards.shape) != shape:
        raise invalid("rewards", f"a tensor {list(shape)}, as the episodes'", list(rewards.shape))
    if not rewards.is_floating_point():
        raise invalid("rewards", "floating", rewards.dtype)
    check_finite("The reward", rewards.detach(), episodes.mask)
    check_values("critic", critic, episodes)
    check_number("discount", discount, at_least=0, at_most=1)
    check_number("trace", trace, at_least=0, at_most=1)
    if critic is None and (trace < 1 or not bool(episodes.terminated.all())):
        why = "λ < 1" if trace < 1 else "an episode was cut off before its end"
        raise invalid("critic", f"given: {why}", None)
    b, steps = rewards.shape
    v = rewards.new_zeros(b, steps + 1) if critic is None else critic.detach()
    last = episodes.lengths - 1
    found = torch.zeros_like(rewards)
    ahead = rewards.new_zeros(b)
    for t in reversed(range(steps)):
        ends = last == t
        worth = torch.where(episodes.terminated, 0.0, v[:, t + 1])
        mixed = (1 - trace) * v[:, t + 1] + trace * ahead
        now = rewards[:, t] + discount * torch.where(ends, worth, mixed)
        ahead = torch.where(last < t, 0.0, now)
        found[:, t] = ahead
    return found


def check_values(name: str, found: Tensor | None, episodes: Episodes) -> None:
    """Raise ``InvalidInput`` where values ``[B, T + 1]`` do not fit episodes, or are not finite."""
    b, steps = episodes.rewards.shape
    if found is None:
        return
    if not isinstance(found, Tensor) or tuple(found.shape) != (b, steps + 1):
        other = list(found.shape) if isinstance(found, Tensor) else found
        raise invalid(name, f"a tensor [{b}, {steps + 1}]", other)
    check_finite(f"`{name}`", found.detach(), looked_at(episodes))


def looked_at(episodes: Episodes) -> Tensor:
    """States that matter: those that were left, and the last of an episode that was cut off."""
    at = torch.arange(episodes.rewards.shape[1] + 1, device=episodes.rewards.device)
    ends = episodes.lengths - episodes.terminated.to(episodes.lengths.dtype)
    return at <= ends[:, None]


def check_finite(what: str, found: Tensor, where: Tensor, why: str = "") -> None:
    """Raise ``InvalidInput`` naming the first number that is not finite, where it matters."""
    bad = where & ~found.isfinite()
    if bool(bad.any()):
        b, t = (int(i) for i in bad.nonzero()[0])
        raise InvalidInput(
            f"{what} should be finite. Found {float(found[b, t])} in episode {b}, step {t}{why}."
        )
