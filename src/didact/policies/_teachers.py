"""What the students of the simulator learn from: action values, policies, critics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_integer, check_number, invalid
from ._threads import check_seed, set_threads
from ._worlds import Floats, Worlds, cumulated, policy_table


def q_learning(
    worlds: Worlds,
    *,
    seed: int,
    episodes: int = 30_000,
    rate: float = 0.01,
    epsilon: float = 0.1,
    discount: float = 0.99,
    limit: int = 10_000,
    threads: int = 1,
) -> Floats:
    """Action values by ε-greedy Q-learning, 0 at first.

    ``Q(s, a) ← Q(s, a) + rate · (r + γ max_b Q(s', b) − Q(s, a))``, by observation where states are
    not seen.

    Args:
        worlds: W of them.
        seed: of every random draw.
        episodes: of each world.
        rate, epsilon, discount: as in appendix A.
        limit: longer episodes are cut there.
        threads: worlds at a time.

    Returns:
        ``[W, S, A]`` float64; states that look the same have the same.

    Raises:
        InvalidInput: a number outside its range, no :class:`Worlds`, more threads than cores.
        MissingExtra: if numba is not installed.

    Example:
        >>> from didact.policies import worlds
        >>> from didact.tasks import corridor
        >>> q = q_learning(worlds([corridor(2)]), seed=0, episodes=2000, rate=0.1)
        >>> q[0].argmax(-1).tolist()
        [1, 1, 1, 1, 1]
    """
    check_integer("episodes", episodes)
    check_integer("limit", limit)
    check_seed(seed)
    check_number("rate", rate, above=0, at_most=1)
    check_number("epsilon", epsilon, at_least=0, at_most=1)
    if not isinstance(worlds, Worlds):
        raise invalid("worlds", "from `worlds`", worlds)
    check_number("discount", discount, at_least=0, at_most=1)
    q = np.zeros((len(worlds), worlds.n_observations, worlds.shape[2]))
    set_threads(threads)
    from ._teacher_kernels import learn_q

    learn_q(worlds.arrays, episodes, rate, epsilon, discount, seed, limit, q)
    rows: Floats = q[np.arange(len(worlds))[:, None], worlds.observation]
    return rows


def policy_of(q: ArrayLike, temperature: float = 0.0) -> Floats:
    """The policy of action values: greedy, ties shared equally, or Boltzmann's.

    ``π(a|s) ∝ exp(Q(s, a) / T)``; T = 0: uniform over the best actions.

    Args:
        q: ``[..., A]``.
        temperature: T.

    Raises:
        InvalidInput: if there are no actions, or a value is not finite.

    Example:
        >>> policy_of([[1.0, 1.0, 0.0]]).tolist()
        [[0.5, 0.5, 0.0]]
    """
    check_number("temperature", temperature, at_least=0)
    values = np.asarray(q, dtype=np.float64)
    if not values.ndim or not values.size or not np.isfinite(values).all():
        raise invalid("q", "finite numbers [..., actions]", q)
    top = values.max(-1, keepdims=True)
    if temperature == 0:
        weights = (values == top).astype(np.float64)
    else:
        weights = np.exp((values - top) / temperature)
    found: Floats = weights / weights.sum(-1, keepdims=True)
    return found


def estimate_values(
    worlds: Worlds,
    policy: ArrayLike,
    *,
    seed: int,
    episodes: int = 100,
    discount: float = 0.99,
    limit: int = 10_000,
    threads: int = 1,
) -> tuple[Floats, NDArray[np.int64]]:
    """V of a policy as the mean of the returns that were seen from each state (every visit).

    Args:
        worlds: W of them.
        policy: ``[W, S, A]`` or ``[S, A]``.
        seed: of every random draw.
        episodes: of each world.
        discount: γ.
        limit: longer episodes are cut there, as if they had ended.
        threads: worlds at a time.

    Returns:
        Values ``[W, S]``, 0 where a state was never visited, and how often each was.

    Example:
        >>> from didact.policies import worlds
        >>> from didact.tasks import corridor
        >>> right = np.tile([0.0, 1.0], (5, 1))
        >>> v, visits = estimate_values(worlds([corridor(2)]), right, seed=0, discount=0.5)
        >>> v[0].tolist(), visits[0].tolist()
        ([0.0, 0.0, 0.25, 0.5, 1.0], [0, 0, 100, 100, 100])
    """
    check_integer("episodes", episodes)
    check_integer("limit", limit)
    check_seed(seed)
    check_number("discount", discount, at_least=0, at_most=1)
    pi = policy_table("policy", policy, worlds)
    found, visits = np.zeros(worlds.shape[:2]), np.zeros(worlds.shape[:2], dtype=np.int64)
    set_threads(threads)
    from ._teacher_kernels import sample_values

    sample_values(worlds.arrays, cumulated(pi), episodes, discount, seed, limit, found, visits)
    return found, visits
