"""ASI beside fixed steps, by epochs and by model evaluations: figures 2.9 and 2.10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ._asi_runs import GREEDY, LARGE, TINY, ended, highest, label_of, seeds_of, size_of
from ._asi_runs import Config as Common
from ._asi_search import chosen, finals, rounds, trials_of
from ._asi_training import Run, train
from ._numbers import markdown, mean
from ._study import Cell, Record, Rounds, Study

MEASURES = {"probability": "ψ of the true label, %", "accuracy": "ψ's first choice is true, %"}
"""What is drawn; the paper calls the first one accuracy."""


@dataclass(frozen=True)
class Config(Common):
    """ASI beside fixed steps, by epochs and by model evaluations."""

    steps: tuple[int, ...] = (1, 2)
    """Δ of the models of fixed steps."""


def plan(config: Config, shared: Path) -> Rounds:
    """The search, then seeds of every method, the cheap ones first."""
    fixed = [f"Δ = {step}" for step in sorted(config.steps, reverse=True)]
    return rounds(config, ["ASI", GREEDY, *fixed])


def compared(cells: Sequence[Cell]) -> dict[str, dict[str, list[Cell]]]:
    """ASI and fixed steps, by world and label."""
    labels = {label_of(cell.run) for cell in cells if cell.run.method in ("asi", "fixed")}
    return finals(cells, sorted(labels)) if labels else {}


def table(cells: Sequence[Cell]) -> str:
    """What was reached at the end, and at what cost."""
    rows = []
    for world, groups in compared(cells).items():
        bests = [highest(cell.record) for same in groups.values() for cell in ended(same)]
        level = min(bests, default=0.0)
        for label, same in groups.items():
            ends = [cell.record for cell in ended(same)]
            tried = len(trials_of(cells, same)) if chosen(same, cells) else 0
            rows.append(
                [
                    world, label, seeds_of(same),
                    f"{mean([100 * end['probability'][-1] for end in ends]):.1f}",
                    f"{mean([100 * highest(end) for end in ends]):.1f}",
                    f"{mean([100 * end['accuracy'][-1] for end in ends]):.1f}",
                    f"{mean([end['evaluations'][-1] / 1000 for end in ends]).value:.0f}",
                    _reached(ends, level),
                    f"{mean([end['skip'][-1] for end in ends]).value:.1f}",
                    f"{size_of(same[0])}, of {tried} trials" if tried else size_of(same[0]),
                ]
            )  # fmt: skip
    header = [
        "world", "method", "seeds", "ψ of the true label at the end, %", "best look, %",
        "ψ's first choice at the end, %", "model evaluations, thousands",
        "… until a level that every run has reached", "frames per step", "size",
    ]  # fmt: skip
    return markdown(header, rows)


def _reached(records: Sequence[Record], level: float) -> str:
    """Thousands of evaluations at each run's first look that is at least as good as ``level``."""
    found = [
        next(
            calls / 1000
            for calls, share in zip(record["evaluations"], record["probability"], strict=True)
            if share >= level
        )
        for record in records
    ]
    return f"{mean(found):.0f}, to {100 * level:.1f} %" if found else ""


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 2.9 and 2.10."""
    worlds = compared(cells)
    return {"figure-2.9": curves(worlds, "epochs"), "figure-2.10": curves(worlds, "evaluations")}


def curves(
    worlds: dict[str, dict[str, list[Cell]]],
    place: Literal["epochs", "evaluations"],
    unchanged: dict[str, dict[str, list[Cell]]] | None = None,
) -> Any:
    """ψ of the true label, and below how often that is ψ's first choice, look by look.

    Means of validation trajectories with their interquartile range over seeds; where the dynamics
    change, there is a line. Dashed what becomes of the methods without the change.
    """
    from matplotlib.figure import Figure

    wide = max(1, len(worlds))
    every = sorted({label for groups in worlds.values() for label in groups})
    figure = Figure(figsize=(4.4 * wide, 5.4), layout="constrained")
    panels = figure.subplots(len(MEASURES), wide, squeeze=False, sharex="col")
    for column, (world, groups) in zip(panels.T, worlds.items(), strict=False):
        line = max(same[0].run.switch for same in groups.values()) if place == "epochs" else 0
        kept = (unchanged or {}).get(world, {})
        for axes, (name, told) in zip(column, MEASURES.items(), strict=True):
            for label, same in groups.items():
                color = f"C{every.index(label)}"
                _curve(axes, same, place, name, label, color)
                if without := kept.get(label):
                    _curve(axes, without, place, name, "", color, dashed=True)
            if line:
                axes.axvline(line, color="0.5", linewidth=0.8)
            axes.set(ylabel=told, ylim=(0, 103))
        told = f"\nperturbed until the line{', dashed to the end' if kept else ''}" if line else ""
        column[0].set_title(world + told, fontsize="medium")
        column[-1].set_xlabel("epochs" if place == "epochs" else "model evaluations, thousands")
        column[-1].legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2, frameon=False,
            fontsize="small",
        )  # fmt: skip
    return figure


def _curve(
    axes: Any, same: Sequence[Cell], place: str, name: str, label: str, color: str,
    *, dashed: bool = False,
) -> None:  # fmt: skip
    """One line; seeds that diverged are left out, and the legend says so."""
    import numpy as np

    left = ended(same)
    if len(left) < len(same):
        label = f"{label} ({seeds_of(same)} seeds)"
    if not left:
        axes.plot([], [], color=color, label=label)
        return
    values = 100 * np.array([cell.record[name] for cell in left])
    if place == "epochs":
        per_epoch = -(-same[0].run.trajectories // same[0].run.batch)
        at = np.array(left[0].record["updates"]) / per_epoch
    else:
        at = np.array([cell.record["evaluations"] for cell in left]).mean(0) / 1000
    if dashed:
        axes.plot(at, values.mean(0), color=color, linewidth=1, linestyle="--")
        return
    axes.plot(at, values.mean(0), color=color, label=label, linewidth=1.4)
    low, high = np.quantile(values, (0.25, 0.75), axis=0)
    axes.fill_between(at, low, high, color=color, alpha=0.2, linewidth=0)


study = Study(
    name="asi-curves",
    claim="Neitz' thesis, figures 2.9 and 2.10: adaptive skip intervals predict the outcome better "
    "than fixed steps in both worlds, by several times fewer model evaluations, and better with "
    "exploration than without.",
    version=1,
    config=Config,
    run=Run,
    full=Config(steps=(1, 2, 3, 5), **LARGE),
    smoke=Config(steps=(2,), **TINY),
    plan=plan,
    train=train,
    value=highest,
    table=table,
    plot=plot,
    records="asi",
    own=lambda run: run.method in ("asi", "fixed") and not run.switch,
    highest=True,
)
