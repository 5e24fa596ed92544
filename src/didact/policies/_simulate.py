"""Rules on many tabular worlds at once: a compiled loop for every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import InvalidInput, check_integer, check_number, extra, invalid
from ._exact import LEAST_TEACHER_PROBABILITY
from ._rule import Control, Rule, Value
from ._worlds import Worlds

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Simulated:
    """What many runs came to; R runs, C checkpoints, Q control policies that were watched.

    Attributes:
        updates: ``[C]``, after how many updates.
        steps: ``[R, C]``, environment steps of training until then.
        cut: ``[R, C]``, episodes of training that were cut at the limit until then.
        returns: ``[R, C, Q]``, mean return of an episode that q controls, undiscounted.
        discounted: ``[R, C, Q]``.
        cross_entropy: ``[R, C, Q]``, H×(π‖πθ), mean over the states that q met.
        lengths: ``[R, C, Q]``, mean length of an episode.
        logits: ``[R, O, A]`` at the end, if they were asked for.
    """

    updates: NDArray[np.int64]
    steps: NDArray[np.int64]
    cut: NDArray[np.int64]
    returns: Floats
    discounted: Floats
    cross_entropy: Floats
    lengths: Floats
    logits: Floats | None


def simulate(
    rule: Rule,
    worlds: Worlds,
    teacher: ArrayLike,
    *,
    updates: int,
    seed: int,
    runs: int = 1,
    learning_rate: float = 0.1,
    discount: float = 0.99,
    critic_rate: float = 0.1,
    teacher_values: ArrayLike | None = None,
    initial: ArrayLike | None = None,
    baseline: bool = False,
    anneal: int = 0,
    floor: float = LEAST_TEACHER_PROBABILITY,
    checkpoints: int | Sequence[int] = 20,
    watched: int = 100,
    controls: Sequence[Control] = (Control.STUDENT,),
    limit: int = 10_000,
    logits: bool = False,
    threads: int = 1,
) -> Simulated:
    r"""Train tabular softmax students by a rule, one episode per update, on every world.

    ``θ ← θ − α [Σ_t −∇log πθ(a_t|s_t) R̂_t + ∇ℓ_t]``, with everything but ∇ at the θ and V_πθ that
    the episode began with. The student's critic V_πθ, where a rule uses it, is 0 at first and
    fitted to Monte-Carlo returns: ``V(s) ← V(s) + rate · (G_t − V(s))``.

    A run's numbers depend on ``seed`` and on its place alone, not on ``threads``.

    Reference: Czarnecki et al. 2019, sections 3.2 and 4, appendix A.

    Args:
        rule: which row, with its control policy.
        worlds: W of them.
        teacher: π, ``[W, S, A]`` or ``[S, A]`` for all.
        updates: episodes to train on.
        seed: of every random draw.
        runs: repetitions in each world; R = W · runs, those of a world side by side.
        learning_rate: α.
        discount: γ.
        critic_rate: of the student's critics.
        teacher_values: V_π, ``[W, S]`` or ``[S]``, for the rules that use it.
        initial: θ at first, ``[O, A]``; 0 by default.
        baseline: subtract a critic of R̂, fitted at the same rate, from R̂.
        anneal: with control by a mixture: the teacher acts with probability
            ``max(0, 1 − k / anneal)`` in each step of update k.
        floor: log π is taken of at least this probability: a deterministic teacher's is −∞, and the
            smaller the floor, the larger a single mistake in the return.
        checkpoints: how many looks at even distances, or after which updates to look.
        watched: episodes of each look.
        controls: policies whose episodes are watched.
        limit: longer episodes are cut there, as if they had ended, and counted: a policy may learn
            to go back and forth for ever.
        logits: keep θ at the end.
        threads: runs at a time.

    Returns:
        Curves of every run.

    Raises:
        InvalidInput: shapes that do not fit, a teacher that is no distribution, a critic that is
            missing.

    Example:
        >>> from didact.policies import n_distill, worlds
        >>> from didact.tasks import corridor
        >>> right = np.tile([0.0, 1.0], (7, 1))
        >>> found = simulate(n_distill, worlds([corridor(3)]), right, updates=200, seed=0)
        >>> found.returns.shape, bool(found.returns[0, -1, 0] > 0.9)
        ((1, 20, 1), True)
    """
    check_integer("updates", updates)
    check_integer("seed", seed, at_least=0)
    check_integer("runs", runs)
    check_integer("watched", watched)
    check_integer("limit", limit)
    check_integer("anneal", anneal, at_least=1 if rule.control is Control.MIXTURE else 0)
    check_number("floor", floor, above=0, at_most=1)
    check_number("learning_rate", learning_rate, above=0)
    check_number("critic_rate", critic_rate, above=0, at_most=1)
    check_number("discount", discount, at_least=0, at_most=1)
    count, states, actions = worlds.shape
    pi = policy_table("teacher", teacher, worlds)
    v = np.zeros((count, states))
    if Value.TEACHER in rule.uses:
        if teacher_values is None:
            raise invalid("teacher_values", f"given: the rule {rule.name} uses it", None)
        v = np.array(np.broadcast_to(np.asarray(teacher_values, dtype=np.float64), v.shape))
        if not np.isfinite(v).all():
            raise invalid("teacher_values", "finite", "NaN or infinity")
    theta = np.zeros((worlds.n_observations, actions))
    if initial is not None:
        theta = np.array(initial, dtype=np.float64)
        if theta.shape != (worlds.n_observations, actions) or not np.isfinite(theta).all():
            rule_ = f"a finite array [observations, actions] = [{worlds.n_observations}, {actions}]"
            raise invalid("initial", rule_, list(theta.shape))
    schedule = _schedule(checkpoints, updates)
    if Control.MIXTURE in controls or not controls:
        raise invalid("controls", "some of TEACHER, STUDENT and UNIFORM", list(controls))
    total = count * runs
    found = np.zeros((total, len(schedule), len(controls), 4))
    made = np.zeros((total, len(schedule), 2), dtype=np.int64)
    kept = np.zeros((total if logits else 1, worlds.n_observations, actions))
    kernels = _kernels(threads)
    kernels.train_all(
        worlds.arrays,
        (
            int(rule.control), int(rule.loss), int(rule.channel), int(rule.bootstrap),
            int(rule.baseline), rule.per_step, rule.gate, rule.reward,
        ),
        (pi, np.log(np.maximum(pi, floor)), np.cumsum(pi, -1), v),
        (learning_rate, critic_rate, discount, float(anneal), baseline),
        schedule,
        (seed, runs, watched, limit, logits),
        theta,
        np.array([int(c) for c in controls]),
        found,
        made,
        kept,
    )  # fmt: skip
    return Simulated(
        schedule,
        made[..., 0],
        made[..., 1],
        found[..., 0],
        found[..., 1],
        found[..., 2],
        found[..., 3],
        kept if logits else None,
    )


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
    """Action values by ε-greedy Q-learning, 0 at first: ``[W, S, A]``.

    ``Q(s, a) ← Q(s, a) + rate · (r + γ max_b Q(s', b) − Q(s, a))``, by observation where states are
    not seen.

    Args:
        worlds: W of them.
        seed: of every random draw.
        episodes: of each world.
        rate, epsilon, discount: as in appendix A.
        limit: longer episodes are cut there.
        threads: worlds at a time.

    Example:
        >>> from didact.policies import worlds
        >>> from didact.tasks import corridor
        >>> q = q_learning(worlds([corridor(2)]), seed=0, episodes=2000, rate=0.1)
        >>> q[0].argmax(-1).tolist()
        [1, 1, 1, 1, 1]
    """
    check_integer("episodes", episodes)
    check_integer("seed", seed, at_least=0)
    check_number("rate", rate, above=0, at_most=1)
    check_number("epsilon", epsilon, at_least=0, at_most=1)
    check_number("discount", discount, at_least=0, at_most=1)
    q = np.zeros((len(worlds), worlds.n_observations, worlds.shape[2]))
    kernels = _kernels(threads)
    kernels.learn_q(worlds.arrays, episodes, rate, epsilon, discount, seed, limit, q)
    rows: Floats = q[np.arange(len(worlds))[:, None], worlds.observation]
    return rows


def policy_of(q: ArrayLike, temperature: float = 0.0) -> Floats:
    """The policy of action values: greedy, ties shared equally, or Boltzmann's.

    ``π(a|s) ∝ exp(Q(s, a) / T)``; T = 0: uniform over the best actions.

    Args:
        q: ``[..., A]``.
        temperature: T.

    Example:
        >>> policy_of([[1.0, 1.0, 0.0]]).tolist()
        [[0.5, 0.5, 0.0]]
    """
    check_number("temperature", temperature, at_least=0)
    values = np.asarray(q, dtype=np.float64)
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
    check_integer("seed", seed, at_least=0)
    check_number("discount", discount, at_least=0, at_most=1)
    pi = policy_table("policy", policy, worlds)
    found, visits = np.zeros(worlds.shape[:2]), np.zeros(worlds.shape[:2], dtype=np.int64)
    _kernels(threads).sample_values(
        worlds.arrays, np.cumsum(pi, -1), episodes, discount, seed, limit, found, visits
    )
    return found, visits


def policy_table(name: str, policy: ArrayLike, worlds: Worlds) -> Floats:
    """A policy of every world, ``[W, S, A]``, checked."""
    pi = np.asarray(policy, dtype=np.float64)
    if pi.shape not in (worlds.shape, worlds.shape[1:]):
        rule = f"an array [worlds, states, actions] = {list(worlds.shape)}, or one for all worlds"
        raise invalid(name, rule, list(pi.shape))
    if not np.isfinite(pi).all() or (pi < 0).any() or not np.allclose(pi.sum(-1), 1, atol=1e-6):
        raise InvalidInput(
            f"Parameter `{name}` should hold a probability distribution over actions for every "
            f"state. Found sums from {pi.sum(-1).min():g} to {pi.sum(-1).max():g}, the least "
            f"number {pi.min():g}."
        )
    return np.ascontiguousarray(np.broadcast_to(pi, worlds.shape))


def _schedule(checkpoints: int | Sequence[int], updates: int) -> NDArray[np.int64]:
    if isinstance(checkpoints, int):
        check_integer("checkpoints", checkpoints)
        return np.unique(np.linspace(0, updates, checkpoints + 1).round().astype(np.int64)[1:])
    found = np.asarray(list(checkpoints), dtype=np.int64)
    if not len(found) or (np.diff(found, prepend=-1) <= 0).any() or found[-1] > updates:
        raise invalid("checkpoints", f"ascending, from 0 to {updates}", list(checkpoints))
    return found


def _kernels(threads: int) -> Any:
    check_integer("threads", threads)
    with extra("policies"):
        import numba

        from . import _kernels
    cores: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if threads > cores:
        raise invalid("threads", f"at most {cores}", threads)
    numba.set_num_threads(threads)
    return _kernels
