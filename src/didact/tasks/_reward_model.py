"""Rollouts as the networks of the LDT paper see them: standardised, the return in bins."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._checks import check_integer
from ._mujoco import Array, Rollouts


class RewardModel(NamedTuple):
    """Examples of the n-step reward model.

    Args:
        x: ``[n, S + steps·A]``, state and actions.
        x_star: ``[n, S + 1, steps]``, privileged: channels of states and rewards, in time.
        y: ``[n]``, the bin of the return, an integer.
    """

    x: Tensor
    x_star: Tensor
    y: Tensor


class RewardScale:
    """What is learnt from the training rollouts alone, applied to all.

    Each component of state and actions is standardised, the states on the way by the numbers of
    the first state, the rewards by their own. The return goes through the empirical distribution
    function of the training returns, ψ: ℝ → [0, 1], linear in between and clipped, into ``bins``
    bins of equal width.

    Reference: Neitz, Parascandolo & Schölkopf 2021, appendix B.2.1, after Schrittwieser et al.
    2019.

    Args:
        training: rollouts.
        bins: how many.

    Example:
        >>> from didact.tasks import mujoco_rollouts
        >>> training = mujoco_rollouts("Swimmer", 64, seed=0)
        >>> data = RewardScale(training)(training)
        >>> data.x.shape, data.x_star.shape, data.y.bincount().tolist() == [2] * 32
        (torch.Size([64, 40]), torch.Size([64, 9, 16]), True)
    """

    def __init__(self, training: Rollouts, bins: int = 32) -> None:
        self.bins = check_integer("bins", bins, at_least=2)
        self.state = _moments(training.state)
        self.actions = _moments(training.actions)
        self.rewards = _moments(training.rewards.reshape(-1, 1))
        self.returns = np.sort(training.label)

    def __call__(self, rollouts: Rollouts) -> RewardModel:
        """Float32 tensors on the CPU."""
        x = np.concatenate(
            [
                _standard(rollouts.state, self.state),
                _standard(rollouts.actions, self.actions).reshape(len(rollouts.label), -1),
            ],
            axis=1,
        )
        x_star = np.concatenate(
            [
                _standard(rollouts.states, self.state),
                _standard(rollouts.rewards[..., None], self.rewards),
            ],
            axis=2,
        )
        return RewardModel(
            torch.as_tensor(x, dtype=torch.float32),
            torch.as_tensor(x_star, dtype=torch.float32).transpose(1, 2).contiguous(),
            self.label(rollouts.label),
        )

    def label(self, returns: Array) -> Tensor:
        """Returns → their bins, ``[n]``."""
        bins = (self.place(returns) * self.bins).astype(np.int64)
        return torch.as_tensor(np.minimum(bins, self.bins - 1))

    def place(self, returns: Array) -> Array:
        """ψ: returns → their places in [0, 1] among the training returns, ``[n]``."""
        # Midpoints: the smallest training return is not at 0 but in the middle of its n-th.
        ranks = (np.arange(len(self.returns)) + 0.5) / len(self.returns)
        return np.asarray(np.interp(returns, self.returns, ranks, left=0.0, right=1.0))

    def total(self, rewards: Tensor) -> Array:
        """Standardised rewards ``[n, steps]`` → returns in the environment's units, ``[n]``."""
        mean, deviation = self.rewards
        raw = rewards.detach().cpu().double().numpy() * deviation + mean
        return np.asarray(raw.sum(axis=1))

    def values(self, y: Tensor) -> Tensor:
        """Bins as numbers from 0 to 1."""
        return y.to(torch.get_default_dtype()) / (self.bins - 1)

    def squared_error(self, logits: Tensor, y: Tensor) -> Tensor:
        """Mean of (expected bin − true bin)², bins from 0 to 1: what table 7 reports."""
        values = self.values(torch.arange(self.bins, device=logits.device)).to(logits.dtype)
        return ((logits.softmax(-1) @ values - values[y]) ** 2).mean()


def _moments(values: Array) -> tuple[Array, Array]:
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def _standard(values: Array, moments: tuple[Array, Array]) -> Array:
    return (values - moments[0]) / moments[1]
