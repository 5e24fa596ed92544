"""The dynamics change during training: figure 2.11 of the thesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._checks import invalid
from ..runs import key
from ._asi_curves import curves
from ._asi_runs import GREEDY, LARGE, TINY, ended, highest, named, seeds_of, size_of
from ._asi_runs import Config as Common
from ._asi_search import all_along, dynamics_of, finals, rounds
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
    switch: int = 6
    """Epochs of the perturbed world (no bounce, no dawdling), before the standard one."""
    unchanged: bool = True
    """Train each a second time, in the perturbed world to the end, to tell what the change does."""


def plan(config: Config, shared: Path) -> Rounds:
    """The search, as in asi-curves, then seeds of every method, the cheap ones first."""
    for world in config.worlds:
        epochs = getattr(config, named(world, "epochs"))
        if not 1 <= config.switch < epochs:
            raise invalid("switch", f"at least 1 and below the {epochs} epochs", config.switch)
    fixed = [f"Δ = {step}" for step in sorted(config.steps, reverse=True)]
    return rounds(config, ["ASI", GREEDY, *fixed], switch=config.switch, unchanged=config.unchanged)


def table(cells: Sequence[Cell]) -> str:
    """ψ of the true label at the change, after it, and had there been none."""
    rows = []
    kept = {key(asdict(cell.run)): cell.record for cell in cells}
    for world, groups in finals(cells, dynamics="changing").items():
        for label, same in groups.items():
            ends = [cell.record for cell in ended(same)]
            before = [100 * end["before"][1] for end in ends]
            means = [_after(end, same[0].run) for end in ends]
            pairs = [
                (_after(without, cell.run), after)
                for cell, after in zip(ended(same), means, strict=True)
                if (without := kept.get(key(asdict(all_along(cell.run)))))
                and not without["diverged"]
            ]
            rows.append(
                [
                    world, label, seeds_of(same), f"{mean(before):.1f}",
                    f"{mean([100 * end['frozen'][1] for end in ends]):.1f}",
                    f"{mean(means):.1f}",
                    f"{mean([100 * end['probability'][-1] for end in ends]):.1f}",
                    f"{mean([b - a for b, a in zip(before, means, strict=True)]):.1f}",
                    f"{mean([without for without, _ in pairs]):.1f}",
                    f"{mean([without - after for without, after in pairs]):.1f}",
                    f"{size_of(same[0])}, {same[0].run.switch} epochs perturbed",
                ]
            )  # fmt: skip
    header = [
        "world", "method", "seeds", "ψ of the true label at the change, %", "frozen there, %",
        "mean of looks after, %", "at the end, %", "fall (at the change − after), points",
        "the same looks without the change, %", "lost by the change, points", "size",
    ]  # fmt: skip
    return markdown(header, rows)


def _after(record: dict[str, Any], run: Run) -> float:
    """ψ of the true label, mean of the looks after the epoch in which ``run`` changes, in %."""
    switch = run.switch * -(-run.trajectories // run.batch)
    looks = zip(record["updates"], record["probability"], strict=True)
    after: list[float] = [100 * share for update, share in looks if update > switch]
    return sum(after) / len(after)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 2.11, and dashed how it goes without the change."""
    changing = finals(cells, dynamics="changing")
    kept = finals(cells, dynamics="perturbed")
    return {"figure-2.11": curves(changing, "epochs", kept)}


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
    value=highest,
    table=table,
    plot=plot,
    records="asi",
    own=lambda run: dynamics_of(run) != "standard",
    highest=True,
)
