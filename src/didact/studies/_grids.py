"""One cell of the policy distillation studies on random grid worlds: a rule, many worlds."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .._checks import check_choice
from ..policies import (
    RULES,
    Control,
    Rule,
    Span,
    Worlds,
    actor_critic,
    estimate_values,
    policy_of,
    q_learning,
    simulate,
    worlds,
)
from ..runs import write_atomic
from ..tasks import MDP, grid_world
from ._study import Log, Record

ControlName = Literal["student", "teacher", "uniform", "mixture"]
TeacherName = Literal["q_learning", "actor_critic"]
Estimator = Literal["returns", "baseline", "td"]
ESTIMATORS: dict[Estimator, str] = {
    "returns": "Monte-Carlo",
    "baseline": "Monte-Carlo − critic",
    "td": "TD",
}
CONTROLS: dict[str, Control] = {
    "student": Control.STUDENT,
    "teacher": Control.TEACHER,
    "uniform": Control.UNIFORM,
    "mixture": Control.MIXTURE,
}
WATCHED: tuple[ControlName, ...] = ("student", "teacher", "uniform")
"""Whose episodes are looked at: a mixture has none of its own after its end."""
ANNEALED = 0.1
"""Share of the updates in which a mixture goes from the teacher to the student."""
ROLLOUTS = 100
"""Trajectories from which V_π is estimated."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one cell."""

    rule: str
    """Its name in ``didact rules``, with +R where the task's reward joins in."""
    first: int
    """Number of the first world; a world's number is its seed."""
    count: int
    """Worlds."""
    control: ControlName = "student"
    """Who acts while the student learns."""
    temperature: float = 0.0
    """Of the teacher's Boltzmann policy; 0: greedy."""
    flipped: float = 0.0
    """Share of the states that the teacher visits in which its most probable action is another."""
    actions: int = 4
    """Of which four move."""
    teacher: TeacherName = "q_learning"
    """How it was trained."""
    view: int = 0
    """k of the (2k + 1)² window that student and teacher see; 0: the whole state."""
    updates: int = 30_000
    """Episodes of training."""
    taught: int = 30_000
    """Episodes of the teacher's training."""
    learning_rate: float = 0.1
    """Of the student."""
    discount: float = 0.99
    """γ."""
    floor: float = 1e-8
    """log π is taken of at least this."""
    estimator: Estimator = "returns"
    """Of R̂."""
    watched: int = 20
    """Episodes at each checkpoint and for each control policy."""
    checkpoints: int = 30
    """On a logarithmic scale."""
    across: bool = False
    """Watch what teacher and uniform policy would meet, too."""
    threads: int = 1
    """Worlds at a time."""


class Teaching(NamedTuple):
    """What the students of a cell learn from: the worlds, π ``[W, S, A]`` and V_π ``[W, S]``."""

    worlds: Worlds
    policy: NDArray[np.float64]
    values: NDArray[np.float64]
    visited: NDArray[np.bool_]


def named(rule: str) -> Rule:
    """A rule by its name, with or without +R.

    Raises:
        InvalidInput: if there is none of that name.
    """
    known = {each.name: each for each in RULES}
    check_choice("rules", rule.removesuffix("+R"), tuple(known))
    found = known[rule.removesuffix("+R")]
    return found.with_reward() if rule.endswith("+R") else found


def estimators(rule: Rule, wanted: Sequence[Estimator]) -> list[Estimator]:
    """Those among the wanted that differ for a rule."""
    if not rule.returns:
        return ["returns"]
    return [each for each in wanted if each != "td" or rule.span is not Span.STEP]


def estimated(way: Estimator) -> dict[str, Any]:
    """Arguments of :func:`didact.policies.simulate`."""
    return {"baseline": way != "returns", "trace": 0.0 if way == "td" else 1.0}


def schedule(updates: int, checkpoints: int) -> list[int]:
    """After which updates to look: 1 … updates, evenly on a logarithmic scale."""
    places = np.geomspace(1, updates, checkpoints).round().astype(int)
    return sorted(set(places.tolist()))


def drawn(run: Run, seed: int) -> MDP:
    """World number ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    return grid_world(generator=generator, actions=run.actions, view=run.view or None)


def teaching(run: Run, shared: Path) -> Teaching:
    """Draw the worlds and train their teachers, or load what was trained before."""
    many = worlds([drawn(run, seed) for seed in range(run.first, run.first + run.count)])
    policy = policy_of(_trained(run, many, shared), run.temperature)
    _, visits = estimate_values(
        many, policy, seed=1, episodes=ROLLOUTS, discount=run.discount, threads=run.threads
    )
    policy = flipped(policy, visits > 0, run.flipped, run.first)
    values, visits = estimate_values(
        many, policy, seed=2, episodes=ROLLOUTS, discount=run.discount, threads=run.threads
    )
    return Teaching(many, policy, values, visits > 0)


def _trained(run: Run, many: Worlds, shared: Path) -> NDArray[np.float64]:
    """Action values or logits of the teachers ``[W, S, A]``; they are kept between cells."""
    shared.mkdir(exist_ok=True)
    facts = (run.teacher, run.first, run.count, run.actions, run.view, run.taught, run.discount)
    path = shared / f"teacher-{'-'.join(map(str, facts))}.npz"
    if not path.exists():
        if run.teacher == "q_learning":
            found = q_learning(
                many, seed=0, episodes=run.taught, discount=run.discount, threads=run.threads
            )
        else:
            uniform = np.full(many.shape, 1 / many.shape[2])
            logits = simulate(
                actor_critic, many, uniform, updates=run.taught, seed=0, discount=run.discount,
                checkpoints=1, watched=1, logits=True, threads=run.threads,
            ).logits  # fmt: skip
            assert logits is not None
            found = logits[np.arange(len(many))[:, None], many.observation]
        buffer = io.BytesIO()
        np.savez_compressed(buffer, found=found)
        write_atomic(path, buffer.getvalue())
    with np.load(path, allow_pickle=False) as arrays:
        loaded: NDArray[np.float64] = arrays["found"]
        return loaded


def flipped(
    policy: NDArray[np.float64], visited: NDArray[np.bool_], share: float, seed: int
) -> NDArray[np.float64]:
    """Exchange the most probable action's probability with another's, in some visited states.

    Args:
        policy: ``[W, S, A]``.
        visited: ``[W, S]``.
        share: of the visited states.
        seed: of the draw.
    """
    found = policy.copy()
    rng = np.random.default_rng(seed)
    for w in range(len(policy)):
        states = np.flatnonzero(visited[w])
        for s in rng.permutation(states)[: round(share * len(states))]:
            best = int(found[w, s].argmax())
            other = int(rng.choice(np.delete(np.arange(policy.shape[2]), best)))
            found[w, s, [best, other]] = found[w, s, [other, best]]
    return found


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell.

    Returns:
        ``updates`` ``[C]``; ``returns``, ``discounted``, ``cross_entropy``: by control policy that
        was watched, by checkpoint, (mean, variance) over the worlds; ``teacher``: (mean, variance)
        of its return; ``area``: by world, the mean over a linear time axis of the student's return
        and cross-entropy; ``determinism``: by world, the mean of max_a π(a|s) where the teacher
        goes; ``cut`` episodes; CPU ``seconds``.
    """
    began = time.process_time()
    data = teaching(run, shared)
    watched = WATCHED if run.across else WATCHED[:1]
    rule = named(run.rule).controlled_by(CONTROLS[run.control])
    shared_options: dict[str, Any] = {
        "seed": run.first, "discount": run.discount, "teacher_values": data.values,
        "threads": run.threads,
    }  # fmt: skip
    found = simulate(
        rule, data.worlds, data.policy, updates=run.updates, learning_rate=run.learning_rate,
        floor=run.floor, watched=run.watched,
        **estimated(run.estimator),
        anneal=max(1, round(ANNEALED * run.updates)) if run.control == "mixture" else 0,
        checkpoints=schedule(run.updates, run.checkpoints),
        controls=[CONTROLS[name] for name in watched], **shared_options,
    )  # fmt: skip
    teacher = simulate(
        named(run.rule), data.worlds, data.policy, updates=1, checkpoints=[0], watched=ROLLOUTS,
        controls=[Control.TEACHER], **shared_options,
    )  # fmt: skip
    record: Record = {"updates": found.updates.tolist(), "cut": int(found.cut[:, -1].sum())}
    for name in ("returns", "discounted", "cross_entropy"):
        curves = getattr(found, name)
        record[name] = {
            control: [moments(curves[:, c, q]) for c in range(curves.shape[1])]
            for q, control in enumerate(watched)
        }
    record["teacher"] = moments(teacher.returns[:, 0, 0])
    weights = np.diff(found.updates, prepend=0) / run.updates
    record["area"] = {
        name: (getattr(found, name)[:, :, 0] @ weights).round(4).tolist()
        for name in ("returns", "cross_entropy")
    }
    certain = np.where(data.visited, data.policy.max(-1), np.nan)
    record["determinism"] = np.nanmean(certain, 1).round(4).tolist()
    record["seconds"] = round(time.process_time() - began, 1)
    return record


def moments(values: NDArray[np.float64]) -> list[float]:
    """(mean, variance of the values); of one value 0."""
    spread = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    return [float(f"{values.mean():.5g}"), float(f"{spread:.5g}")]


def chunks(total: int, size: int) -> list[tuple[int, int]]:
    """(first, count) of every cell's worlds."""
    return [(first, min(size, total - first)) for first in range(0, total, size)]
