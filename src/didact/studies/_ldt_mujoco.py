"""Predict a robot's return: table 7, figures 5 and 6 of the LDT paper."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ..tasks import Environment
from . import _robot_settings as settings
from ._numbers import Mean, markdown, mean
from ._robot_settings import (
    RECORDS,
    SEARCH_SEED,
    candidates,
    final,
    lowest,
    run_of,
    searched,
    sized,
)
from ._robots import Candidate, Run, train
from ._study import Cell, Record, Rounds, Study, alike

PAPER: dict[Environment, dict[Candidate, float]] = {
    "HalfCheetah": {"no_teacher": 0.0485, "auxiliary": 0.0477, "ldt": 0.0427},
    "Hopper": {"no_teacher": 0.00270, "auxiliary": 0.00224, "ldt": 0.00132},
    "Swimmer": {"no_teacher": 0.0169, "auxiliary": 0.0146, "ldt": 0.00964},
    "Walker2d": {"no_teacher": 0.0238, "auxiliary": 0.0211, "ldt": 0.0164},
}
"""Table 7."""
TROUBLE = "runs diverged, meta-gradients skipped"
LABELS: dict[Candidate, str] = {
    "no_teacher": "no teacher", "auxiliary": "auxiliary", "ldt": "LDT"
}  # fmt: skip


@dataclass(frozen=True)
class Config(settings.Config):
    """Predict a robot's return: table 7, figures 5 and 6 of the LDT paper."""

    methods: tuple[Candidate, ...] = ("ldt", "auxiliary", "no_teacher")
    """Which methods to run, the longest first."""
    more_weights: tuple[float, ...] = (8.0, 16.0, 32.0, 64.0, 128.0)
    """Weights of the auxiliary task beyond table 3, whose largest was best."""


def plan(config: Config, shared: Path) -> Rounds:
    """The search, then the final seeds."""
    best = yield from searched(config, config.methods, config.more_weights)
    yield [
        run_of(config, environment, method, best[environment, method], seed)
        for seed in range(config.seeds)
        for method in config.methods
        for environment in config.environments
        if (environment, method) in best
    ]


def chosen(record: Record) -> float:
    """The test error after the epoch that was best on held-out data."""
    error: float = record["test"][record["held_out"].index(min(record["held_out"]))]
    return error


def tried(cells: Sequence[Cell], environment: Environment, method: Candidate) -> str:
    """How many settings, of how many in the full study."""
    found = {
        repr(cell.run.settings)
        for cell in sized(cells)
        if cell.run.seed >= SEARCH_SEED
        and (cell.run.environment, cell.run.method) == (environment, method)
    }
    return f"{len(found)} of {len(candidates(FULL, environment, method, FULL.more_weights))}"


def by_method(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Final runs without ablation, by environment and method."""
    found: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in final(cells):
        if not cell.run.ablation:
            found[cell.run.environment, cell.run.method].append(cell)
    return {place: alike(same, "seed") for place, same in found.items()}


def errors_of(runs: Sequence[Cell]) -> tuple[Mean, Mean]:
    """Test error at the epoch that held-out data choose, and the least of any epoch.

    Of the runs that came to the end of an epoch.
    """
    ended = [cell.record for cell in runs if cell.record["test"]]
    return mean([chosen(record) for record in ended]), mean([min(r["test"]) for r in ended])


def trouble(runs: Sequence[Cell]) -> str:
    """How many runs diverged, and how many meta-gradients were skipped by all of them."""
    diverged = sum(cell.record["diverged"] is not None for cell in runs)
    skipped = sum(cell.record["skipped"] for cell in runs)
    return f"{diverged}, {skipped}" if runs else ""


def table(cells: Sequence[Cell]) -> str:
    """Table 7, ours beside the paper's."""
    found = by_method(cells)
    rows = []
    for environment, paper in PAPER.items():
        base: Mean | None = None
        for method in get_args(Candidate):
            runs = found.get((environment, method), [])
            honest, theirs = errors_of(runs)
            base = theirs if method == "no_teacher" else base
            ratio = ""
            if base is not None and base.n and theirs.n:
                ratio = f"{theirs.value / base.value:.2f}"
            rows.append(
                [
                    environment, LABELS[method], tried(cells, environment, method),
                    str(len(runs)), trouble(runs), f"{honest:.3g}",
                    f"{theirs:.3g}", ratio, f"{paper[method]:.3g}",
                    f"{paper[method] / paper['no_teacher']:.2f}",
                ]
            )  # fmt: skip
    header = [
        "environment", "method", "settings tried", "seeds", TROUBLE,
        "test error, epoch by held-out data", "least test error", "ratio", "paper", "ratio",
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 5 and 6."""
    from matplotlib.figure import Figure

    found = by_method(cells)
    names = [name for name in PAPER if any(environment == name for environment, _ in found)]
    if not names:
        return {}
    curves = Figure(figsize=(12, 3.2), layout="constrained")
    gaps = Figure(figsize=(12, 3.2), layout="constrained")
    for figure, label in ((curves, "test error"), (gaps, "test error − training error")):
        for axes, environment in zip(
            figure.subplots(1, len(names), squeeze=False)[0], names, strict=True
        ):
            for k, method in enumerate(get_args(Candidate)):
                for cell in found.get((environment, method), []):
                    test = cell.record["test"]
                    values = test
                    if figure is gaps:
                        pairs = zip(test, cell.record["training"], strict=True)
                        values = [a - b for a, b in pairs]
                    axes.plot(
                        range(1, len(values) + 1), values, color=f"C{k}", alpha=0.6, linewidth=1
                    )
                axes.plot([], [], color=f"C{k}", label=LABELS[method])
            axes.set(title=environment, xlabel="epoch", xscale="log")
            if figure is curves:
                axes.set_yscale("log")
        figure.axes[0].set_ylabel(label)
        figure.axes[0].legend(frameon=False, fontsize="small")
    return {"figure-5": curves, "figure-6": gaps}


FULL = Config(seeds=8, grid=True)

study = Study(
    name="ldt-mujoco",
    claim="Neitz et al. 2021, table 7, figures 5 and 6: LDT beats the auxiliary task, which beats "
    "no teacher, on four robots.",
    version=1,
    config=Config,
    run=Run,
    full=FULL,
    smoke=Config(
        environments=("Hopper",), seeds=1, epochs=1, rollouts=240, test_rollouts=50,
        held_out_rollouts=50, tries=1, compile=False,
    ),
    plan=plan,
    train=train,
    value=lowest,
    table=table,
    plot=plot,
    records=RECORDS,
    own=lambda run: not run.ablation,
)  # fmt: skip
