"""Finite Markov decision processes as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from .._checks import check_integer, check_number


@dataclass(frozen=True)
class MDP:
    """S states, A actions with E different effects, K possible outcomes of each.

    Args:
        next_state: ``[S, E, K]`` int32; −1: the episode ends.
        probability: ``[S, E, K]`` float64, of the outcomes; sums to 1 over K.
        reward: ``[S, E, K]`` float64, of the outcomes.
        effect: ``[A]`` int32: what each action does.
        start: ``[S]`` float64, where episodes begin.
        observation: ``[S]`` int32: what is seen of each state.
    """

    next_state: NDArray[np.int32]
    probability: NDArray[np.float64]
    reward: NDArray[np.float64]
    effect: NDArray[np.int32]
    start: NDArray[np.float64]
    observation: NDArray[np.int32]

    @property
    def n_states(self) -> int:
        """S."""
        return len(self.next_state)

    @property
    def n_actions(self) -> int:
        """A."""
        return len(self.effect)

    @property
    def n_observations(self) -> int:
        """O."""
        return int(self.observation.max()) + 1


def plain(next_state: Any, reward: Any, start: int) -> MDP:
    """A deterministic MDP whose states are seen: ``[S, A]`` arrays, one first state."""
    states, actions = np.shape(next_state)
    first = np.zeros(states)
    first[start] = 1.0
    return MDP(
        np.asarray(next_state, dtype=np.int32)[..., None],
        np.ones((states, actions, 1)),
        np.asarray(reward, dtype=np.float64)[..., None],
        np.arange(actions, dtype=np.int32),
        first,
        np.arange(states, dtype=np.int32),
    )


def random_mdp(
    states: int,
    actions: int,
    *,
    generator: Generator,
    outcomes: int | None = None,
    ending: float = 0.2,
    observations: int | None = None,
) -> MDP:
    """A random MDP: outcomes with Dirichlet(1) probabilities, normal rewards, random ends.

    Args:
        states, actions: how many.
        generator: every random draw comes from it.
        outcomes: of each state and action, to states drawn at random; all states by default.
        ending: the probability that an action ends the episode, in (0, 1].
        observations: states are seen as one of so many at random; each as itself by default.

    Raises:
        InvalidInput: if an argument breaks its rule.

    Example:
        >>> mdp = random_mdp(5, 3, generator=torch.Generator().manual_seed(0))
        >>> mdp.n_states, mdp.n_actions, mdp.next_state.shape
        (5, 3, (5, 3, 6))
    """
    check_integer("states", states)
    check_integer("actions", actions)
    check_number("ending", ending, above=0, at_most=1)
    count = states if outcomes is None else check_integer("outcomes", outcomes)
    shape = (states, actions, count)
    if outcomes is None:
        to = torch.arange(states).expand(shape)
    else:
        to = torch.randint(states, shape, generator=generator)
    weights = -torch.rand(shape, generator=generator, dtype=torch.float64).log()
    weights = (1 - ending) * weights / weights.sum(-1, keepdim=True)
    last = torch.full((states, actions, 1), -1)
    probability = torch.cat([weights, torch.full(last.shape, ending, dtype=torch.float64)], -1)
    reward = torch.randn(probability.shape, generator=generator, dtype=torch.float64)
    start = -torch.rand(states, generator=generator, dtype=torch.float64).log()
    seen = torch.arange(states)
    if observations is not None:
        check_integer("observations", observations)
        seen = torch.arange(states) % min(observations, states)
        seen = seen[torch.randperm(states, generator=generator)]
    return MDP(
        torch.cat([to, last], -1).numpy().astype(np.int32),
        probability.numpy(),
        reward.numpy(),
        np.arange(actions, dtype=np.int32),
        (start / start.sum()).numpy(),
        seen.numpy().astype(np.int32),
    )
