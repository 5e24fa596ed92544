"""Which methods find what holds in all environments: figures 3.6 and B.5, tables B.1 and B.2."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ._numbers import markdown, mean
from ._spirals import Method, Run, reached, train_spirals
from ._study import Cell, Record, Rounds, Study

Candidate = Literal[
    "and_mask", "plain", "dropout", "batch_norm", "l1", "l2", "dann", "irm", "v_rex"
]
LABELS: dict[Candidate, str] = {
    "and_mask": "AND-mask", "plain": "plain", "dropout": "dropout", "batch_norm": "batch norm",
    "l1": "L1", "l2": "L2", "dann": "DANN", "irm": "IRM", "v_rex": "V-REx",
}  # fmt: skip
PAPER: dict[str, Any] = {
    "width": 256, "depth": 3, "batch": 128, "optimizer": "adam", "learning_rate": 1e-2,
    "l2": 1e-4, "threshold": 1.0, "rescale": True,
}  # fmt: skip
"""The thesis' best setting; rescaling it "often found helpful"."""
FOUND: dict[str, Any] = {**PAPER, "threshold": 0.8}
"""The AND-mask's first trial here."""
FIRST: dict[str, Any] = {
    name: PAPER[name] for name in ("width", "depth", "batch", "optimizer", "learning_rate")
}
"""The others' first trial, beside what is theirs alone."""
SEARCH_SEED = 1000


@dataclass(frozen=True)
class Config:
    """Which methods find what holds in all environments: figures 3.6 and B.5."""

    methods: tuple[Candidate, ...] = get_args(Candidate)
    """Which methods to run."""
    trials: int = 4
    """Settings tried for each method: one given, the others drawn from tables B.1 and B.2. The
    paper does not say how many it tried, but for DANN: 100."""
    seeds: int = 10
    """Final runs with the setting that was best on held-out examples; the paper has 50."""
    only_paper: bool = False
    """No search: the AND-mask with the setting that the thesis reports as best."""
    widths: tuple[int, ...] = (256,)
    """Of hidden layers; the paper also tries 512, which takes four times as long."""
    depths: tuple[int, ...] = (3,)
    """Hidden layers; the paper also tries 5."""
    batches: tuple[int, ...] = (64, 128, 256)
    """Examples of each environment in a step."""
    environments: int = 32
    """D."""
    rows: int = 1280
    """Training examples of each."""
    passes: int = 3000
    """Epochs are passes/D."""
    shortcut_scale: float = 1.0
    """Standard deviation of the shortcuts, the mechanism's being 1."""
    test_rows: int = 2000
    """Test examples, and as many that choose settings."""
    device: str = "cpu"
    """Where to train."""


def method_of(candidate: Candidate) -> Method:
    """The first five train alike."""
    return candidate if candidate in get_args(Method) else "plain"  # type: ignore[return-value]


def space(candidate: Candidate, config: Config) -> dict[str, Sequence[Any]]:
    """Tables B.1 and B.2; V-REx, which the paper does not have, by IRM's."""
    found: dict[str, Sequence[Any]] = {
        "width": config.widths, "depth": config.depths, "batch": config.batches,
        "optimizer": ("adam", "sgd"), "learning_rate": (1e-3, 1e-2, 1e-1),
    }  # fmt: skip
    if candidate == "dropout":
        found["dropout"] = (0.5,)
    if candidate == "batch_norm":
        found["batch_norm"] = (True,)
    if candidate == "l1":
        found["l1"] = (1e-6, 1e-5, 1e-4)
    if candidate == "l2":
        found["l2"] = (1e-4, 1e-5, 1e-3)
    if candidate == "dann":
        del found["depth"]
        found["reversal"] = (1.0, 0.1, 10.0)  # not stated in the paper
    if candidate in ("irm", "v_rex"):
        found |= {
            "learning_rate": (1e-3, 1e-2, 1e-1, 1.0), "batch_norm": (False, True),
            "penalty": (100.0, 10.0, 1000.0), "annealing": (0, 1, 2, 4, 8),
        }  # fmt: skip
    if candidate == "and_mask":
        found |= {
            "batch_norm": (False, True), "dropout": (0.0, 0.5), "threshold": (1.0, 0.9, 0.8),
            "rescale": (True, False),
            # One of both or none.
            "weights": ({}, *({"l1": v} for v in (1e-6, 1e-5, 1e-4)),
                        *({"l2": v} for v in (1e-5, 1e-4, 1e-3))),
        }  # fmt: skip
    return found


def draw(candidate: Candidate, config: Config) -> list[dict[str, Any]]:
    """The settings to try: one that is given, then random ones."""
    options = space(candidate, config)
    if candidate == "and_mask":
        first = dict(FOUND)
    else:
        first = {name: FIRST.get(name, values[0]) for name, values in options.items()}
    settings = [first]
    rng = np.random.default_rng([SEARCH_SEED, get_args(Candidate).index(candidate)])
    while len(settings) < config.trials:
        drawn = {name: values[int(rng.integers(len(values)))] for name, values in options.items()}
        settings.append({**drawn, **drawn.pop("weights", {})})
    return settings[: config.trials]


def plan(config: Config, shared: Path) -> Rounds:
    """Random search for every method, then final seeds with the best setting of each."""

    def run(candidate: Candidate, settings: Mapping[str, Any], seed: int) -> Run:
        return Run(
            method=method_of(candidate), settings=dict(settings), seed=seed,
            environments=config.environments, at_once=config.environments, rows=config.rows,
            passes=config.passes, shortcut_scale=config.shortcut_scale,
            test_rows=config.test_rows, device=config.device,
        )  # fmt: skip

    if config.only_paper:
        yield [run("and_mask", PAPER, seed) for seed in range(config.seeds)]
        return
    tried = [
        (candidate, settings, SEARCH_SEED + k)
        for candidate in config.methods
        for k, settings in enumerate(draw(candidate, config))
    ]
    records = yield [run(*one) for one in tried]
    best: dict[Candidate, tuple[float, Mapping[str, Any]]] = {}
    for (candidate, settings, _), record in zip(tried, records, strict=True):
        score = reached(record).held_out
        if score > best.get(candidate, (-math.inf, {}))[0]:
            best[candidate] = score, settings
    yield [
        run(candidate, best[candidate][1], seed)
        for seed in range(config.seeds)
        for candidate in config.methods
    ]


def candidate_of(run: Run) -> Candidate:
    """What a run was one of."""
    if run.method != "plain":
        return run.method
    for name in ("dropout", "batch_norm", "l1", "l2"):
        if run.settings.get(name):
            return name
    return "plain"


def finals(cells: Sequence[Cell]) -> dict[Candidate, list[Cell]]:
    """Final seeds, of the setting with the best trial; of the AND-mask, where none was tried, any.

    Only of the numbers of environments, examples and passes that most cells have.
    """
    by_size: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        run = cell.run
        size = run.environments, run.rows, run.passes, run.shortcut_scale
        by_size[run.environments == 32, *size].append(cell)
    found: dict[Candidate, list[Cell]] = {}
    if not by_size:
        return found
    same = by_size[max(by_size, key=lambda key: (key[0], len(by_size[key])))]
    for candidate in LABELS:
        of = [cell for cell in same if candidate_of(cell.run) == candidate]
        tried = [cell for cell in of if cell.run.seed >= SEARCH_SEED]
        last = [cell for cell in of if cell.run.seed < SEARCH_SEED]
        if tried:
            settings = max(tried, key=lambda cell: reached(cell.record).held_out).run.settings
            last = [cell for cell in last if cell.run.settings == settings]
        if last:
            found[candidate] = sorted(last, key=lambda cell: cell.run.seed)
    return found


def _told(settings: Mapping[str, Any]) -> str:
    """Briefly; what is off is left out."""
    names = {"learning_rate": "rate", "threshold": "τ", "batch_norm": "batch norm"}
    parts = [f"{settings.get('depth', 2)} × {settings['width']}", settings["optimizer"]]
    for name, value in settings.items():
        if name in ("width", "depth", "optimizer") or not value:
            continue
        label = names.get(name, name)
        parts.append(label if value is True else f"{label} {value:g}")
    return ", ".join(parts)


def table(cells: Sequence[Cell]) -> str:
    """Accuracies at the end of training, over final seeds, in per cent."""
    rows = []
    for candidate, same in finals(cells).items():
        ends = [reached(cell.record) for cell in same]
        test = [100 * end.test for end in ends]
        tried = [
            cell
            for cell in cells
            if cell.run.seed >= SEARCH_SEED and candidate_of(cell.run) == candidate
        ]
        best = max((reached(cell.record).held_out for cell in tried), default=math.nan)
        rows.append(
            [
                LABELS[candidate], f"{len(tried)}: {100 * best:.1f}",
                f"{mean([100 * end.training for end in ends]):.1f}", f"{mean(test):.1f}",
                f"{min(test):.1f} … {max(test):.1f}", _told(same[0].run.settings),
            ]
        )  # fmt: skip
    header = ["method", "trials: best held out", "training", "test", "all seeds", "setting"]
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 3.6 and B.5."""
    from matplotlib.figure import Figure

    groups = finals(cells)
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for offset, name, color in ((-0.2, "training", "0.75"), (0.2, "test", "C0")):
        for place, same in enumerate(groups.values()):
            values = [100 * getattr(reached(cell.record), name) for cell in same]
            axes.bar(
                place + offset, mean(values).value, 0.38, color=color,
                label=name if place == 0 else None,
            )  # fmt: skip
            axes.plot([place + offset] * len(values), values, ".", color="0.2", markersize=3)
    axes.axhline(50, color="0.5", linewidth=0.8)
    axes.set_xticks(range(len(groups)), [LABELS[candidate] for candidate in groups])
    axes.set(ylabel="accuracy in %", ylim=(40, 102))
    axes.legend(frameon=False, fontsize="small", ncols=2)
    curves = Figure(figsize=(9, 1.9 * math.ceil(len(groups) / 3)), layout="constrained")
    grid = curves.subplots(
        math.ceil(len(groups) / 3), 3, squeeze=False, sharex=True, sharey=True
    ).flat
    for axes in list(grid)[len(groups) :]:
        axes.remove()
    for axes, (candidate, same) in zip(grid, groups.items(), strict=False):
        for cell in same:
            total = cell.run.passes // cell.run.environments
            for name, style in (("training", "0.6"), ("test", "C0")):
                values = [100 * v for v in cell.record[name]]
                axes.plot(_epochs(cell, total), values, color=style, linewidth=0.9)
        axes.set(title=LABELS[candidate], ylim=(40, 102))
    for axes in curves.axes[-3:]:
        axes.set_xlabel("epoch")
    curves.supylabel("accuracy in %: training (grey), test", fontsize="medium")
    return {"figure-3.6": figure, "figure-b.5": curves}


def _epochs(cell: Cell, total: int) -> list[float]:
    """Where the looks were."""
    looks = len(cell.record["test"])
    size = min(cell.run.settings.get("batch", 128), cell.run.rows)
    per_epoch = cell.run.rows // size
    last = cell.record["steps"] / per_epoch
    return [last * (k + 1) / looks for k in range(looks)]


def value(record: Record) -> float:
    """For progress: minus the accuracy on held-out examples."""
    return -reached(record).held_out


study = Study(
    name="ilc-spirals",
    claim="Neitz' thesis, figures 3.6 and B.5, tables B.1 and B.2: where every environment has an "
    "easy shortcut of its own, the AND-mask learns the mechanism that they share; all other "
    "methods stay at chance on new environments.",
    version=1,
    config=Config,
    run=Run,
    full=Config(trials=100, seeds=50, widths=(256, 512), depths=(3, 5)),
    smoke=Config(
        trials=1, seeds=1, widths=(8,), batches=(16,), environments=4, rows=32, passes=8,
        test_rows=20,
    ),
    plan=plan,
    train=train_spirals,
    value=value,
    table=table,
    plot=plot,
)  # fmt: skip
