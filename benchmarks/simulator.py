"""Time per environment step of the tabular simulator, beside a loop written for one rule by hand.

    python benchmarks/simulator.py --repeats 5    # about 3 minutes

The hand-written loop knows one thing: on-policy distillation in worlds with four actions. It
shares with the simulator the worlds, the teacher and how random numbers are made. Times are CPU
times of one thread, taken in turns; the last table is wall time by threads.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from typing import Any

import numpy as np
import torch
from numba import njit

from didact.policies import (
    Rule,
    actor_critic,
    entropy_regularised,
    estimate_values,
    exp_entropy_regularised,
    n_distill,
    on_policy_distill,
    policy_of,
    q_learning,
    reinforce,
    simulate,
    teacher_v_reward,
    value_gated,
    worlds,
)
from didact.policies._draws import seeded, uniform
from didact.tasks import grid_world

RULES = [
    on_policy_distill, n_distill, entropy_regularised, exp_entropy_regularised, reinforce,
    actor_critic, teacher_v_reward, value_gated.with_reward(),
]  # fmt: skip


@njit
def by_hand(
    next_state: Any, cumulative: Any, start: int, teacher: Any, updates: int, rate: float, seed: int
) -> int:
    """On-policy distillation in one world; steps made."""
    states = len(teacher)
    theta, change = np.zeros((states, 4)), np.zeros((states, 4))
    seen = np.empty(100_000, np.int64)
    state = seeded(seed, 0)
    steps = 0
    for _ in range(updates):
        s, t = start, 0
        while s >= 0:
            seen[t] = s
            t += 1
            top = max(max(theta[s, 0], theta[s, 1]), max(theta[s, 2], theta[s, 3]))
            p0, p1 = math.exp(theta[s, 0] - top), math.exp(theta[s, 1] - top)
            p2, p3 = math.exp(theta[s, 2] - top), math.exp(theta[s, 3] - top)
            share = 1.0 / (p0 + p1 + p2 + p3)
            p0, p1, p2, p3 = p0 * share, p1 * share, p2 * share, p3 * share
            change[s, 0] += teacher[s, 0] - p0
            change[s, 1] += teacher[s, 1] - p1
            change[s, 2] += teacher[s, 2] - p2
            change[s, 3] += teacher[s, 3] - p3
            u = uniform(state)
            a = 0 if u < p0 else 1 if u < p0 + p1 else 2 if u < p0 + p1 + p2 else 3
            u, k, row = uniform(state), 0, 4 * s + a
            while k < 7 and u >= cumulative[row, k]:
                k += 1
            s = next_state[row, k]
        for i in range(t):
            for a in range(4):
                theta[seen[i], a] += rate * change[seen[i], a]
                change[seen[i], a] = 0.0
        steps += t
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="turns per contender")
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--updates", type=int, default=5000)
    given = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    drawn = [grid_world(generator=generator) for _ in range(given.worlds)]
    many = worlds(drawn)
    # A teacher with a temperature, so that students stay on their way as long as they do early on.
    teacher = policy_of(q_learning(many, seed=0, episodes=10_000), temperature=1.0)
    values, _ = estimate_values(many, teacher, seed=0)
    next_state, cumulative, *_ = many.arrays
    start = int(drawn[0].start.argmax())

    def hand(rate: float) -> int:
        return sum(
            by_hand(next_state[w], cumulative[w], start, teacher[w], given.updates, rate, w)
            for w in range(len(many))
        )

    def ours(rule: Rule, rate: float, threads: int = 1, updates: int = given.updates) -> int:
        found = simulate(
            rule, many, teacher, updates=updates, seed=0, teacher_values=values,
            learning_rate=rate, checkpoints=1, watched=1, threads=threads,
        )  # fmt: skip
        return int(found.steps[:, -1].sum())

    contenders: dict[str, Any] = {"by hand: on_policy_distill": hand}
    contenders |= {rule.name: lambda rate, rule=rule: ours(rule, rate) for rule in RULES}
    print(
        f"{os.cpu_count()} cores; Python {platform.python_version()}, numpy {np.__version__}; "
        f"{given.repeats} turns."
    )
    for title, rate in (("As at the beginning (rate 1e-9)", 1e-9), ("While learning (0.1)", 0.1)):
        for run in contenders.values():
            run(rate)  # compile
        times: dict[str, list[float]] = {name: [] for name in contenders}
        lengths = {}
        for _ in range(given.repeats):
            for name, run in contenders.items():
                began = time.process_time()
                steps = run(rate)
                times[name].append((time.process_time() - began) / steps * 1e9)
                lengths[name] = steps / given.updates / len(many)
        print(f"\n{title}:\n")
        print("| rule | ns per step | min … max | steps per episode |\n|---|---|---|---|")
        for name, values_ in times.items():
            print(
                f"| {name} | {statistics.median(values_):.0f} | {min(values_):.0f} … "
                f"{max(values_):.0f} | {lengths[name]:.0f} |"
            )
    print("\n| threads | wall s | min … max | speed |\n|---|---|---|---|")
    counts = range(1, (os.cpu_count() or 1) + 1)
    took: dict[int, list[float]] = {threads: [] for threads in counts}
    for _ in range(given.repeats):
        for threads in counts:
            began = time.perf_counter()
            ours(n_distill, 1e-9, threads, 4 * given.updates)
            took[threads].append(time.perf_counter() - began)
    for threads, walls in took.items():
        wall = statistics.median(walls)
        print(
            f"| {threads} | {wall:.2f} | {min(walls):.2f} … {max(walls):.2f} | "
            f"{statistics.median(took[1]) / wall:.2f} |"
        )


if __name__ == "__main__":
    main()
