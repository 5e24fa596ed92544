"""ASI beside fixed steps, by epochs and by model evaluations: figures 2.9 and 2.10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._asi_runs import (
    GREEDY,
    LARGE,
    TINY,
    ended,
    finals,
    highest,
    label_of,
    run_of,
    seeds_of,
    size_of,
    tries,
)
from ._asi_runs import Config as Common
from ._asi_training import SEARCH_SEED, Run, train
from ._numbers import markdown, mean
from ._study import Cell, Rounds, Study

SEARCHED = ("ASI", GREEDY, "Δ = 1", "Δ = 2")
"""Larger steps than 2 inherit its settings, as in the paper."""


@dataclass(frozen=True)
class Config(Common):
    """ASI beside fixed steps, by epochs and by model evaluations."""

    steps: tuple[int, ...] = (1, 2)
    """Δ of the models of fixed steps."""
    trials: int = 0
    """Settings tried at random for each method, as in appendix A; 0 takes those given here."""


def plan(config: Config, shared: Path) -> Rounds:
    """Random search, where asked for, then seeds of every method, the cheap ones first."""
    fixed = [f"Δ = {step}" for step in sorted(config.steps, reverse=True)]
    labels = ["ASI", GREEDY, *fixed]
    found: dict[tuple[Any, str], dict[str, Any]] = {}
    searched = [label for label in labels if label in SEARCHED]
    if config.trials:
        tried = [
            (world, label, settings, SEARCH_SEED + k)
            for world in config.worlds
            for label in searched
            for k, settings in enumerate(tries(label, config.trials))
        ]
        records = yield [run_of(config, w, label, seed, **s) for w, label, s, seed in tried]
        best: dict[tuple[Any, str], float] = {}
        for (world, label, settings, _), record in zip(tried, records, strict=True):
            if highest(record) > best.get((world, label), -1.0):
                best[world, label], found[world, label] = highest(record), settings
        for world in config.worlds:
            for label in fixed:
                found.setdefault((world, label), found.get((world, "Δ = 2"), {}))
    yield [
        run_of(config, world, label, seed, **found.get((world, label), {}))
        for seed in range(config.seeds)
        for world in config.worlds
        for label in labels
    ]


def compared(cells: Sequence[Cell]) -> dict[str, dict[str, list[Cell]]]:
    """ASI and fixed steps, by world and label."""
    labels = {label_of(cell.run) for cell in cells if cell.run.method in ("asi", "fixed")}
    return finals(cells, sorted(labels)) if labels else {}


def table(cells: Sequence[Cell]) -> str:
    """What was reached at the end, and at what cost."""
    rows = []
    for world, groups in compared(cells).items():
        fixed = [_means(same)[1] for label, same in groups.items() if label[0] == "Δ"]
        aim = max((max(looks) for looks in fixed if looks), default=None)
        for label, same in groups.items():
            ends = [cell.record for cell in ended(same)]
            own = "Δ = 2" if label[0] == "Δ" and label not in SEARCHED else label
            tried = [
                cell
                for cell in cells
                if cell.run.seed >= SEARCH_SEED
                and cell.run.world == world
                and label_of(cell.run) == own
            ]
            rows.append(
                [
                    world, label, seeds_of(same),
                    f"{mean([100 * end['accuracy'][-1] for end in ends]):.1f}",
                    f"{mean([100 * end['probability'][-1] for end in ends]):.1f}",
                    f"{mean([100 * highest(end) for end in ends]):.1f}",
                    f"{mean([end['evaluations'][-1] / 1000 for end in ends]).value:.0f}",
                    _reached(same, aim),
                    f"{mean([end['skip'][-1] for end in ends]).value:.1f}",
                    f"{size_of(same[0])}; {len(tried)} trials" if tried else size_of(same[0]),
                ]
            )  # fmt: skip
    header = [
        "world", "method", "seeds", "accuracy at the end, %", "ψ of the true label, %",
        "best look, %", "model evaluations, thousands", "… until where fixed steps are best",
        "frames per step", "size",
    ]  # fmt: skip
    return markdown(header, rows)


def _means(same: Sequence[Cell]) -> tuple[list[float], list[float]]:
    """Thousands of model evaluations and accuracy in %, means over seeds, look by look."""
    looks = [
        list(zip(*(cell.record[name] for cell in ended(same)), strict=True))
        for name in ("evaluations", "accuracy")
    ]
    evaluations, accuracies = ([sum(look) / len(look) for look in found] for found in looks)
    return [n / 1000 for n in evaluations], [100 * share for share in accuracies]


def _reached(same: Sequence[Cell], aim: float | None) -> str:
    """Thousands of evaluations at the first look that is at least as good as ``aim``, in %."""
    if aim is None:
        return ""
    found = [n for n, accuracy in zip(*_means(same), strict=True) if accuracy >= aim]
    return f"{found[0]:.0f} ({aim:.1f} %)" if found else f"never ({aim:.1f} %)"


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 2.9 and 2.10."""
    from matplotlib.figure import Figure

    worlds = compared(cells)
    drawn = {}
    for name, place, title in (
        ("figure-2.9", "epochs", "epochs"),
        ("figure-2.10", "evaluations", "model evaluations, thousands"),
    ):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        panels = figure.subplots(1, max(1, len(worlds)), squeeze=False)[0]
        for axes, (world, groups) in zip(panels, worlds.items(), strict=False):
            for k, (label, same) in enumerate(groups.items()):
                curve(axes, same, place, label, f"C{k}")
            axes.set(title=world, xlabel=title, ylabel="accuracy in %")
            axes.legend(frameon=False, fontsize="small")
        drawn[name] = figure
    return drawn


def curve(axes: Any, same: Sequence[Cell], place: str, label: str, color: str) -> None:
    """Mean accuracy of validation trajectories with its interquartile range over seeds.

    Seeds that diverged are left out; the legend says so.
    """
    import numpy as np

    left = ended(same)
    if len(left) < len(same):
        label = f"{label} ({seeds_of(same)} seeds)"
    if not left:
        axes.plot([], [], color=color, label=label)
        return
    values = 100 * np.array([cell.record["accuracy"] for cell in left])
    if place == "epochs":
        per_epoch = -(-same[0].run.trajectories // same[0].run.batch)
        at = np.array(left[0].record["updates"]) / per_epoch
    else:
        at = np.array([cell.record["evaluations"] for cell in left]).mean(0) / 1000
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
    full=Config(steps=(1, 2, 3, 5), trials=9, **LARGE),
    smoke=Config(steps=(2,), trials=1, **TINY),
    plan=plan,
    train=train,
    value=lambda record: -highest(record),
    table=table,
    plot=plot,
    records="asi",
    own=lambda run: run.method in ("asi", "fixed"),
)
