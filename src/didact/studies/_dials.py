"""When does hindsight help: by what x* knows of the label's luck, and x of x*."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ._dials_training import Candidate, Run, train
from ._numbers import markdown, mean
from ._study import Cell, Rounds, Study, alike

WEIGHTS: dict[Candidate, tuple[float, ...]] = {
    "no_teacher": (0.0,),
    "auxiliary": (0.1, 1.0, 10.0, 30.0, 100.0),
    "generalised_distillation": (0.25, 0.5, 0.75, 1.0),
    "tram": (1.0,),
    "ldt": (1.0, 10.0, 100.0),
}
"""What each method may choose from by validation: auxiliary weight, imitation, α."""
LABELS: dict[Candidate, str] = {
    "no_teacher": "no teacher",
    "auxiliary": "auxiliary",
    "generalised_distillation": "generalised distillation",
    "tram": "TRAM",
    "ldt": "LDT",
}


@dataclass(frozen=True)
class Config:
    """When does hindsight help: by what x* knows of the label's luck, and x of x*."""

    stars: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """p: share of each privileged column that x determines."""
    lucks: tuple[float, ...] = (0.0, 0.5, 1.0)
    """r: share of the rest that is the label's own luck."""
    methods: tuple[Candidate, ...] = get_args(Candidate)
    """Which methods to run."""
    seeds: int = 8
    """Repetitions, with data of their own."""
    rows: int = 512
    """Training examples."""
    epochs: int = 100
    """Of 16 student steps each."""
    device: str = "cpu"
    """Where to train."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every method, weight and place of the dials, all seeds in one cell."""
    yield [
        Run(
            method, weight, star, luck, list(range(config.seeds)), rows=config.rows,
            epochs=config.epochs, device=config.device,
        )
        for method in reversed(config.methods)
        for weight in WEIGHTS[method]
        for star in config.stars
        # Where x determines all of x*, there is no rest.
        for luck in (config.lucks if star < 1 else config.lucks[:1])
    ]  # fmt: skip


def _tried(cells: Sequence[Cell]) -> dict[tuple[str, float, float], list[Cell]]:
    """One cell per weight, by method and dials."""
    tried: dict[tuple[str, float, float], list[Cell]] = defaultdict(list)
    for cell in alike(cells, "method", "weight", "star_from_x", "luck_in_star"):
        tried[cell.run.method, cell.run.star_from_x, cell.run.luck_in_star].append(cell)
    return tried


def _chosen(cells: Sequence[Cell]) -> dict[tuple[str, float, float], list[float]]:
    """Test errors by method and dials, of the weight that was best on validation rows."""
    return {
        place: min(found, key=lambda cell: sum(cell.record["validation"])).record["test"]
        for place, found in _tried(cells).items()
    }


def gains(cells: Sequence[Cell]) -> dict[tuple[str, float, float], list[float]]:
    """By seed: the share of no teacher's avoidable error that a method avoids.

    Avoidable is what exceeds the label's luck, half of its variance.
    """
    found = _chosen(cells)
    luck = 0.5
    return {
        (method, star, r): [
            (alone - error) / (alone - luck)
            for alone, error in zip(found["no_teacher", star, r], errors, strict=True)
        ]
        for (method, star, r), errors in sorted(found.items())
        if method != "no_teacher" and ("no_teacher", star, r) in found
    }


def table(cells: Sequence[Cell]) -> str:
    """Shares of the avoidable error that methods avoid, by the dials; which weights diverged.

    A cell ends when the first of its seeds diverges, and what it had reached is kept.
    """
    found, tried = gains(cells), _tried(cells)
    places = sorted({(star, luck) for _, star, luck in found})
    methods = [m for m in LABELS if m != "no_teacher"]
    rows = [
        [
            f"{star:g}", f"{luck:g}",
            *(f"{mean(found.get((method, star, luck), [])):z.2f}" for method in methods),
            ", ".join(
                f"{LABELS[method]} {cell.run.weight:g}"
                for method in methods
                for cell in tried.get((method, star, luck), [])
                if cell.record["diverged"]
            ),
        ]
        for star, luck in places
    ]  # fmt: skip
    header = ["x* from x (p)", "luck in the rest (r)", *(LABELS[m] for m in methods), "diverged"]
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """One map per method."""
    from matplotlib.figure import Figure

    found = gains(cells)
    stars = sorted({star for _, star, _ in found})
    lucks = sorted({luck for _, _, luck in found})
    methods = [m for m in LABELS if any(name == m for name, _, _ in found)]
    figure = Figure(figsize=(3 * max(1, len(methods)) + 1, 2.8), layout="constrained")
    if not methods:
        return {}
    every = figure.subplots(1, len(methods), squeeze=False, sharey=True)[0]
    for axes, method in zip(every, methods, strict=True):
        image = [
            # Where x determines all of x*, the rest's dial turns nothing.
            [mean(found.get((method, p, r if p < 1 else lucks[0]), [])).value for p in stars]
            for r in lucks
        ]
        drawn = axes.imshow(image, vmin=-1, vmax=1, cmap="RdBu", origin="lower", aspect="auto")
        for i, row in enumerate(image):
            for j, value in enumerate(row):
                axes.text(j, i, f"{value:z.2f}", ha="center", va="center", fontsize="small")
        axes.set_xticks(range(len(stars)), [f"{p:g}" for p in stars])
        axes.set_yticks(range(len(lucks)), [f"{r:g}" for r in lucks])
        axes.set(title=LABELS[method], xlabel="share of x* that x determines")
    every[0].set_ylabel("luck in the rest of x*")
    figure.colorbar(drawn, ax=every, label="avoidable error avoided")
    return {"gains": figure}


study = Study(
    name="hindsight-dials",
    claim="Not in the papers: how much of the avoidable error hindsight avoids, by how well x "
    "predicts x*, and how much of the label's luck x* knows.",
    version=2,
    config=Config,
    run=Run,
    full=Config(
        stars=tuple(k / 8 for k in range(9)), lucks=tuple(k / 4 for k in range(5)), seeds=16
    ),
    smoke=Config(stars=(0.5,), lucks=(0.5,), seeds=2, rows=64, epochs=1),
    plan=plan,
    train=train,
    value=lambda record: min(record["validation"]),
    table=table,
    plot=plot,
)  # fmt: skip
