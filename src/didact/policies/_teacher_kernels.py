"""The teachers' compiled loops. Imports numba: import this where it is used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ._draws import drawn, seeded, spread, uniform


@spread
def learn_q(
    worlds: Any,
    episodes: Any,
    rate: Any,
    epsilon: Any,
    discount: Any,
    seed: Any,
    limit: Any,
    q: Any,
) -> None:
    """ε-greedy Q-learning; ``q`` ``[W, O, A]`` in place. Ties are broken at random."""
    next_state, cumulative, reward, effect, start, observation = worlds
    n_actions = len(effect)
    n_effects = next_state.shape[1] // observation.shape[1]
    for w in prange(len(next_state)):
        state = seeded(seed, w)
        to, chance, paid, seen, own = next_state[w], cumulative[w], reward[w], observation[w], q[w]
        for _ in range(episodes):
            s = drawn(start, w, uniform(state))
            t = 0
            while s >= 0 and t < limit:
                o = seen[s]
                a = min(int(uniform(state) * n_actions), n_actions - 1)
                if uniform(state) >= epsilon:
                    # From a random place on: among equals each is as likely as gaps allow.
                    best = a
                    for step in range(1, n_actions):
                        other = a + step
                        if other >= n_actions:
                            other -= n_actions
                        if own[o, other] > own[o, best]:
                            best = other
                    a = best
                row = s * n_effects + effect[a]
                outcome = drawn(chance, row, uniform(state))
                target = paid[row, outcome]
                s = to[row, outcome]
                if s >= 0:
                    ahead = seen[s]
                    top = own[ahead, 0]
                    for b in range(1, n_actions):
                        top = max(top, own[ahead, b])
                    target += discount * top
                own[o, a] += rate * (target - own[o, a])
                t += 1


@spread
def sample_values(
    worlds: Any, policy: Any, episodes: Any, discount: Any, seed: Any, limit: Any, values: Any,
    visits: Any,
) -> None:  # fmt: skip
    """Every-visit Monte-Carlo means of a policy ``[W, S, A]`` (cumulated); in place ``[W, S]``."""
    next_state, cumulative, reward, effect, start, observation = worlds
    n_effects = next_state.shape[1] // observation.shape[1]
    for w in prange(len(next_state)):
        state = seeded(seed, w)
        to, chance, paid, acting = next_state[w], cumulative[w], reward[w], policy[w]
        states, rewards = np.empty(limit, np.int64), np.empty(limit)
        for _ in range(episodes):
            s = drawn(start, w, uniform(state))
            t = 0
            while s >= 0 and t < limit:
                row = s * n_effects + effect[drawn(acting, s, uniform(state))]
                outcome = drawn(chance, row, uniform(state))
                states[t], rewards[t] = s, paid[row, outcome]
                s = to[row, outcome]
                t += 1
            to_go = 0.0
            for i in range(t - 1, -1, -1):
                to_go = rewards[i] + discount * to_go
                visits[w, states[i]] += 1
                values[w, states[i]] += to_go
        for s in range(values.shape[1]):
            if visits[w, s] > 0:
                values[w, s] /= visits[w, s]
