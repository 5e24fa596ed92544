"""Beyond the paper: does global alignment help, a latent space, knowing what will be done?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._asi_curves import curves
from ._asi_runs import LARGE, TINY, ended, highest, seeds_of, size_of
from ._asi_runs import Config as Common
from ._asi_search import finals, rounds, world_of
from ._asi_training import Run, World, train
from ._numbers import markdown, mean
from ._study import Cell, Rounds, Study

LABELS = (
    "ASI", "global alignment", "latent ASI", "ASI with actions", "Δ = 2", "Δ = 2 with actions",
)  # fmt: skip


@dataclass(frozen=True)
class Config(Common):
    """Beyond the paper: global alignment, a latent space, actions."""

    worlds: tuple[World, ...] = ("funnel-board",)
    """Which worlds; at full size both."""
    labels: tuple[str, ...] = LABELS
    """Which methods; ASI and Δ = 2 are those of asi-curves, where they are done."""
    steps: int = 20
    """Predictions that global alignment may use; times H, they have to reach the end."""


def plan(config: Config, shared: Path) -> Rounds:
    """The search of ASI's and Δ = 2's settings, which the others inherit, then seeds of all."""
    return rounds(config, config.labels, more={"global alignment": {"steps": config.steps}})


def compared(cells: Sequence[Cell]) -> dict[str, dict[str, list[Cell]]]:
    """By world and label, where there are extensions."""
    there = {world_of(cell.run) for cell in cells if cell.run.method not in ("asi", "fixed")}
    return finals([cell for cell in cells if world_of(cell.run) in there], LABELS)


def table(cells: Sequence[Cell]) -> str:
    """What was reached at the end, and at what cost."""
    rows = []
    for world, groups in compared(cells).items():
        for label, same in groups.items():
            ends = [cell.record for cell in ended(same)]
            rows.append(
                [
                    world, label, seeds_of(same),
                    f"{mean([100 * end['probability'][-1] for end in ends]):.1f}",
                    f"{mean([100 * end['accuracy'][-1] for end in ends]):.1f}",
                    f"{mean([end['evaluations'][-1] / 1000 for end in ends]).value:.0f}",
                    f"{mean([end['skip'][-1] for end in ends]).value:.1f}",
                    f"{mean([cell.record['seconds'] / 60 for cell in same]).value:.0f}",
                    size_of(same[0]),
                ]
            )  # fmt: skip
    header = [
        "world", "method", "seeds", "ψ of the true label at the end, %",
        "ψ's first choice at the end, %", "model evaluations, thousands", "frames per step",
        "minutes of one core", "size",
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """By epochs."""
    return {"accuracy": curves(compared(cells), "epochs")}


study = Study(
    name="asi-extensions",
    claim="Not in a paper: Neitz' thesis names as future work the global alignment of predicted "
    "and true frames, skips in a latent space, and models that know the actions. Does each help?",
    version=1,
    config=Config,
    run=Run,
    full=Config(worlds=("room-runner", "funnel-board"), **LARGE),
    smoke=Config(**TINY),
    plan=plan,
    train=train,
    value=highest,
    table=table,
    plot=plot,
    records="asi",
    own=lambda run: run.method not in ("asi", "fixed"),
    highest=True,
)
