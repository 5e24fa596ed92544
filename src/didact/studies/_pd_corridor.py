"""A corridor, a good and a bad teacher: figures 6 and 9 of Distilling policy distillation."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..policies import Control, simulate, worlds
from ..tasks import corridor
from ._curves import Curve, draw, either, reached
from ._grids import ESTIMATORS, Estimator, estimated, estimators, moments, named, schedule
from ._numbers import markdown
from ._study import Cell, Log, Record, Rounds, Study

TeacherName = Literal["optimal", "adversarial", "adversarial, printed"]
RULES = (
    "teacher_distill", "on_policy_distill", "n_distill", "exp_entropy_regularised",
    "td_teacher_value", "teacher_v_reward", "reinforce", "actor_critic",
)  # fmt: skip
LEVEL = 0.9
"""Of a return: what counts as having learnt."""
TEACHERS: tuple[TeacherName, ...] = ("optimal", "adversarial", "adversarial, printed")


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one cell."""

    rule: str
    """As ``didact rules`` names it."""
    half: int
    """T: 2T + 1 states."""
    teacher: TeacherName
    """optimal: right, V_π. adversarial: left, with −V_opt. printed: left, with V_opt."""
    estimator: Estimator = "returns"
    """Of R̂."""
    runs: int = 1000
    """Students."""
    updates: int = 1000
    """Episodes."""
    learning_rate: float = 0.1
    """Of the student."""
    discount: float = 0.99
    """γ."""
    floor: float = 1e-8
    """log π is taken of at least this."""
    limit: int = 1000
    """Longer episodes are cut."""
    watched: int = 1
    """Episodes at each checkpoint."""
    checkpoints: int = 30
    """On a logarithmic scale."""


@dataclass(frozen=True)
class Config:
    """A corridor, a good and a bad teacher: figures 6 and 9."""

    halves: tuple[int, ...] = (5, 10, 20)
    """T: 2T + 1 states; figure 6 has 5."""
    teachers: tuple[TeacherName, ...] = TEACHERS
    """optimal: right, V_π. adversarial: left, with −V_opt. printed: left, with V_opt."""
    rules: tuple[str, ...] = RULES
    """As ``didact rules`` names them."""
    estimators: tuple[Estimator, ...] = ("returns", "baseline", "td")
    """Of R̂."""
    runs: int = 1000
    """Students."""
    updates: int = 1000
    """Episodes."""
    floor: float = 1e-8
    """log π is taken of at least this."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every rule, teacher and length."""
    yield [
        Run(
            rule=named(rule).name, half=half, teacher=teacher, runs=config.runs,
            updates=config.updates, floor=config.floor, estimator=estimator,
        )
        for half in config.halves
        for teacher in config.teachers
        for rule in config.rules
        for estimator in estimators(named(rule), config.estimators)
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell: ``updates``, ``returns`` [(mean, variance)], ``cut`` episodes, ``seconds``."""
    began = time.process_time()
    many = worlds([corridor(run.half)])
    states = 2 * run.half + 1
    right = float(run.teacher == "optimal")
    policy = np.tile([1 - right, right], (states, 1))
    best = run.discount ** np.arange(states - 1, -1, -1.0)
    rule = named(run.rule)
    found = simulate(
        rule, many, policy, updates=run.updates, seed=0, runs=run.runs, discount=run.discount,
        learning_rate=run.learning_rate, floor=run.floor, limit=run.limit, watched=run.watched,
        teacher_values=-best if run.teacher == "adversarial" else best,
        checkpoints=schedule(run.updates, run.checkpoints), controls=[Control.STUDENT],
        **estimated(run.estimator),
    )  # fmt: skip
    return {
        "updates": found.updates.tolist(),
        "returns": [moments(found.returns[:, c, 0]) for c in range(len(found.updates))],
        "cut": int(found.cut[:, -1].sum()),
        "seconds": round(time.process_time() - began, 1),
    }


def _found(cells: Sequence[Cell]) -> dict[tuple[int, str, str, Estimator], Cell]:
    longest = max((cell.run.updates for cell in cells), default=0)
    return {
        (cell.run.half, cell.run.teacher, cell.run.rule, cell.run.estimator): cell
        for cell in cells
        if cell.run.updates == longest
    }


def _curve(cell: Cell) -> Curve:
    mean, variance = np.array(cell.record["returns"]).T
    half = 1.96 * np.sqrt(variance / cell.run.runs)
    return Curve(cell.record["updates"], mean, half, cell.run.runs)


def table(cells: Sequence[Cell]) -> str:
    """Returns after a tenth of the updates and at the end, and when they are high."""
    found = _found(cells)
    rows = []
    for half in sorted({half for half, *_ in found}):
        for teacher, rule, way in product(TEACHERS, RULES, ESTIMATORS):
            cell = found.get((half, teacher, rule, way))
            if cell is None:
                continue
            returns = _curve(cell)
            early = int(np.searchsorted(returns.updates, returns.updates[-1] / 10))
            took = reached(returns, LEVEL)
            rows.append(
                [
                    str(half), teacher, rule, ESTIMATORS[way] if named(rule).returns else "",
                    str(cell.run.runs),
                    *(f"{returns.mean[c]:.2f} ± {returns.half[c]:.2f}" for c in (early, -1)),
                    "never" if math.isinf(took) else f"{took:.0f}", str(cell.record["cut"]),
                ]
            )  # fmt: skip
    header = [
        "T", "teacher", "rule", "R̂", "runs", "return after a tenth", "at the end",
        f"updates to {LEVEL:g}", "cut episodes",
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 6 and 9."""
    found = _found(cells)
    halves = sorted({half for half, *_ in found})
    teachers = [t for t in TEACHERS if any(teacher == t for _, teacher, *_ in found)]
    ways = [e for e in ESTIMATORS if any(f == e and named(r).returns for _, _, r, f in found)]
    return {f"figure-6-{way}": _curves(found, halves, teachers, way) for way in ways if halves}


def _curves(
    found: dict[tuple[int, str, str, Estimator], Cell],
    halves: list[int],
    teachers: list[TeacherName],
    way: Estimator,
) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(teachers), 2.6 * len(halves)), layout="constrained")
    grid = figure.subplots(len(halves), len(teachers), squeeze=False, sharey=True)
    for row, half in zip(grid, halves, strict=True):
        for axes, teacher in zip(row, teachers, strict=True):
            for rule, cell in either(found, (half, teacher), RULES, way).items():
                draw(axes, _curve(cell), rule, color=f"C{RULES.index(rule)}")
            axes.set_title(f"T = {half}, {teacher}", fontsize="medium")
        row[0].set_ylabel("return")
    grid[0][0].legend(frameon=False, fontsize="x-small", title=ESTIMATORS[way])
    for axes in grid[-1]:
        axes.set_xlabel("updates")
    return figure


study = Study(
    name="pd-corridor",
    claim="Czarnecki et al. 2019, figures 6 and 9: with an optimal teacher cloning is fastest, "
    "shaping slower, both above no distillation; with an adversarial one every cloning rule and "
    "TD + V_π fail, and shaping still learns.",
    version=1,
    config=Config,
    run=Run,
    full=Config(),
    smoke=Config(halves=(2,), teachers=("optimal", "adversarial"), runs=4, updates=20),
    plan=plan,
    train=train,
    value=lambda record: record["returns"][-1][0],
    table=table,
    plot=plot,
    highest=True,
)
