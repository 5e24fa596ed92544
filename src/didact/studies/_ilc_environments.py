"""How many environments it takes: figure B.6."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ._ilc_spirals import FOUND, PAPER, SEARCH_SEED, value
from ._numbers import markdown, mean
from ._spirals import Method, Run, reached, train_spirals
from ._study import Cell, Rounds, Study

SETTINGS: dict[Method, dict[str, Any]] = {
    "and_mask": FOUND,
    "plain": {name: v for name, v in PAPER.items() if name not in ("threshold", "rescale")},
}
LABELS: dict[Method, str] = {"and_mask": "AND-mask", "plain": "plain"}
AT_ONCE = 32


@dataclass(frozen=True)
class Config:
    """How many environments it takes: figure B.6."""

    environments: tuple[int, ...] = tuple(2**k for k in range(2, 13))
    """D. Epochs are 3000/D: training takes as long for every D."""
    methods: tuple[Method, ...] = ("and_mask", "plain")
    """Which methods to run, with one setting each."""
    seeds: int = 5
    """Repetitions; the numbers of the paper are not stated."""
    rows: int = 1280
    """Training examples of each environment."""
    passes: int = 3000
    """Epochs are passes/D."""
    give_up: bool = True
    """End runs that have learned the shortcuts and are at chance on held-out examples."""
    shortcut_scale: float = 1.0
    """Standard deviation of the shortcuts, the mechanism's being 1."""
    test_rows: int = 2000
    """Test examples."""
    device: str = "cpu"
    """Where to train."""


def plan(config: Config, shared: Path) -> Rounds:
    """Both methods for every D; a step sees 32 environments at most, which take turns."""
    yield [
        Run(
            method=method, settings=SETTINGS[method], seed=seed, environments=environments,
            at_once=AT_ONCE, rows=config.rows, passes=max(config.passes, environments),
            shortcut_scale=config.shortcut_scale, test_rows=config.test_rows,
            give_up=config.give_up, device=config.device,
        )
        for method in config.methods
        for environments in config.environments
        for seed in range(config.seeds)
    ]  # fmt: skip


class Kind(NamedTuple):
    """What the rows of the table differ in."""

    environments: int
    give_up: bool
    passes: int


def _groups(cells: Sequence[Cell]) -> dict[Method, dict[Kind, list[Cell]]]:
    """By method and kind; of the folder's other final runs those of the same setting count, too."""
    sizes: dict[Any, int] = defaultdict(int)
    kept = [
        cell
        for cell in cells
        if cell.run.settings == SETTINGS.get(cell.run.method) and cell.run.seed < SEARCH_SEED
    ]
    for cell in kept:
        sizes[cell.run.rows, cell.run.shortcut_scale] += 1
    size = max(sizes, key=lambda key: sizes[key], default=None)
    found: dict[Method, dict[Kind, list[Cell]]] = {method: defaultdict(list) for method in SETTINGS}
    for cell in kept:
        run = cell.run
        if (run.rows, run.shortcut_scale) == size:
            found[run.method][Kind(run.environments, run.give_up, run.passes)].append(cell)
    return found


def table(cells: Sequence[Cell]) -> str:
    """Accuracies at the end of training, in per cent."""
    groups = _groups(cells)
    rows = []
    for kind in sorted({kind for by_kind in groups.values() for kind in by_kind}):
        row = [
            str(kind.environments),
            str(kind.passes),
            "may end early" if kind.give_up else "to the end",
        ]
        for by_kind in groups.values():
            ends = [reached(cell.record) for cell in by_kind.get(kind, [])]
            row += [str(len(ends)), f"{mean([100 * end.training for end in ends]):.1f}"]
            row.append(f"{mean([100 * end.test for end in ends]):.1f}")
        rows.append(row)
    header = ["environments", "passes", "runs"]
    for method in groups:
        header += ["seeds", f"{LABELS[method]}: training", "test"]
    return markdown(header, rows)


def _first(by_kind: dict[Kind, list[Cell]]) -> dict[int, list[Cell]]:
    """By D those with the fewest passes, which may be given up."""
    found: dict[int, list[Cell]] = {}
    for kind in sorted(by_kind):
        if kind.give_up and kind.environments not in found:
            found[kind.environments] = by_kind[kind]
    return found


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure B.6."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for (method, by_kind), color in zip(_groups(cells).items(), ("C0", "C3"), strict=True):
        by_d = _first(by_kind)
        counts = sorted(by_d)
        for name, style in (("training", ":"), ("test", "-")):
            means = [
                mean([100 * getattr(reached(cell.record), name) for cell in by_d[d]]).value
                for d in counts
            ]
            label = f"{LABELS[method]}, {name}"
            axes.plot(counts, means, style, marker="o", markersize=3, color=color, label=label)
    axes.set(xlabel="environments", ylabel="accuracy in %", ylim=(40, 102))
    axes.set_xscale("log", base=2)
    axes.legend(frameon=False, fontsize="small")
    return {"figure-b.6": figure}


study = Study(
    name="ilc-environments",
    claim="Neitz' thesis, figure B.6: without the mask, training finds the mechanism only from "
    "about 1,024 environments on.",
    version=1,
    config=Config,
    run=Run,
    full=Config(seeds=10),
    smoke=Config(environments=(2, 4), seeds=1, rows=32, passes=8, test_rows=20),
    plan=plan,
    train=train_spirals,
    value=value,
    table=table,
    plot=plot,
    records="ilc-spirals",
    highest=True,
)
