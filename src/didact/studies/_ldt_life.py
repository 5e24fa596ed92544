"""The fate of one cell: figure 4 of the LDT paper."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs import Integer, Real, best, searching
from ._life_training import Candidate, Run, train
from ._numbers import markdown, mean
from ._searched import searched
from ._study import Cell, Record, Rounds, Study, alike

SEARCH_SEED = 1000
FIRST: dict[str, Any] = {
    "learning_rate": 3e-3, "one_minus_beta1": 0.1, "weight_decay": 1e-6, "batch": 32,
    "weight_scale": 1.0, "filters": 24, "teaching": 1e4, "teacher_weight_scale": 0.03,
    "attention_scale": 2e-3, "inner_steps": 16, "meta_learning_rate": 1e-3, "meta_momentum": 0.9,
    "validation_split": 0.3,
}  # fmt: skip
"""Where every search starts, but for what LDT has of its own."""
FIRST_OF_LDT: dict[str, Any] = {"teacher_weight_scale": 0.018, "attention_scale": 6e-3}
"""Not as nearly decided as the fixed random teacher's: it is to move."""


def first(method: Candidate) -> dict[str, Any]:
    """The first trial of a method."""
    start = {**FIRST, **FIRST_OF_LDT} if method == "ldt" else FIRST
    return {name: start[name] for name in space(method)}


@dataclass(frozen=True)
class Config:
    """The fate of one cell: figure 4 of the LDT paper."""

    sizes: tuple[int, ...] = (128, 256, 512, 1024)
    """Numbers of training boards; the paper goes to 8192."""
    methods: tuple[Candidate, ...] = ("ldt", "fixed_oracle", "fixed_random", "no_teacher")
    """Which methods to run, the longest first."""
    searched: tuple[int, ...] = (1024,)
    """Sizes at which settings are searched; another takes those of the nearest."""
    trials: int = 8
    """Settings tried by TPE for each method and searched size."""
    seeds: int = 3
    """Final runs with the best of them."""
    epochs: int = 200
    """Passes of the student over the rows it trains on."""
    board: int = 17
    """Cells along a side."""
    test_rows: int = 2048
    """Test boards, which choose nothing."""
    held_out_rows: int = 1024
    """Boards that choose settings and epochs."""
    storage: str = ""
    """Database of a search that several machines share, postgresql://user@host/database."""
    compile: bool = False
    """Compile LDT's inner steps."""
    device: str = "cpu"
    """Where to train."""


def space(method: Candidate) -> dict[str, Real | Integer]:
    """The table of appendix C."""
    shared: dict[str, Real | Integer] = {
        "learning_rate": Real(1e-4, 1e-2, log=True),
        "one_minus_beta1": Real(0.1, 1.0, log=True),
        "weight_decay": Real(1e-8, 1e-3, log=True),
        "batch": Integer(32, 128),
        "weight_scale": Real(0.1, 2.0, log=True),
        "filters": Integer(16, 32),
    }
    if method == "no_teacher":
        return shared
    shared["teaching"] = Real(1e2, 1e4, log=True)
    if method != "fixed_oracle":
        # The paper does not say how LDT's teacher starts; here as the fixed random one does.
        shared["attention_scale"] = Real(1e-3, 1e-1, log=True)
        shared["teacher_weight_scale"] = Real(1e-2, 1.0, log=True)
    if method == "ldt":
        shared["inner_steps"] = Integer(16, 32)
        shared["meta_learning_rate"] = Real(1e-6, 1e-3, log=True)
        shared["meta_momentum"] = Real(1e-2, 1.0 - 1e-6, log=True)
        shared["validation_split"] = Real(1e-2, 1.0 - 1e-6, log=True)
    return shared


def plan(config: Config, shared: Path) -> Rounds:
    """TPE for methods and searched sizes side by side, then final seeds with the best settings."""
    places = {
        f"{method} {rows}": (method, rows)
        for rows in sorted(config.searched, reverse=True)
        for method in config.methods
    }

    def run(method: Candidate, rows: int, settings: Mapping[str, Any], seed: int) -> Run:
        return Run(
            method, rows, dict(settings), seed, epochs=config.epochs, board=config.board,
            test_rows=config.test_rows, held_out_rows=config.held_out_rows,
            compile=config.compile and method == "ldt", device=config.device,
        )  # fmt: skip

    tried = yield from searched(
        {
            place: searching(
                space(method),
                trials=config.trials,
                first=first(method),
                name=f"ldt-life {place}",
                storage=config.storage or f"sqlite:///{shared / 'search.db'}",
                shared=bool(config.storage),
            )
            for place, (method, _) in places.items()
        },
        lambda place, settings, seed: run(*places[place], settings, seed),
        lambda record: -held_out(record),
        seed=SEARCH_SEED,
    )
    settings = {places[place]: best(trials).settings for place, trials in tried.items()}
    yield [
        run(method, rows, settings[method, nearest(rows, config.searched)], seed)
        for seed in range(config.seeds)
        for rows in sorted(config.sizes, reverse=True)
        for method in config.methods
    ]


def nearest(rows: int, sizes: Sequence[int]) -> int:
    """The size with the least ratio to ``rows``, the larger of two.

    Example:
        >>> nearest(128, (512, 4096)), nearest(2048, (512, 8192))
        (512, 8192)
    """
    return min(sizes, key=lambda size: (abs(math.log(size / rows)), -size))


def held_out(record: Record) -> float:
    """The highest held-out accuracy; minus infinity where nothing was reached."""
    return max(record["held_out"], default=-math.inf)


def chosen(record: Record) -> float:
    """Test accuracy at the epoch that was best on held-out boards."""
    accuracy: float = record["test"][record["held_out"].index(held_out(record))]
    return accuracy


def _found(cells: Sequence[Cell]) -> dict[tuple[str, int], list[Cell]]:
    """Final seeds; of several settings those with the most, then the one that searched best."""
    tried: dict[tuple[str, str], float] = defaultdict(lambda: -math.inf)
    found: dict[tuple[str, int], dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in alike(cells, "method", "rows", "settings", "seed"):
        run, settings = cell.run, json.dumps(cell.run.settings, sort_keys=True)
        if run.seed < SEARCH_SEED:
            found[run.method, run.rows][settings].append(cell)
        else:
            place = run.method, settings
            tried[place] = max(tried[place], held_out(cell.record))
    return {
        (method, rows): kinds[
            max(kinds, key=lambda settings: (len(kinds[settings]), tried[method, settings]))
        ]
        for (method, rows), kinds in found.items()
    }


def _accuracies(cells: Sequence[Cell]) -> list[float]:
    """Test accuracies of seeds, at the epoch that was best on held-out boards."""
    return [chosen(cell.record) for cell in cells if cell.record["test"]]


LABELS = {
    "no_teacher": "no teacher", "fixed_random": "fixed random", "fixed_oracle": "fixed oracle",
    "ldt": "LDT",
}  # fmt: skip


def table(cells: Sequence[Cell]) -> str:
    """Test accuracy by method and number of boards."""
    found = _found(cells)
    sizes = sorted({*FULL.sizes, *(rows for _, rows in found)})
    rows = [
        [
            str(size),
            *(f"{mean(_accuracies(found.get((method, size), []))):.3f}" for method in LABELS),
            ", ".join(
                LABELS[method]
                for method in LABELS
                for cell in found.get((method, size), [])
                if cell.record["diverged"]
            ),
        ]
        for size in sizes
    ]
    return markdown(["boards", *LABELS.values(), "runs that diverged"], rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 4."""
    from matplotlib.figure import Figure

    found = _found(cells)
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    for method, label in LABELS.items():
        sizes = sorted(rows for name, rows in found if name == method)
        means = [mean(_accuracies(found[method, size])) for size in sizes]
        axes.plot(sizes, [m.value for m in means], marker="o", label=label)
        if all(m.n > 1 for m in means):
            axes.fill_between(sizes, [m.low for m in means], [m.high for m in means], alpha=0.2)
    axes.set(xlabel="training boards", ylabel="test accuracy", xscale="log")
    sizes = sorted({rows for _, rows in found})
    axes.set_xticks(sizes, labels=map(str, sizes))
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize="small")
    return {"figure-4": figure}


SIZES = (128, 256, 512, 1024, 2048, 4096, 8192)
FULL = Config(sizes=SIZES, searched=SIZES, trials=32, seeds=8)

study = Study(
    name="ldt-life",
    claim="Neitz et al. 2021, figure 4: in the Game of Life LDT learns from scrambled boards what "
    "no teacher cannot, and needs fewer examples than a fixed random teacher.",
    version=1,
    config=Config,
    run=Run,
    full=FULL,
    smoke=Config(
        sizes=(32, 48),
        searched=(32,),
        trials=1,
        seeds=1,
        epochs=1,
        board=5,
        test_rows=32,
        held_out_rows=32,
    ),
    plan=plan,
    train=train,
    value=held_out,
    table=table,
    plot=plot,
    highest=True,
)
