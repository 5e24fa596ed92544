"""A teacher that errs in a quarter of its states: figures 5 and 8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ._curves import curve, either, grouped, panel, teacher_level
from ._grids import (
    ESTIMATORS,
    ControlName,
    Estimator,
    Run,
    TeacherName,
    chunks,
    estimators,
    named,
    train,
)
from ._numbers import markdown
from ._study import Cell, Rounds, Study

RULES = (
    "teacher_distill", "on_policy_distill", "n_distill", "on_policy_distill+R", "n_distill+R",
    "value_gated", "value_gated+R", "teacher_v_reward", "td_teacher_value", "td_zero",
    "actor_critic", "reinforce",
)  # fmt: skip
STYLES = {
    r: {"color": f"C{k % 10}", "linestyle": "-" if k < 10 else "--"} for k, r in enumerate(RULES)
}
LABELS: dict[str, str] = {"q_learning": "Q-learning", "actor_critic": "actor-critic"}
TEMPERATURES: dict[str, float] = {"q_learning": 0.0, "actor_critic": 1.0}
"""An actor is sampled from, a greedy policy is not."""


@dataclass(frozen=True)
class Config:
    """A teacher that errs in a quarter of its states: figures 5 and 8."""

    worlds: int = 1000
    """Random grid worlds."""
    teachers: tuple[TeacherName, ...] = ("q_learning", "actor_critic")
    """How they were trained; figure 5 has the first."""
    flipped: float = 0.25
    """Share of the states that the teacher visits in which its most probable action is another."""
    rules: tuple[str, ...] = RULES
    """As ``didact rules`` names them, +R with the task's reward."""
    estimators: tuple[Estimator, ...] = ("returns", "baseline", "td")
    """Of R̂: as the equations of section 4 have it, and as appendix A.3 does."""
    updates: int = 30_000
    """Episodes of training; the teacher has as many."""
    chunk: int = 100
    """Worlds per cell."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every rule and teacher on every chunk of worlds."""
    yield [
        Run(
            rule=named(rule).name, control=_control(rule), flipped=config.flipped,
            teacher=teacher, temperature=TEMPERATURES[teacher], first=first, count=count,
            updates=config.updates, taught=config.updates, estimator=estimator,
        )
        for teacher in config.teachers
        for rule in config.rules
        for estimator in estimators(named(rule), config.estimators)
        for first, count in chunks(config.worlds, config.chunk)
    ]  # fmt: skip


def _control(rule: str) -> ControlName:
    return "teacher" if rule == "teacher_distill" else "student"


def _found(cells: Sequence[Cell]) -> dict[tuple[str, str, Estimator], list[Cell]]:
    like = Run(rule="", first=0, count=0, flipped=FULL.flipped)
    groups = grouped(cells, ("teacher", "rule", "estimator", "temperature", "control"), like)
    return {
        (teacher, rule, estimator): group
        for (teacher, rule, estimator, *rest), group in groups.items()
        if rest == [TEMPERATURES[teacher], _control(rule)]
    }


def table(cells: Sequence[Cell]) -> str:
    """Returns: the highest of the mean curve, and at the end."""
    found = _found(cells)
    rows = []
    for teacher, label in LABELS.items():
        for rule, way in product(RULES, ESTIMATORS):
            group = found.get((teacher, rule, way))
            if group:
                returns = curve(group, "returns")
                rows.append(
                    [
                        label, rule, ESTIMATORS[way] if named(rule).returns else "",
                        str(returns.worlds),
                        f"{teacher_level(group):.2f}", f"{returns.mean.max():.2f}",
                        f"{returns.mean[-1]:.2f} ± {returns.half[-1]:.2f}",
                    ]
                )  # fmt: skip
    header = [
        "teacher", "rule", "R̂", "worlds", "the flawed teacher's return", "highest",
        "at the end",
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 5 and 8."""
    from matplotlib.figure import Figure

    found = _found(cells)
    teachers = [teacher for teacher in LABELS if any(t == teacher for t, *_ in found)]
    if not teachers:
        return {}
    ways = [e for e in ESTIMATORS if any(f == e and named(r).returns for _, r, f in found)]
    size = (6 * len(teachers), 3.4 * len(ways))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(ways), len(teachers), squeeze=False, sharey=True)
    for row, way in zip(grid, ways, strict=True):
        for axes, teacher in zip(row, teachers, strict=True):
            panel(axes, either(found, (teacher,), RULES, way), STYLES)
            title = f"{LABELS[teacher]} teacher, 25 % flipped, {ESTIMATORS[way]}"
            axes.set_title(title, fontsize="medium")
        row[0].set_ylabel("return")
    for axes in grid[-1]:
        axes.set_xlabel("updates")
    figure.axes[-1].legend(frameon=False, fontsize="x-small")
    return {"figure-5": figure}


FULL = Config()

study = Study(
    name="pd-flawed-teacher",
    claim="Czarnecki et al. 2019, figures 5 and 8: pure cloning of a flawed teacher saturates low "
    "(2 to 4 points), with rewards higher (about 6.5), value-gated at the level of the "
    "teacher before its flaws (about 7); TD + V_π beats cloning and saturates, TD + V_0 is poor.",
    version=1,
    config=Config,
    run=Run,
    full=FULL,
    smoke=Config(worlds=2, updates=30, chunk=2),
    plan=plan,
    train=train,
    value=lambda record: record["returns"]["student"][-1][0],
    table=table,
    plot=plot,
    highest=True,
)
