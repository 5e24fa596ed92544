"""Hindsight rollouts: what a robot does in the next steps, known only afterwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray

from .._checks import Diverged, check_choice, check_integer
from ._parallel import in_processes
from ._simulator import Environment, needed, simulator_of

Array = NDArray[np.float64]
CHUNK = 50


class Rollouts(NamedTuple):
    """Independent examples, one per row.

    Args:
        state: ``[n, S]``, what is observed now.
        actions: ``[n, steps, A]``, what will be done; −1, 0 or 1.
        states: ``[n, steps, S]``, privileged: what is observed after each action.
        rewards: ``[n, steps]``, privileged: the reward of each step.
        label: ``[n]``, Σ_t rewards: what is to be predicted from state and actions.
    """

    state: Array
    actions: Array
    states: Array
    rewards: Array
    label: Array


def mujoco_rollouts(
    environment: Environment,
    rollouts: int,
    *,
    seed: int,
    steps: int = 16,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Rollouts:
    """Simulate the reward-model task of the LDT paper.

    For each example: reset; n ∼ U{10, …, 30} random steps; the observation is s; then ``steps``
    random actions. Each component of each action is drawn from {−1, 0, 1}. Termination is ignored,
    as in the paper: a fallen hopper is pushed on. The environments are Gymnasium's ``-v4`` (the
    paper's ``-v2`` has the same rewards and observations), and observations are theirs: without the
    position along the track, for example.

    Reference: Neitz, Parascandolo, Schölkopf, "A teacher-student framework to distill future
    trajectories", ICLR 2021, section 4.3 and appendix B.

    Args:
        environment: one of "Hopper", "Walker2d", "Swimmer", "HalfCheetah".
        rollouts: how many examples; the paper trains on 4,000 and tests on 10,000.
        seed: example i is seeded by (seed, i): it does not depend on ``jobs``, nor on how many
            examples are asked for. Test data need another seed.
        steps: how many actions.
        jobs: processes; more than one go through joblib.
        progress: ``progress(done, rollouts)``, called here after every few examples.

    Returns:
        The rollouts, in float64.

    Raises:
        MissingExtra: if Gymnasium or MuJoCo is not installed.
        InvalidInput: if an argument breaks its rule.
        Diverged: if the simulator reports an unstable state (it would go on from a reset one).

    Example:
        >>> data = mujoco_rollouts("Hopper", 3, seed=0)
        >>> data.state.shape, data.actions.shape, data.states.shape, data.rewards.shape
        ((3, 11), (3, 16, 3), (3, 16, 11), (3, 16))
    """
    check_choice("environment", environment, get_args(Environment))
    check_integer("rollouts", rollouts)
    check_integer("seed", seed, at_least=0)
    check_integer("steps", steps)
    check_integer("jobs", jobs)
    needed("gymnasium", "mujoco")
    seeds = SeedSequence(seed).spawn(rollouts)
    chunks = [seeds[start : start + CHUNK] for start in range(0, rollouts, CHUNK)]
    run = partial(_chunk, environment, steps)
    parts: list[Rollouts] = []
    done = 0
    with in_processes(run, chunks, jobs, "mujoco") as results:
        for part in results:
            parts.append(part)
            done += len(part.label)
            if progress is not None:
                progress(done, rollouts)
    return Rollouts(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _chunk(environment: str, steps: int, seeds: list[SeedSequence]) -> Rollouts:
    with simulator_of(environment) as (simulator, messages):
        rows = [_example(simulator, np.random.default_rng(seed), steps) for seed in seeds]
    if messages:
        raise Diverged(f"The simulation of {environment} is unstable. MuJoCo says: {messages[0]}")
    states, actions, rewards = (np.stack(arrays) for arrays in zip(*rows, strict=True))
    return Rollouts(
        state=states[:, 0],
        actions=actions,
        states=states[:, 1:],
        rewards=rewards,
        label=rewards.sum(axis=1),
    )


def _example(
    simulator: Any, generator: np.random.Generator, steps: int
) -> tuple[Array, Array, Array]:
    size = simulator.action_space.shape[0]
    simulator.reset(seed=int(generator.integers(2**31)))
    warm = int(generator.integers(10, 31))
    actions = generator.integers(-1, 2, size=(warm + steps, size)).astype(np.float64)
    seen = [simulator.step(action)[:2] for action in actions]
    states = np.array([state for state, _ in seen[warm - 1 :]], dtype=np.float64)
    rewards = np.array([reward for _, reward in seen[warm:]], dtype=np.float64)
    return states, actions[warm:], rewards
