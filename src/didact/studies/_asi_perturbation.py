"""The dynamics change during training: figure 2.11 of the thesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._asi_curves import curve
from ._asi_runs import GREEDY, LARGE, TINY, ended, finals, highest, run_of, seeds_of, size_of
from ._asi_runs import Config as Common
from ._asi_training import Run, World, train
from ._numbers import markdown, mean
from ._study import Cell, Rounds, Study


@dataclass(frozen=True)
class Config(Common):
    """The dynamics change during training."""

    worlds: tuple[World, ...] = ("funnel-board",)
    """Which worlds; the paper has the board alone."""
    steps: tuple[int, ...] = (1, 2)
    """Δ of the models of fixed steps."""
    board_epochs: int = 20
    """Passes over the trajectories of either dynamics together; the paper has 100."""
    switch: int = 15
    """Epochs of the perturbed world (no bounce, no dawdling), before the standard one."""


def plan(config: Config, shared: Path) -> Rounds:
    """Seeds of every method, the cheap ones first."""
    fixed = [f"Δ = {step}" for step in sorted(config.steps, reverse=True)]
    yield [
        run_of(config, world, label, seed, switch=config.switch)
        for seed in range(config.seeds)
        for world in config.worlds
        for label in ["ASI", GREEDY, *fixed]
    ]


def table(cells: Sequence[Cell]) -> str:
    """Accuracy before the switch, after it, and of a model that is frozen at it."""
    rows = []
    for world, groups in finals(cells, switched=True).items():
        for label, same in groups.items():
            ends = [cell.record for cell in ended(same)]
            before = [100 * end["before"][0] for end in ends]
            after = [_after(end, same[0].run) for end in ends]
            means = [100 * sum(looks) / len(looks) for looks in after]
            rows.append(
                [
                    world, label, seeds_of(same), f"{mean(before):.1f}",
                    f"{mean([100 * end['frozen'][0] for end in ends]):.1f}",
                    f"{mean(means):.1f}", f"{mean([100 * min(looks) for looks in after]):.1f}",
                    f"{mean([100 * end['accuracy'][-1] for end in ends]):.1f}",
                    f"{mean([b - a for b, a in zip(before, means, strict=True)]):.1f}",
                    f"{size_of(same[0])}, {same[0].run.switch} of them perturbed",
                ]
            )  # fmt: skip
    header = [
        "world", "method", "seeds", "before, %", "frozen, %", "mean of looks after, %",
        "lowest, %", "at the end, %", "fall (before − mean after), points", "size",
    ]  # fmt: skip
    return markdown(header, rows)


def _after(record: dict[str, Any], run: Run) -> list[float]:
    """Accuracies after the switch."""
    switch = run.switch * -(-run.trajectories // run.batch)
    looks = zip(record["updates"], record["accuracy"], strict=True)
    return [accuracy for update, accuracy in looks if update > switch]


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 2.11."""
    from matplotlib.figure import Figure

    worlds = finals(cells, switched=True)
    figure = Figure(figsize=(5 * max(1, len(worlds)), 3.2), layout="constrained")
    panels = figure.subplots(1, max(1, len(worlds)), squeeze=False)[0]
    for axes, (world, groups) in zip(panels, worlds.items(), strict=False):
        for k, (label, same) in enumerate(groups.items()):
            curve(axes, same, "epochs", label, f"C{k}")
            axes.axvline(same[0].run.switch, color="0.5", linewidth=0.8)
        axes.set(title=f"{world}, perturbed until the line", xlabel="epochs")
        axes.set(ylabel="accuracy in %")
        axes.legend(frameon=False, fontsize="small")
    return {"figure-2.11": figure}


study = Study(
    name="asi-perturbation",
    claim="Neitz' thesis, figure 2.11: when the funnels begin to bounce during training, models of "
    "fixed steps lose what they had learned and ASI does not; a frozen model would not, either.",
    version=1,
    config=Config,
    run=Run,
    full=Config(steps=(1, 2, 3), switch=74, **LARGE),
    smoke=Config(steps=(2,), switch=1, **{**TINY, "board_epochs": 2, "room_epochs": 2, "looks": 2}),
    plan=plan,
    train=train,
    value=lambda record: -highest(record),
    table=table,
    plot=plot,
    records="asi-perturbation",
)
