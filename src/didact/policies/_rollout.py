"""Episodes of a tabular policy."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .._checks import check_integer, invalid
from ._episodes import Episodes
from ._mdp import MDP
from ._worlds import cumulated, policy_table, worlds


def rollout(
    mdp: MDP,
    policy: ArrayLike | Tensor,
    *,
    episodes: int,
    generator: torch.Generator,
    limit: int = 1000,
) -> tuple[Episodes, Tensor]:
    """Let a policy act in a finite MDP, in all episodes at a time.

    Args:
        mdp: finite.
        policy: probabilities ``[S, A]``; of one that sees observations, ``table[observation]``.
        episodes: B.
        generator: of every draw.
        limit: longer episodes are cut off there (truncated).

    Returns:
        The episodes, and the states they went through, ``[B, T + 1]``; 0 behind the end.

    Raises:
        InvalidInput: if the MDP contradicts itself or has no ends, or the policy does not fit it.

    Example:
        >>> from didact.tasks import corridor
        >>> right = torch.tensor([[0.0, 1.0]] * 5)
        >>> found, states = rollout(corridor(2), right, episodes=2,
        ...                         generator=torch.Generator().manual_seed(0))
        >>> states.tolist(), found.rewards.tolist()
        ([[2, 3, 4, 0], [2, 3, 4, 0]], [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    """
    check_integer("episodes", episodes)
    check_integer("limit", limit)
    if not isinstance(generator, torch.Generator):
        raise invalid("generator", "a torch.Generator", generator)
    world = worlds([mdp])
    table = policy_table("policy", policy, world)
    acting, begin, outcomes, next_state, reward, effect = map(
        torch.from_numpy,
        (
            cumulated(table[0]), world.start[0], world.cumulative[0], world.next_state[0],
            world.reward[0], world.effect,
        ),
    )  # fmt: skip

    def drawn(rows: Tensor) -> Tensor:
        """One place of each row of cumulated probabilities."""
        u = torch.rand(len(rows), 1, generator=generator, dtype=torch.float64)
        return (rows <= u).sum(-1)

    state = drawn(begin.expand(episodes, -1))
    going = torch.ones(episodes, dtype=torch.bool)
    states = [state]
    actions: list[Tensor] = []
    rewards: list[Tensor] = []
    lengths = torch.zeros(episodes, dtype=torch.long)
    while len(actions) < limit and bool(going.any()):
        action = drawn(acting[state])
        does = effect[action]
        outcome = drawn(outcomes[state, does])
        rewards.append(torch.where(going, reward[state, does, outcome], 0.0))
        actions.append(action)
        lengths += going
        entered = next_state[state, does, outcome].long()
        going = going & (entered >= 0)
        state = torch.where(going, entered, 0)
        states.append(state)
    found = Episodes(torch.stack(actions, 1), torch.stack(rewards, 1), lengths, ~going)
    return found, torch.stack(states, 1)
