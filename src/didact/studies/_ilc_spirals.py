"""Which methods find what holds in all environments: figures 3.6 and B.5, tables B.1 and B.2."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ..runs import Choice, drawn, key
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
    "batch_norm": False, "dropout": 0.0, "l2": 1e-4, "threshold": 1.0, "rescale": True,
}  # fmt: skip
"""The thesis' best setting, with rescaling, which it "often found helpful"."""
FOUND: dict[str, Any] = {**PAPER, "threshold": 0.8}
"""The AND-mask's first trial here; the others' has the same width, depth, batch and optimizer."""
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
    whole: int = 1
    """Seeds that are also run to the end where a method was given up, as it had learned the
    shortcuts and stayed at chance on held-out examples."""
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


def space(candidate: Candidate, config: Config) -> dict[str, Choice]:
    """Tables B.1 and B.2; V-REx, which the paper does not have, by IRM's."""
    found = {
        "width": config.widths, "depth": config.depths, "batch": config.batches,
        "optimizer": ("adam", "sgd"), "learning_rate": (1e-2, 1e-3, 1e-1),
    }  # fmt: skip
    own: dict[Candidate, dict[str, Sequence[Any]]] = {
        "dropout": {"dropout": (0.5,)},
        "batch_norm": {"batch_norm": (True,)},
        "l1": {"l1": (1e-5, 1e-6, 1e-4)},
        "l2": {"l2": (1e-4, 1e-5, 1e-3)},
        "dann": {"depth": (2,), "reversal": (1.0, 0.1, 10.0)},  # the paper states no weight
        "irm": {
            "learning_rate": (1e-2, 1e-3, 1e-1, 1.0), "batch_norm": (False, True),
            "penalty": (100.0, 10.0, 1000.0), "annealing": (0, 1, 2, 4, 8),
        },
        "and_mask": {
            "batch_norm": (False, True), "dropout": (0.0, 0.5), "threshold": (0.8, 0.9, 1.0),
            "rescale": (True, False),
            # One of both or none.
            "weights": (
                {"l2": 1e-4}, {"l2": 1e-5}, {"l2": 1e-3}, {"l1": 1e-6}, {"l1": 1e-5}, {"l1": 1e-4},
                {},
            ),
        },
    }  # fmt: skip
    own["v_rex"] = own["irm"]
    return {name: Choice(values) for name, values in {**found, **own.get(candidate, {})}.items()}


def tries(candidate: Candidate, config: Config) -> list[dict[str, Any]]:
    """One setting that is given, then random ones."""
    choices = space(candidate, config)
    usual = {name: FOUND.get(name) for name in choices}
    first = {
        name: usual[name] if usual[name] in choice else choice.options[0]
        for name, choice in choices.items()
    }
    found = drawn(choices, trials=config.trials, seed=SEARCH_SEED, first=first)
    return [
        {n: v for n, v in settings.items() if n != "weights"} | settings.get("weights", {})
        for settings in found
    ]


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
        for k, settings in enumerate(tries(candidate, config))
    ]
    records = yield [run(*one) for one in tried]
    best: dict[Candidate, tuple[float, Mapping[str, Any]]] = {}
    for (candidate, settings, _), record in zip(tried, records, strict=True):
        score = reached(record).held_out
        if score > best.get(candidate, (-math.inf, {}))[0]:
            best[candidate] = score, settings
    last = [
        (candidate, run(candidate, best[candidate][1], seed))
        for seed in range(config.seeds)
        for candidate in config.methods
    ]
    records = yield [one for _, one in last]
    given_up = {
        candidate for (candidate, _), record in zip(last, records, strict=True) if record["stopped"]
    }
    to_the_end = [
        replace(one, give_up=False)
        for candidate, one in last
        if candidate in given_up and one.seed < config.whole
    ]
    if to_the_end:
        yield to_the_end


def candidate_of(run: Run) -> Candidate:
    """What a run was one of."""
    if run.method != "plain":
        return run.method
    for name in ("dropout", "batch_norm", "l1", "l2"):
        if run.settings.get(name):
            return name
    return "plain"


def finals(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """By method, final seeds of the setting with the best trial; and of the thesis' setting.

    Only of the numbers of environments, examples and passes that most cells have.
    """
    by_size: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        run = cell.run
        if not run.give_up:
            continue
        size = run.environments, run.rows, run.passes, run.shortcut_scale
        by_size[run.environments == 32, *size].append(cell)
    if not by_size:
        return {}
    same = by_size[max(by_size, key=lambda key: (key[0], len(by_size[key])))]
    chosen = [
        (LABELS[candidate], candidate, max(tried, key=lambda c: reached(c.record).held_out))
        for candidate in LABELS
        if (tried := trials(same, candidate))
    ]
    wanted = [(label, candidate, cell.run.settings) for label, candidate, cell in chosen]
    if PAPER not in [settings for _, _, settings in wanted]:
        wanted.insert(1, ("AND-mask, τ = 1", "and_mask", PAPER))
    found = {}
    for label, candidate, settings in wanted:
        last = [
            cell
            for cell in same
            if cell.run.seed < SEARCH_SEED
            and candidate_of(cell.run) == candidate
            and cell.run.settings == settings
        ]
        if last:
            found[label] = sorted(last, key=lambda cell: cell.run.seed)
    return found


def whole(cells: Sequence[Cell], same: Sequence[Cell]) -> list[Cell]:
    """Of those runs, the ones that were not given up when they could have been."""
    wanted = {key(asdict(replace(cell.run, give_up=False))) for cell in same}
    return [cell for cell in cells if not cell.run.give_up and key(asdict(cell.run)) in wanted]


def trials(cells: Sequence[Cell], candidate: Candidate) -> list[Cell]:
    """Of the search."""
    return [
        cell
        for cell in cells
        if cell.run.seed >= SEARCH_SEED and candidate_of(cell.run) == candidate
    ]


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
    for label, same in finals(cells).items():
        ends = [reached(cell.record) for cell in same]
        test = [100 * end.test for end in ends]
        tried = trials(cells, candidate_of(same[0].run))
        best = max((reached(cell.record).held_out for cell in tried), default=math.nan)
        taken = [100 * cell.record["steps"] / cell.record["of"] for cell in same]
        on = [f"{100 * reached(cell.record).test:.1f}" for cell in whole(cells, same)]
        rows.append(
            [
                label, f"{len(tried)}: {100 * best:.1f}",
                f"{mean([100 * end.training for end in ends]):.1f}", f"{mean(test):.1f}",
                f"{min(test):.1f} … {max(test):.1f}", f"{min(taken):.0f} … {max(taken):.0f}",
                ", ".join(on) or "–", _told(same[0].run.settings),
            ]
        )  # fmt: skip
    header = [
        "method", "trials: best held out", "training", "test", "all seeds",
        "% of the steps until it was given up", "test, one that went on", "setting",
    ]  # fmt: skip
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
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set(ylabel="accuracy in %", ylim=(40, 102))
    axes.legend(frameon=False, fontsize="small", ncols=2)
    rows = max(1, math.ceil(len(groups) / 3))
    curves = Figure(figsize=(9, 1.9 * rows), layout="constrained")
    grid = list(curves.subplots(rows, 3, squeeze=False, sharex=True, sharey=True).flat)
    for axes in grid[len(groups) :]:
        axes.remove()
    for axes, (label, same) in zip(grid, groups.items(), strict=False):
        for cell in same:
            for name, color in (("training", "0.6"), ("test", "C0")):
                values = [100 * v for v in cell.record[name]]
                axes.plot(
                    _steps(cell), values, color=color, linewidth=0.9, marker=".", markersize=3
                )
        axes.set(title=label, ylim=(40, 102))
    curves.supxlabel("share of the epochs; runs that learned the shortcuts end", fontsize="medium")
    curves.supylabel("accuracy in %: training (grey), test", fontsize="medium")
    return {"figure-3.6": figure, "figure-b.5": curves}


def _steps(cell: Cell) -> list[float]:
    """Where the looks were, as shares of all steps."""
    looks = len(cell.record["test"])
    return [(k + 1) / looks * cell.record["steps"] / cell.record["of"] for k in range(looks)]


def value(record: Record) -> float:
    """For progress: the accuracy on held-out examples."""
    return reached(record).held_out


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
    highest=True,
)  # fmt: skip
