"""Many actions that do nothing: figures 4 and 10 of Distilling policy distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._grids import Run, chunks, curve, grouped, named, panel, teacher_level, train
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
    """Random grid worlds, up to 40 actions."""
    worlds_of_many: int = 100
    """Worlds with more actions than that."""
    actions: tuple[int, ...] = (4, 40, 400, 4000)
    """Of which four move."""
    rules: tuple[str, ...] = RULES
    """As ``didact rules`` names them."""
    updates: int = 30_000
    """Episodes of training, up to 40 actions; the teacher has as many."""
    updates_of_many: int = 3_000
    """With more actions than that."""
    learning_rate: float = 0.1
    """Of the student."""
    baseline: bool = True
    """Subtract a critic of R̂, as appendix A.3 does for returns."""
    floor: float = 1e-8
    """log π is taken of at least this."""
    chunk: int = 50
    """Worlds per cell."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every rule and number of actions on every chunk of worlds."""
    yield [
        Run(
            rule=named(rule).name, actions=actions, first=first, count=count,
            updates=config.updates if actions <= 40 else config.updates_of_many,
            learning_rate=config.learning_rate, floor=config.floor, baseline=config.baseline,
        )
        for actions in config.actions
        for rule in config.rules
        for first, count in chunks(
            config.worlds if actions <= 40 else config.worlds_of_many, config.chunk
        )
    ]  # fmt: skip


def _found(cells: Sequence[Cell]) -> dict[tuple[int, str], list[Cell]]:
    like = Run(rule="", first=0, count=0, baseline=FULL.baseline)
    return grouped(cells, ("actions", "rule"), like)


def table(cells: Sequence[Cell]) -> str:
    """Returns at the end, beside the teacher's."""
    rows = []
    for (actions, rule), group in _found(cells).items():
        returns, far = curve(group, "returns"), curve(group, "cross_entropy")
        rows.append(
            [
                str(actions), rule, str(returns.worlds), str(returns.updates[-1]),
                f"{teacher_level(group):.2f}", f"{returns.mean[-1]:.2f} ± {returns.half[-1]:.2f}",
                f"{far.mean[-1]:.2f}",
            ]
        )  # fmt: skip
    header = ["actions", "rule", "worlds", "updates", "teacher's return", "student's", "H×(π‖πθ)"]
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 4 and 10."""
    from matplotlib.figure import Figure

    found = _found(cells)
    counts = sorted({actions for actions, _ in found})
    if not counts:
        return {}
    figure = Figure(figsize=(3.2 * len(counts), 3), layout="constrained")
    for axes, actions in zip(
        figure.subplots(1, len(counts), squeeze=False)[0], counts, strict=True
    ):
        panel(axes, {r: found[actions, r] for r in RULES if (actions, r) in found}, STYLES)
        axes.set(title=f"{actions} actions", xlabel="updates")
    figure.axes[0].set_ylabel("return")
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
    value=lambda record: -record["returns"]["student"][-1][0],
    table=table,
    plot=plot,
)
