"""Cloning an expert from 64 levels, for all levels: figures 3.11 and 3.12, table B.3."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs import Real, searching
from ._cloning import Method, Run, best, held_out, prepare, train_clone
from ._numbers import markdown, mean
from ._searched import searched
from ._study import Cell, Rounds, Study

LABELS: dict[Method, str] = {
    "adam": "Adam", "and_mask": "temporal AND-mask", "unmasked": "the same, τ = 0"
}  # fmt: skip
THESIS: dict[Method, str] = {
    "adam": "higher (figure 3.12)", "and_mask": "0.0165 (five best: 0.01652 to 0.01672)"
}  # fmt: skip
PAPER: dict[str, float] = {
    "learning_rate": 0.0078, "beta1": 0.21, "weight_decay": 0.057, "beta3": 0.79, "threshold": 0.36
}  # fmt: skip
"""The first row of table B.3: the AND-mask's first trial."""
USUAL: dict[str, float] = {"learning_rate": 1e-3, "beta1": 0.9, "weight_decay": 0.057}
"""The first trial of Adam."""
SEARCH_SEED = 1000
BEST = 10


@dataclass(frozen=True)
class Config:
    """Cloning an expert from 64 levels, for all levels: figures 3.11 and 3.12, table B.3."""

    file: str = "coinrun.npz"
    """What scripts/collect_coinrun.py wrote; stand-in is made here, and is no game."""
    methods: tuple[Method, ...] = ("adam", "and_mask")
    """Which to run; unmasked is the AND-mask's Adam, without bias correction, with τ = 0."""
    trials: int = 8
    """Settings that TPE tries for each method; the paper has 1,024."""
    states: int = 100
    """Of each level; the paper has 1,000."""
    epochs: int = 40
    """Of one batch from every level; the rate is a tenth from one half on, and from 3/4 on."""
    batch: int = 50
    """States of one level in a step; the paper does not say."""
    width: int = 8
    """Of the ResNet-18's first stage; the paper's is 64."""
    batch_norm: bool = False
    """As in the published ResNet-18; else GroupNorm, for which a batch of one level is as any."""
    storage: str = ""
    """A database that keeps the trials, as in ldt-life."""
    device: str = "cpu"
    """Where to train."""


def space(method: Method) -> dict[str, Real]:
    """Around table B.3; what the methods share has the same range for both."""
    found = {
        "learning_rate": Real(1e-4, 3e-2, log=True), "beta1": Real(0.0, 0.95),
        "weight_decay": Real(1e-3, 0.3, log=True),
    }  # fmt: skip
    if method == "and_mask":
        found |= {"beta3": Real(0.5, 0.95), "threshold": Real(0.0, 0.8)}
    return found


def plan(config: Config, shared: Path) -> Rounds:
    """TPE for the methods side by side, with as many trials for each."""
    data = prepare(config.file, config.states, shared)

    def run(method: str, settings: dict[str, Any], seed: int) -> Run:
        return Run(
            data=data, method=method, settings=dict(settings), seed=seed,  # type: ignore[arg-type]
            states=config.states, epochs=config.epochs, batch=config.batch, width=config.width,
            batch_norm=config.batch_norm, device=config.device,
        )  # fmt: skip

    yield from searched(
        {
            method: searching(
                space(method),
                trials=config.trials,
                first=PAPER if method == "and_mask" else USUAL,
                name=f"ilc-cloning {method}",
                storage=config.storage or f"sqlite:///{shared / 'search.db'}",
                shared=bool(config.storage),
            )
            for method in config.methods
        },
        run,
        held_out,
        seed=SEARCH_SEED,
    )


Size = tuple[int, int, int, int, bool, str]


def sizes(cells: Sequence[Cell]) -> dict[Size, dict[Method, list[Cell]]]:
    """Trials by size and method, the best on held-out levels first."""
    found: dict[Size, dict[Method, list[Cell]]] = defaultdict(dict)
    for cell in sorted(cells, key=lambda cell: held_out(cell.record)):
        run = cell.run
        size = run.width, run.states, run.epochs, run.batch, run.batch_norm, run.data
        found[size].setdefault(run.method, []).append(cell)
    return dict(sorted(found.items()))


def leaders(of: Mapping[Method, list[Cell]]) -> dict[Method, list[Cell]]:
    """As many of each: the better half, ten at most, of those with fewest trials."""
    fewest = min(len(same) for same in of.values())
    kept = min(BEST, math.ceil(fewest / 2))
    found = {}
    for method in LABELS:
        same = [cell for cell in of.get(method, []) if cell.record["held_out"]][:kept]
        if same:
            found[method] = same
    return found


def _told(settings: Mapping[str, float]) -> str:
    names = {
        "learning_rate": "rate", "beta1": "β₁", "beta3": "β₃", "threshold": "τ",
        "weight_decay": "decay",
    }  # fmt: skip
    return ", ".join(f"{names[name]} {value:.2g}" for name, value in settings.items())


def table(cells: Sequence[Cell]) -> str:
    """KL(π* ‖ π_θ) on unseen levels, in nats."""
    rows = []
    for size, of in sizes(cells).items():
        width, states, epochs, *_ = size
        kept = leaders(of)
        for method, same in kept.items():
            first = same[0].record
            lowest = mean([min(cell.record["test"]) for cell in same])
            rows.append(
                [
                    f"width {width}, {first['levels']} × {states} states, {epochs} epochs",
                    LABELS[method], str(len(of[method])), f"{first['constant']:.4f}",
                    f"{first['training'][-1]:.4f}", f"{first['test'][best(first)]:.4f}",
                    f"{len(same)}: {lowest:.4f}", "", _told(same[0].run.settings),
                ]
            )  # fmt: skip
    full = study.full
    if not any(run.width == full.width and run.states == full.states for run in _runs(cells)):
        for method, thesis in THESIS.items():
            place = f"the thesis': width {full.width}, 64 × {full.states} states"
            rows.append(
                [place, LABELS[method], "0", "", "*not run*", "*not run*", "*not run*", thesis, ""]
            )
    header = [
        "size", "method", "trials", "no picture", "best trial: training", "test",
        "lowest test of the best trials", "thesis", "best trial",
    ]  # fmt: skip
    return markdown(header, rows)


def _runs(cells: Sequence[Cell]) -> list[Run]:
    return [cell.run for cell in cells]


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 3.11 and 3.12, of every size."""
    from matplotlib.figure import Figure

    drawn: dict[str, Any] = {}
    found = sizes(cells)
    for size, of in found.items():
        kept = leaders(of)
        tail = "" if len(found) == 1 else f"-width-{size[0]}-{size[1]}-states-{size[2]}-epochs"
        curves = Figure(figsize=(8, 3.2), layout="constrained")
        lowest = Figure(figsize=(3.6, 3.2), layout="constrained")
        ends = lowest.subplots()
        for axes, name in zip(curves.subplots(1, 2), ("training", "test"), strict=True):
            for color, (method, same) in zip(("C0", "C1", "C2"), kept.items(), strict=False):
                every, shortest = same[0].record["every"], _shortest(same)
                looks = [every * (k + 1) for k in range(shortest)]
                for cell in same:
                    values = cell.record[name][: len(looks)]
                    axes.plot(looks, values, color=color, alpha=0.3, linewidth=0.8)
                means = [
                    sum(cell.record[name][k] for cell in same) / len(same)
                    for k in range(len(looks))
                ]
                label = f"{LABELS[method]}, best {len(same)} of {len(of[method])}"
                axes.plot(looks, means, color=color, label=label)
            axes.set(title=name, xlabel="epoch", yscale="log")
        curves.axes[0].set_ylabel("KL(π* ‖ π_θ)")
        curves.axes[1].axhline(
            next(iter(of.values()))[0].record["constant"], color="0.5", linewidth=0.8,
            linestyle=":", label="without the picture",
        )  # fmt: skip
        handles, labels = curves.axes[1].get_legend_handles_labels()
        curves.axes[0].legend(handles, labels, frameon=False, fontsize="small")
        for place, same in enumerate(kept.values()):
            values = [min(cell.record["test"]) for cell in same]
            ends.plot([place] * len(values), values, ".", color=f"C{place}", alpha=0.7)
            ends.plot([place - 0.2, place + 0.2], [mean(values).value] * 2, color=f"C{place}")
        ends.set_xticks(range(len(kept)), [LABELS[method] for method in kept])
        ends.set(ylabel="lowest test KL of a trial", xlim=(-0.6, max(len(kept), 1) - 0.4))
        drawn |= {f"figure-3.11{tail}": curves, f"figure-3.12{tail}": lowest}
    return drawn


def _shortest(same: Sequence[Cell]) -> int:
    return min(len(cell.record["test"]) for cell in same)


study = Study(
    name="ilc-cloning",
    claim="Neitz' thesis, figures 3.11 and 3.12, table B.3: a network that clones an expert of "
    "CoinRun from 64 levels is nearer to it on unseen levels if its Adam has the temporal "
    "AND-mask.",
    version=1,
    config=Config,
    run=Run,
    full=Config(
        trials=1024, states=1000, epochs=200, batch=100, width=64, batch_norm=True, device="cuda"
    ),
    smoke=Config(file="stand-in", trials=1, states=16, epochs=2, batch=4, width=4),
    plan=plan,
    train=train_clone,
    value=held_out,
    table=table,
    plot=plot,
)
