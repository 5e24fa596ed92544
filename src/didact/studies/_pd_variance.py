"""How noisy the estimators of one update are, and what whole trajectories and critics do."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Categorical

from ..policies import (
    MDP,
    Rule,
    Span,
    dense,
    expected_return,
    on_policy_distill,
    rollout,
    simulate,
    surrogate,
)
from ._grids import Run as GridRun
from ._grids import chunks, drawn, named, teaching
from ._numbers import markdown, mean
from ._study import Cell, Log, Record, Rounds, Study

Form = Literal["trajectory", "to_go", "baseline", "td"]
FORMS: dict[Form, str] = {
    "trajectory": "whole trajectory",
    "to_go": "from its step on",
    "baseline": "the same, with a baseline",
    "td": "TD",
}
RULES = (
    "on_policy_distill", "n_distill", "entropy_regularised", "exp_entropy_regularised",
    "forward_kl", "reverse_kl", "jensen_shannon", "on_policy_distill+R", "n_distill+R",
    "teacher_v_reward", "reinforce",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one cell."""

    first: int
    """Number of the first world; a world's number is its seed."""
    count: int
    """Worlds."""
    trained: int
    """Updates of on_policy_distill that the student has behind it."""
    temperature: float = 0.0
    """Of the teacher's Boltzmann policy; 0: greedy."""
    episodes: int = 1000
    """From which variances are estimated: one episode, one estimate."""
    updates: int = 30_000
    """Episodes of the teacher's training."""


@dataclass(frozen=True)
class Config:
    """How noisy the estimators of one update are, and what critics do."""

    worlds: int = 40
    """Random grid worlds."""
    trained: tuple[int, ...] = (0, 100, 3000)
    """Updates of on_policy_distill that the student has behind it."""
    temperatures: tuple[float, ...] = (0.0, 1.0)
    """Of the teacher's Boltzmann policy; 0: greedy."""
    episodes: int = 1000
    """From which variances are estimated: one episode, one estimate."""
    updates: int = 30_000
    """Episodes of the teacher's training."""
    chunk: int = 20
    """Worlds per cell."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every temperature and stage on every chunk of worlds."""
    yield [
        Run(
            first=first, count=count, trained=trained, temperature=temperature,
            episodes=config.episodes, updates=config.updates,
        )
        for temperature in config.temperatures
        for trained in config.trained
        for first, count in chunks(config.worlds, config.chunk)
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell.

    Returns:
        By rule and form, for each world: ``noise``, Σ Var[g_i] of one episode's estimate, and
        ``signal``, ‖E g‖², both estimated from the same episodes.
    """
    began = time.process_time()
    grid = GridRun(
        rule="on_policy_distill", first=run.first, count=run.count, temperature=run.temperature,
        taught=run.updates,
    )  # fmt: skip
    data = teaching(grid, shared)
    thetas = np.zeros((run.count, data.worlds.n_observations, grid.actions))
    if run.trained:
        found = simulate(
            on_policy_distill, data.worlds, data.policy, updates=run.trained, seed=run.first,
            discount=grid.discount, checkpoints=1, watched=1, logits=True,
        ).logits  # fmt: skip
        assert found is not None
        thetas = found
    record: Record = {rule: {form: [] for form in forms(named(rule))} for rule in RULES}
    for w in range(run.count):
        generator = torch.Generator().manual_seed(run.first + w)
        measured = estimates(
            drawn(grid, run.first + w),
            [named(rule) for rule in RULES],
            torch.from_numpy(thetas[w]),
            torch.from_numpy(data.policy[w]),
            torch.from_numpy(data.values[w]),
            discount=grid.discount,
            episodes=run.episodes,
            generator=generator,
        )
        for (rule, form), (noise, signal) in measured.items():
            record[rule][form].append([float(f"{noise:.5g}"), float(f"{signal:.5g}")])
    return {"estimates": record, "seconds": round(time.process_time() - began, 1)}


def forms(rule: Rule) -> list[Form]:
    """Those that are different estimators of it."""
    if not rule.returns:
        return ["to_go"]
    return list(FORMS) if rule.span is Span.TO_GO else ["to_go", "baseline"]


def estimates(
    mdp: MDP,
    rules: Sequence[Rule],
    theta: Tensor,
    teacher: Tensor,
    teacher_values: Tensor,
    *,
    discount: float,
    episodes: int,
    generator: torch.Generator,
) -> dict[tuple[str, Form], tuple[float, float]]:
    """Σ Var[g_i] and ‖E g‖² of the estimate from one episode, the same episodes for all."""
    world = dense(mdp, discount)
    seen = world.observation
    made, states = rollout(
        mdp, theta.softmax(-1)[seen], episodes=episodes, generator=generator, limit=10_000
    )
    logits = theta[seen[states]].requires_grad_()
    student, pi = Categorical(logits=logits), Categorical(teacher[states])
    of_student = expected_return(named("reinforce"), world, theta, teacher)
    rows = (torch.arange(episodes)[:, None] * len(theta) + seen[states]).flatten()
    found = {}
    for rule in rules:
        for form in forms(rule):
            # The critic is looked at only by the baseline: no episode is cut off.
            critic = expected_return(rule, world, theta, teacher, teacher_values=teacher_values)
            loss = surrogate(
                rule.over_trajectories() if form == "trajectory" else rule,
                made, student, pi, discount=discount, teacher_values=teacher_values[states],
                values=of_student[states],
                critic=critic[states] if form in ("baseline", "td") else None,
                trace=0.0 if form == "td" else 1.0,
            )  # fmt: skip
            (steps,) = torch.autograd.grad(loss * episodes, logits, retain_graph=True)
            each = steps.new_zeros(episodes * len(theta), theta.shape[1])
            each = each.index_add(0, rows, steps.flatten(0, 1)).view(episodes, -1)
            noise = float(each.var(0).sum())
            found[rule.name, form] = noise, float(each.mean(0).square().sum()) - noise / episodes
    return found


def _found(cells: Sequence[Cell]) -> dict[tuple[float, int, str, Form], list[list[float]]]:
    longest = max((cell.run.updates for cell in cells), default=0)
    most = _most(cells)
    found: dict[tuple[float, int, str, Form], list[list[float]]] = defaultdict(list)
    for cell in cells:
        if cell.run.updates == longest and cell.run.episodes == most:
            for rule, by_form in cell.record["estimates"].items():
                for form, pairs in by_form.items():
                    found[cell.run.temperature, cell.run.trained, rule, form] += pairs
    return found


def _most(cells: Sequence[Cell]) -> int:
    return max((cell.run.episodes for cell in cells), default=0)


def episodes_needed(pairs: Sequence[Sequence[float]], most: int) -> NDArray[np.float64]:
    """Until the mean of so many estimates has as much signal as noise, by world.

    From ``most`` episodes no signal below noise / most can be told from 0: there it is ``most``.
    """
    return np.array([min(noise / signal, most) if signal > 0 else most for noise, signal in pairs])


def ratio(pairs: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> str:
    """Geometric mean over worlds of one noise by another, with its interval."""
    logs = [
        math.log(a / b) for (a, _), (b, _) in zip(pairs, others, strict=True) if a > 0 and b > 0
    ]
    if not logs:
        return ""
    found = mean(logs)
    low_high = f" ({math.exp(found.low):.2f} … {math.exp(found.high):.2f})" if found.n > 1 else ""
    return f"{math.exp(found.value):.2f}{low_high}"


def table(cells: Sequence[Cell]) -> str:
    """Noise of each estimator, and by how much its other forms have more or less."""
    found, most = _found(cells), _most(cells)
    rows = []
    for temperature, trained in sorted({(t, k) for t, k, *_ in found}):
        for rule in RULES:
            plain = found.get((temperature, trained, rule, "to_go"))
            if not plain:
                continue
            needed = float(np.median(episodes_needed(plain, most)))
            others: list[str] = []
            for form in ("trajectory", "baseline", "td"):
                pairs = found.get((temperature, trained, rule, form))
                others.append(ratio(pairs, plain) if pairs else "")
            rows.append(
                [
                    f"{temperature:g}", str(trained), rule, str(len(plain)),
                    f"{np.median([noise for noise, _ in plain]):.3g}",
                    f"{needed:.3g}" if needed < most else f"more than {most}", *others,
                ]
            )  # fmt: skip
    header = [
        "teacher's T", "student's updates", "rule", "worlds", "Σ Var[g_i], median",
        "episodes until noise = signal, median", "noise over trajectories: times",
        "with a baseline: times", "TD: times",
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Episodes that an update would need, by rule and form."""
    from matplotlib.figure import Figure

    found, most = _found(cells), _most(cells)
    if not found:
        return {}
    temperatures, stages = sorted({t for t, *_ in found}), sorted({k for _, k, *_ in found})
    size = (3.2 * len(stages) + 1.4, 3.0 * len(temperatures) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(
        len(temperatures), len(stages), squeeze=False, sharex=True, sharey=True
    )  # fmt: skip
    places = product(temperatures, stages)
    for axes, (temperature, trained) in zip(grid.flat, places, strict=True):
        for k, form in enumerate(get_args(Form)):
            for y, rule in enumerate(RULES):
                pairs = found.get((temperature, trained, rule, form))
                if pairs:
                    needed = episodes_needed(pairs, most)
                    low, middle, high = np.quantile(needed, [0.25, 0.5, 0.75])
                    at = y + 0.2 * (k - 1.5)
                    axes.plot([low, high], [at, at], color=f"C{k}", linewidth=1)
                    axes.plot(
                        middle, at, "o", color=f"C{k}", markersize=4,
                        label=FORMS[form] if rule == "n_distill" else None,
                    )  # fmt: skip
        axes.set_xscale("log")
        axes.axvline(most, color="0.7", linewidth=0.8)
        axes.set_title(f"T = {temperature:g}, {trained} updates", fontsize="medium")
        axes.set_yticks(range(len(RULES)), RULES)
    for axes in grid[-1]:
        axes.set_xlabel("episodes until noise = signal")
    grid[0, 0].invert_yaxis()
    figure.legend(
        *grid[0, 0].get_legend_handles_labels(), loc="outside upper center", frameon=False,
        fontsize="small", ncols=len(FORMS),
    )  # fmt: skip
    return {"variance": figure}


study = Study(
    name="pd-variance",
    claim="Not in the paper: how noisy the estimate of each update from one episode is, and what "
    "whole trajectories and exact critics do to it.",
    version=2,
    config=Config,
    run=Run,
    full=Config(worlds=1000),
    smoke=Config(worlds=2, trained=(0, 5), temperatures=(0.0,), episodes=5, updates=30, chunk=2),
    plan=plan,
    train=train,
    value=lambda record: None,
    table=table,
    plot=plot,
)
