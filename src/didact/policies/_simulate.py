"""Rules on many tabular worlds at once: a compiled loop for every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import Diverged, check_integer, check_number, invalid
from ._losses import LEAST_TEACHER_PROBABILITY
from ._rule import Control, Rule, Span, Value, check_rule
from ._threads import check_seed, set_threads
from ._worlds import Floats, Worlds, cumulated, policy_table

UNROLLED = 4
"""Actions for which there is code of its own: those of a grid world."""


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
    trace: float = 1.0,
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
    fitted to Monte-Carlo returns: ``V(s) ← V(s) + rate · (G_t − V(s))``. As in the paper, γ weighs
    rewards and not states: with γ < 1 the mean update is not quite the exact one.

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
        baseline: subtract a critic of R̂, fitted at the same rate, from R̂; the student must be in
            control, as with another the critic would change the mean update.
        trace: λ of the TD(λ) estimate of R̂ by that critic; 1: Monte-Carlo, which needs none.
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
        Diverged: if what was watched is not finite.

    Example:
        >>> from didact.policies import n_distill, worlds
        >>> from didact.tasks import corridor
        >>> right = np.tile([0.0, 1.0], (7, 1))
        >>> found = simulate(n_distill, worlds([corridor(3)]), right, updates=200, seed=0)
        >>> found.returns.shape, bool(found.returns[0, -1, 0] > 0.9)
        ((1, 20, 1), True)
    """
    check_rule(rule, discount)
    if not isinstance(worlds, Worlds):
        raise invalid("worlds", "from `worlds`", worlds)
    check_integer("updates", updates)
    check_seed(seed)
    check_integer("runs", runs)
    check_integer("watched", watched)
    check_integer("limit", limit)
    check_integer("anneal", anneal, at_least=1 if rule.control is Control.MIXTURE else 0)
    check_number("floor", floor, above=0, at_most=1)
    check_number("trace", trace, at_least=0, at_most=1)
    if trace < 1 and (not baseline or rule.span is Span.TRAJECTORY):
        raise invalid("trace", "1 without a baseline, and over whole trajectories", trace)
    check_number("learning_rate", learning_rate, above=0)
    check_number("critic_rate", critic_rate, above=0, at_most=1)
    if baseline and rule.returns and rule.control is not Control.STUDENT:
        raise invalid(
            "baseline", f"False with {rule.name}, which the student does not control", True
        )
    count, states, actions = worlds.shape
    pi = policy_table("teacher", teacher, worlds)
    v = np.zeros((count, states))
    if Value.TEACHER in rule.uses:
        if teacher_values is None:
            raise invalid("teacher_values", f"given: the rule {rule.name} uses it", None)
        v = np.asarray(teacher_values, dtype=np.float64)
        if v.shape not in ((count, states), (states,)):
            rule_ = f"an array [worlds, states] = [{count}, {states}], or one for all worlds"
            raise invalid("teacher_values", rule_, list(v.shape))
        v = np.array(np.broadcast_to(v, (count, states)))
        if not np.isfinite(v).all():
            raise invalid("teacher_values", "finite", "NaN or infinity")
    theta = np.zeros((worlds.n_observations, actions))
    if initial is not None:
        theta = np.array(initial, dtype=np.float64)
        if theta.shape != (worlds.n_observations, actions) or not np.isfinite(theta).all():
            rule_ = f"a finite array [observations, actions] = [{worlds.n_observations}, {actions}]"
            raise invalid("initial", rule_, list(theta.shape))
    schedule = _schedule(checkpoints, updates)
    watchable = (Control.TEACHER, Control.STUDENT, Control.UNIFORM)
    if (
        not isinstance(controls, Sequence)
        or not controls
        or any(control not in watchable for control in controls)
    ):
        raise invalid("controls", "some of TEACHER, STUDENT and UNIFORM", controls)
    total = count * runs
    found = np.zeros((total, len(schedule), len(controls), 4))
    made = np.zeros((total, len(schedule), 2), dtype=np.int64)
    kept = np.zeros((total if logits else 1, worlds.n_observations, actions))
    set_threads(threads)
    from ._run_kernels import train_all

    train_all(
        worlds.arrays,
        (
            int(rule.control), int(rule.loss), int(rule.channel), int(rule.bootstrap),
            int(rule.baseline), int(rule.span), rule.gate, rule.reward,
        ),
        (pi, np.log(np.maximum(pi, floor)), cumulated(pi), v),
        (learning_rate, critic_rate, discount, float(anneal), baseline, float(trace)),
        schedule,
        (seed, runs, watched, limit, logits),
        theta,
        np.array([int(c) for c in controls]),
        found,
        made,
        kept,
        (0,) * actions if actions == UNROLLED else np.zeros(actions, dtype=np.int8),
    )  # fmt: skip
    finite = np.asarray(np.isfinite(found.reshape(*found.shape[:2], -1)).all(-1))
    if logits:
        finite[:, -1] &= np.isfinite(kept.reshape(len(kept), -1)).all(-1)
    if not finite.all():
        run, look = np.argwhere(~finite)[0]
        raise Diverged(
            f"After update {schedule[look]} what the student of run {run} does is not finite: "
            "returns, cross-entropies or logits. A smaller `learning_rate` would help."
        )
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


def _schedule(checkpoints: int | Sequence[int], updates: int) -> NDArray[np.int64]:
    if not isinstance(checkpoints, Sequence | np.ndarray):
        checkpoints = check_integer("checkpoints", checkpoints)
        return np.unique(np.linspace(0, updates, checkpoints + 1).round().astype(np.int64)[1:])
    found = np.asarray([check_integer("checkpoints", c, at_least=0) for c in checkpoints], np.int64)
    if not len(found) or (np.diff(found, prepend=-1) <= 0).any() or found[-1] > updates:
        raise invalid("checkpoints", f"ascending, from 0 to {updates}", list(checkpoints))
    return found
