"""Many actions that do nothing: figures 4 and 10 of Distilling policy distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._curves import curve, either, grouped, panel, teacher_level
from ._grids import ESTIMATORS, Estimator, Run, chunks, estimators, named, train
from ._numbers import markdown
from ._study import Cell, Rounds, Study

RULES = (
    "on_policy_distill", "n_distill", "entropy_regularised", "exp_entropy_regularised",
    "reverse_kl",
)  # fmt: skip
STYLES = {rule: {"color": f"C{k}"} for k, rule in enumerate(RULES)}


@dataclass(frozen=True)
class Config:
    """Many actions that do nothing: figures 4 and 10 of Distilling policy distillation."""

    worlds: int = 1000
    """Random grid worlds, up to 400 actions."""
    worlds_of_many: int = 50
    """Worlds with more actions than that."""
    actions: tuple[int, ...] = (4, 40, 400, 4000)
    """Of which four move."""
    rules: tuple[str, ...] = RULES
    """As ``didact rules`` names them."""
    updates: int = 30_000
    """Episodes of training, up to 400 actions; the teacher always has as many."""
    updates_of_many: int = 10_000
    """With more actions than that."""
    learning_rate: float = 0.1
    """Of the student."""
    estimators: tuple[Estimator, ...] = ("td", "baseline")
    """Of R̂; appendix A.3 has both."""
    floor: float = 1e-8
    """log π is taken of at least this."""
    chunk: int = 50
    """Worlds per cell."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every rule and number of actions on every chunk of worlds."""
    yield [
        Run(
            rule=named(rule).name, actions=actions, first=first, count=count,
            updates=config.updates if actions <= 400 else config.updates_of_many,
            taught=config.updates,
            learning_rate=config.learning_rate, floor=config.floor, estimator=estimator,
        )
        for actions in config.actions
        for rule in config.rules
        for estimator in estimators(named(rule), config.estimators)
        for first, count in chunks(
            config.worlds if actions <= 400 else config.worlds_of_many, config.chunk
        )
    ]  # fmt: skip


def _found(cells: Sequence[Cell]) -> dict[tuple[int, str, Estimator], list[Cell]]:
    like = Run(rule="", first=0, count=0)
    return grouped(cells, ("actions", "rule", "estimator"), like)


def table(cells: Sequence[Cell]) -> str:
    """Returns at the end, beside the teacher's."""
    rows = []
    for (actions, rule, estimator), group in _found(cells).items():
        returns, far = curve(group, "returns"), curve(group, "cross_entropy")
        rows.append(
            [
                str(actions), rule, ESTIMATORS[estimator] if named(rule).returns else "",
                str(returns.worlds), str(returns.updates[-1]),
                f"{teacher_level(group):.2f}", f"{returns.mean[-1]:.2f} ± {returns.half[-1]:.2f}",
                f"{far.mean[-1]:.2f}",
            ]
        )  # fmt: skip
    header = [
        "actions", "rule", "R̂", "worlds", "updates", "teacher's return", "student's", "H×(π‖πθ)",
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 4 and 10."""
    from matplotlib.figure import Figure

    found = _found(cells)
    counts = sorted({actions for actions, *_ in found})
    ways = [e for e in ESTIMATORS if any(f == e and named(r).returns for _, r, f in found)]
    if not ways:
        return {}
    figure = Figure(figsize=(3.2 * len(counts), 2.8 * len(ways)), layout="constrained")
    grid = figure.subplots(len(ways), len(counts), squeeze=False, sharey=True)
    for row, way in zip(grid, ways, strict=True):
        for axes, actions in zip(row, counts, strict=True):
            panel(axes, either(found, (actions,), RULES, way), STYLES)
            axes.set_title(f"{actions} actions, {ESTIMATORS[way]}", fontsize="medium")
        row[0].set_ylabel("return")
    for axes in grid[-1]:
        axes.set_xlabel("updates")
    figure.axes[0].legend(frameon=False, fontsize="x-small")
    return {"figure-4": figure}


FULL = Config(worlds_of_many=1000, updates_of_many=30_000)

study = Study(
    name="pd-actions",
    claim="Czarnecki et al. 2019, figures 4 and 10: with many actions the teacher's "
    "log-probability as a reward alone fails; with the present step in expectation it does not.",
    version=1,
    config=Config,
    run=Run,
    full=FULL,
    smoke=Config(worlds=2, worlds_of_many=2, actions=(4, 400), updates=30, updates_of_many=10),
    plan=plan,
    train=train,
    value=lambda record: record["returns"]["student"][-1][0],
    table=table,
    plot=plot,
    highest=True,
)
