"""Beyond the paper, on states: does global alignment help, a latent space, knowing what is done?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._checks import check_integer
from ..runs import key
from ._asi_pits_training import Run, train
from ._asi_runs import GREEDY, ended, seeds_of
from ._numbers import markdown, mean
from ._study import Cell, Rounds, Study, alike

Kind = dict[str, Any]
ONE_WAY: dict[str, Kind] = {
    "ASI": {"method": "asi"},
    GREEDY: {"method": "asi", "exploring": False},
    "Δ = 1": {"method": "fixed", "horizon": 1},
    "Δ = 2": {"method": "fixed", "horizon": 2},
    "Δ = 4": {"method": "fixed", "horizon": 4},
    "Δ = 8": {"method": "fixed", "horizon": 8},
    "global alignment": {"method": "aligned"},
    "global alignment, soft": {"method": "aligned", "temperature": 0.01},
    "ASI, then global alignment": {"method": "asi, then aligned"},
    "latent ASI": {"method": "latent"},
}
"""Falls turn to the left."""
BOTH_WAYS: dict[str, Kind] = {
    f"{label}{' with actions' if told else ''}": {**ONE_WAY[label], "told": told}
    for label in ("ASI", "Δ = 8")
    for told in (False, True)
}
"""Half of the falls turn to the right, and models are told or not to which side."""
WORLDS: dict[str, tuple[bool, dict[str, Kind]]] = {
    "pits": (False, ONE_WAY),
    "pits, both ways": (True, BOTH_WAYS),
}


@dataclass(frozen=True)
class Config:
    """Beyond the paper: global alignment, a latent space, actions, where training is cheap."""

    seeds: int = 5
    """Repetitions, with other training data, initial weights and draws."""
    falls: int = 180
    """To train on, and as many to judge by."""
    levels: int = 5
    """Pits that a fall goes through."""
    epochs: int = 600
    """Passes over the falls, 32 an update."""
    looks: int = 12
    """At the falls that judge, evenly spaced."""
    horizon: int = 16
    """H, in states; at most 12 are in one pit."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every method once, then the next seed."""
    for name in ("seeds", "epochs", "looks"):
        check_integer(name, getattr(config, name))
    usual: Kind = {
        "horizon": config.horizon, "exploring": True, "temperature": 0.0, "told": False,
        "falls": config.falls, "levels": config.levels, "epochs": config.epochs,
        "looks": config.looks,
    }  # fmt: skip
    yield [
        Run(**{**usual, "both_ways": both, "seed": seed, **kind})
        for seed in range(config.seeds)
        for both, kinds in WORLDS.values()
        for kind in kinds.values()
    ]


def compared(cells: Sequence[Cell]) -> dict[str, dict[str, list[Cell]]]:
    """By world and label, seeds that differ in nothing else, all of the size with the most.

    Of several H the one with the most seeds.
    """
    asked = ("method", "horizon", "exploring", "temperature", "both_ways", "told")
    by_kind: dict[str, list[Cell]] = defaultdict(list)
    for cell in alike(cells, *asked, "seed"):
        by_kind[key({name: getattr(cell.run, name) for name in asked})].append(cell)
    found: dict[str, dict[str, list[Cell]]] = {}
    for world, (both, kinds) in WORLDS.items():
        for label, kind in kinds.items():
            groups = [same for same in by_kind.values() if _is(same[0].run, kind, both)]
            if most := max(groups, key=len, default=[]):
                same = sorted(most, key=lambda cell: cell.run.seed)
                found.setdefault(world, {})[label] = same
    return found


def _is(run: Run, kind: Kind, both_ways: bool) -> bool:
    usual = {"exploring": True, "temperature": 0.0, "told": False, "both_ways": both_ways}
    return (usual | kind).items() <= asdict(run).items()


def table(cells: Sequence[Cell]) -> str:
    """How many falls end where the models say, and what it cost."""
    rows = []
    for world, groups in compared(cells).items():
        for label, same in groups.items():
            ends, run = [cell.record for cell in ended(same)], same[0].run
            rows.append(
                [
                    world, label, seeds_of(same),
                    _range([100 * max(end["right"]) for end in ends]),
                    _range([100 * end["right"][-1] for end in ends]),
                    f"{mean([end['skip'][-1] for end in ends]).value:.1f}",
                    f"{mean([end['evaluations'][-1] / 1000 for end in ends]).value:.0f}",
                    f"{mean([end['seconds'] for end in ends]).value:.0f}",
                    f"{run.falls} falls through {run.levels} pits, {run.epochs} epochs"
                    + ("" if run.method == "fixed" else f", H = {run.horizon}"),
                ]
            )  # fmt: skip
    header = [
        "world", "method", "seeds", "right at the best look, % (least … most)", "at the end, %",
        "states per step", "model evaluations, thousands", "seconds of a core", "size",
    ]  # fmt: skip
    return markdown(header, rows)


def _range(values: Sequence[float]) -> str:
    """Mean, least and most: what is all or nothing has no interval of Student's."""
    return f"{mean(values).value:.1f} ({min(values):.1f} … {max(values):.1f})" if values else ""


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """The share that is right, look by look: means of seeds, and from the least to the most."""
    import numpy as np
    from matplotlib.figure import Figure

    worlds = compared(cells)
    figure = Figure(figsize=(4.6 * max(1, len(worlds)), 4.2), layout="constrained")
    panels = figure.subplots(1, max(1, len(worlds)), squeeze=False, sharey=True)[0]
    for axes, (world, groups) in zip(panels, worlds.items(), strict=False):
        for i, (label, same) in enumerate(groups.items()):
            left = ended(same)
            if not left:
                continue
            values = 100 * np.array([cell.record["right"] for cell in left])
            at = np.array(left[0].record["updates"]) / 1000
            style = "--" if "alignment" in label else ":" if "Δ" in label else "-"
            axes.plot(at, values.mean(0), f"C{i}{style}", label=label, linewidth=1.4)
            axes.fill_between(
                at, values.min(0), values.max(0), color=f"C{i}", alpha=0.12, linewidth=0
            )
        axes.set(title=world, xlabel="updates, thousands", ylim=(-2, 102))
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False,
            fontsize="small",
        )  # fmt: skip
    panels[0].set_ylabel("falls whose end is right, %")
    return {"accuracy": figure}


study = Study(
    name="asi-pits",
    claim="Not in a paper: of states that are known to lead somewhere, but not when, do adaptive "
    "skips find where? Does the global alignment of predicted and true states help, a latent "
    "space, and knowing the actions?",
    version=1,
    config=Config,
    run=Run,
    full=Config(seeds=16),
    smoke=Config(seeds=1, falls=4, levels=2, epochs=2, looks=1, horizon=3),
    plan=plan,
    train=train,
    value=lambda record: max(record["right"], default=0.0),
    table=table,
    plot=plot,
    highest=True,
)
