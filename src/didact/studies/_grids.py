"""One cell of the policy distillation studies on random grid worlds: a rule, many worlds."""

from __future__ import annotations

import io
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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
from ._study import Cell, Log, Record

ControlName = Literal["student", "teacher", "uniform"]
TeacherName = Literal["q_learning", "actor_critic"]
CONTROLS: dict[str, Control] = {
    "student": Control.STUDENT,
    "teacher": Control.TEACHER,
    "uniform": Control.UNIFORM,
}
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
    """Episodes of training; the teacher has as many."""
    learning_rate: float = 0.1
    """Of the student."""
    discount: float = 0.99
    """γ."""
    floor: float = 1e-8
    """log π is taken of at least this."""
    baseline: bool = False
    """Subtract a critic of R̂."""
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
    facts = (run.teacher, run.first, run.count, run.actions, run.view, run.updates, run.discount)
    path = shared / f"teacher-{'-'.join(map(str, facts))}.npz"
    if not path.exists():
        if run.teacher == "q_learning":
            found = q_learning(
                many, seed=0, episodes=run.updates, discount=run.discount, threads=run.threads
            )
        else:
            uniform = np.full(many.shape, 1 / many.shape[2])
            logits = simulate(
                actor_critic, many, uniform, updates=run.updates, seed=0, discount=run.discount,
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
    watched = list(CONTROLS) if run.across else ["student"]
    rule = named(run.rule).controlled_by(CONTROLS[run.control])
    shared_options: dict[str, Any] = {
        "seed": run.first, "discount": run.discount, "teacher_values": data.values,
        "threads": run.threads,
    }  # fmt: skip
    found = simulate(
        rule, data.worlds, data.policy, updates=run.updates, learning_rate=run.learning_rate,
        floor=run.floor, baseline=run.baseline, watched=run.watched,
        checkpoints=schedule(run.updates, run.checkpoints),
        controls=[CONTROLS[name] for name in watched], **shared_options,
    )  # fmt: skip
    teacher = simulate(
        rule, data.worlds, data.policy, updates=1, checkpoints=[0], watched=ROLLOUTS,
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


def pooled(parts: list[tuple[int, list[float]]]) -> tuple[float, float]:
    """Mean and standard error over the worlds of several cells, from (count, moments) of each."""
    n = sum(count for count, _ in parts)
    centre = sum(count * mean for count, (mean, _) in parts) / n
    total = sum(
        (count - 1) * variance + count * (mean - centre) ** 2 for count, (mean, variance) in parts
    )
    return centre, math.sqrt(total / max(n - 1, 1) / n)


class Curve(NamedTuple):
    """Means over worlds by update, with the half width of their 95 % intervals."""

    updates: list[int]
    mean: NDArray[np.float64]
    half: NDArray[np.float64]
    worlds: int


def curve(cells: Sequence[Cell], name: str, control: str = "student") -> Curve:
    """``name`` (``"returns"``, …) of cells that differ in their worlds alone."""
    updates = cells[0].record["updates"]
    points = [
        pooled([(cell.run.count, cell.record[name][control][c]) for cell in cells])
        for c in range(len(updates))
    ]
    mean, error = np.array(points).T
    return Curve(updates, mean, 1.96 * error, sum(cell.run.count for cell in cells))


def teacher_level(cells: Sequence[Cell]) -> float:
    """The teachers' mean return."""
    return pooled([(cell.run.count, cell.record["teacher"]) for cell in cells])[0]


def draw(axes: Any, found: Curve, label: str, **style: Any) -> None:
    """A curve with its band."""
    (line,) = axes.plot(found.updates, found.mean, label=label, linewidth=1.4, **style)
    axes.fill_between(
        found.updates, found.mean - found.half, found.mean + found.half,
        color=line.get_color(), alpha=0.2, linewidth=0,
    )  # fmt: skip
    axes.set_xscale("log")


def panel(
    axes: Any,
    groups: Mapping[str, Sequence[Cell]],
    styles: Mapping[str, dict[str, Any]],
    name: str = "returns",
    control: str = "student",
) -> None:
    """A curve for each group, by its label, and with returns a line where the teachers are."""
    for label, cells in groups.items():
        draw(axes, curve(cells, name, control), label, **styles[label])
    if name == "returns" and groups:
        level = teacher_level(next(iter(groups.values())))
        axes.axhline(level, color="0.5", linewidth=0.8)


def grouped(cells: Sequence[Cell], free: Sequence[str], like: Run) -> dict[Any, list[Cell]]:
    """Cells that may be pooled, by what they have in ``free`` fields.

    In all other fields they are ``like`` the one given. Of a group those of the longest training
    are left, with one set of looks, the largest first, and no world twice.
    """
    sizes = ("updates", "watched", "checkpoints")
    anything = {"first", "count", "threads", *sizes, *free}
    same = [field.name for field in fields(Run) if field.name not in anything]
    by_key: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        if all(getattr(cell.run, name) == getattr(like, name) for name in same):
            by_key[tuple(getattr(cell.run, name) for name in free)].append(cell)
    found = {}
    for key, group in sorted(by_key.items()):
        by_size = defaultdict(list)
        for cell in group:
            by_size[tuple(getattr(cell.run, name) for name in sizes)].append(cell)
        kept: list[Cell] = []
        taken: set[int] = set()
        for cell in sorted(by_size[max(by_size)], key=lambda cell: -cell.run.count):
            own = set(range(cell.run.first, cell.run.first + cell.run.count))
            if not own & taken:
                taken |= own
                kept.append(cell)
        found[key] = kept
    return found


def chunks(total: int, size: int) -> list[tuple[int, int]]:
    """(first, count) of every cell's worlds."""
    return [(first, min(size, total - first)) for first in range(0, total, size)]


def reached(found: Curve, level: float) -> float:
    """After how many updates a curve first comes to a level, interpolated; infinity if never."""
    above = np.flatnonzero(found.mean >= level)
    if not len(above):
        return math.inf
    k = int(above[0])
    if k == 0:
        return float(found.updates[0])
    low, high = found.mean[k - 1], found.mean[k]
    share = (level - low) / (high - low)
    a, b = math.log(found.updates[k - 1]), math.log(found.updates[k])
    return math.exp(a + share * (b - a))
