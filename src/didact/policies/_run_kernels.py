"""Many runs side by side, watched as they train. Imports numba: import this where it is used.

Numba's cache looks at the date of this file alone: after a change in what it calls, touch it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from ._draws import compiled, drawn, seeded, spread, uniform
from ._kernels import STUDENT, TEACHER, softmax, train


@compiled
def watch(
    world: Any,
    control: Any,
    teacher: Any,
    log_teacher: Any,
    teacher_cumulative: Any,
    theta: Any,
    state: Any,
    episodes: Any,
    discount: Any,
    limit: Any,
    width: Any,
    found: Any,
) -> None:
    """Means over episodes of a control policy: return, discounted return, H×(π‖πθ), length.

    The cross-entropy is the mean over all states that were met, each as often as it was met.
    """
    next_state, cumulative, reward, effect, start, observation = world
    n_states, n_actions = len(teacher), len(width)
    n_effects = len(next_state) // n_states
    p, own = np.empty((n_states, n_actions)), np.empty((n_states, n_actions))
    cost, known = np.empty(n_states), np.zeros(n_states, np.bool_)
    paid, discounted, far, steps = 0.0, 0.0, 0.0, 0
    for _ in range(episodes):
        s = drawn(start, 0, uniform(state))
        weight, t = 1.0, 0
        while s >= 0 and t < limit:
            if not known[s]:
                known[s] = True
                o = observation[s]
                top, total = softmax(theta, o, p, own, s, width)
                norm = top + math.log(total)
                cost[s] = 0.0
                for a in range(n_actions):
                    cost[s] -= teacher[s, a] * (theta[o, a] - norm)
            far += cost[s]
            u = uniform(state)
            if control == STUDENT:
                a = drawn(own, s, u)
            elif control == TEACHER:
                a = drawn(teacher_cumulative, s, u)
            else:
                a = min(int(u * n_actions), n_actions - 1)
            row = s * n_effects + effect[a]
            outcome = drawn(cumulative, row, uniform(state))
            paid += reward[row, outcome]
            discounted += weight * reward[row, outcome]
            weight *= discount
            s = next_state[row, outcome]
            t += 1
        steps += t
    found[0], found[1] = paid / episodes, discounted / episodes
    found[2], found[3] = far / steps, steps / episodes


@spread
def train_all(
    worlds: Any,
    rule: Any,
    teachers: Any,
    rates: Any,
    schedule: Any,
    sizes: Any,
    initial: Any,
    controls: Any,
    found: Any,
    made: Any,
    thetas: Any,
    width: Any,
) -> None:
    """Every run: train up to each checkpoint, then watch. Runs share nothing but their inputs."""
    next_state, cumulative, reward, effect, start, observation = worlds
    teacher, log_teacher, teacher_cumulative, teacher_values = teachers
    seed, repeats, watched, limit, keep = sizes
    n_observations = len(initial)
    runs = len(next_state) * repeats
    for r in prange(runs):
        w = r // repeats
        # Copies: threads that count references to the same array wait for one another.
        world = (
            next_state[w].copy(), cumulative[w].copy(), reward[w].copy(), effect.copy(),
            start[w : w + 1].copy(), observation[w].copy(),
        )  # fmt: skip
        own_teacher = teacher[w].copy(), log_teacher[w].copy(), teacher_cumulative[w].copy()
        own_values = teacher_values[w].copy()
        theta = initial.copy()
        critics = (np.zeros(n_observations), np.zeros(n_observations))
        state, eyes = seeded(seed, 2 * r), seeded(seed, 2 * r + 1)
        done, steps, cut = 0, 0, 0
        for c in range(len(schedule)):
            more, over = train(
                world, rule, *own_teacher, own_values, theta, state, done, schedule[c] - done,
                rates, critics, limit, width,
            )  # fmt: skip
            steps += more
            cut += over
            done = schedule[c]
            made[r, c, 0] = steps
            made[r, c, 1] = cut
            for q in range(len(controls)):
                watch(
                    world, controls[q], *own_teacher, theta, eyes, watched, rates[2], limit, width,
                    found[r, c, q],
                )  # fmt: skip
        if keep:
            thetas[r] = theta
