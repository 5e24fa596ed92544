"""What of LDT matters: figures 7 and 8 of the LDT paper."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..tasks import Environment
from . import _robot_settings as settings
from ._ldt_mujoco import LABELS, TROUBLE, errors_of, trouble
from ._numbers import markdown
from ._robot_settings import RECORDS, final, lowest, run_of, searched
from ._robots import Ablation, Candidate, Run, train
from ._study import Cell, Rounds, Study, alike

TOLD: dict[str, str] = {
    "FT": "teacher never learns",
    "PT": "trajectories permuted in time",
    "RT-8": "last 8 frames are noise",
    "RT-16": "all 16 frames are noise",
    "AR": "split drawn anew at every meta-step",
}
ROWS = ["LDT", *TOLD, "no teacher"]


@dataclass(frozen=True)
class Config(settings.Config):
    """What of LDT matters: figures 7 and 8 of the LDT paper."""

    environments: tuple[Environment, ...] = ("Hopper", "Walker2d")
    """The paper shows Walker2d, and all four in the appendix."""
    ablations: tuple[Ablation, ...] = ("FT", "PT", "RT-8", "RT-16", "AR")
    """Which to run; LDT and no teacher come from the study ldt-mujoco or are run here."""
    seeds: int = 2
    """Final runs of each."""


def plan(config: Config, shared: Path) -> Rounds:
    """Settings as the study ldt-mujoco chose them; then every ablation with LDT's."""
    methods: list[Candidate] = ["ldt", "no_teacher"]
    best = yield from searched(config, methods)
    yield [
        replace(
            run_of(config, environment, method, best[environment, method], seed),
            ablation=ablation,
        )
        for seed in range(config.seeds)
        for environment in config.environments
        for method in methods
        for ablation in ("", *(config.ablations if method == "ldt" else ()))
        if (environment, method) in best
    ]


def _found(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Final runs by environment, and ablation, ``LDT`` or ``no teacher``."""
    found: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in final(cells):
        if cell.run.method != "auxiliary":
            what = cell.run.ablation or LABELS[cell.run.method]
            found[cell.run.environment, what].append(cell)
    return {place: alike(same, "seed") for place, same in found.items()}


def table(cells: Sequence[Cell]) -> str:
    """Least test errors; the paper's figure has no numbers."""
    found = _found(cells)
    rows = []
    for environment in FULL.environments:
        _, base = errors_of(found.get((environment, "no teacher"), []))
        for what in ROWS:
            runs = found.get((environment, what), [])
            honest, least = errors_of(runs)
            ratio = f"{least.value / base.value:.2f}" if least.n and base.n else ""
            name = f"{what}: {TOLD[what]}" if what in TOLD else what
            rows.append(
                [
                    environment,
                    name,
                    str(len(runs)),
                    trouble(runs),
                    f"{honest:.3g}",
                    f"{least:.3g}",
                    ratio,
                ]
            )
    header = [
        "environment", "LDT with", "seeds", TROUBLE, "test error, epoch by held-out data",
        "least test error", "ratio to no teacher",
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 8: least test errors side by side."""
    from matplotlib.figure import Figure

    found = _found(cells)
    names = sorted({environment for environment, what in found if what in TOLD})
    figure = Figure(figsize=(3.6 * max(1, len(names)), 3.2), layout="constrained")
    for axes, environment in zip(
        figure.subplots(1, len(names), squeeze=False)[0] if names else [], names, strict=True
    ):
        kinds = [what for what in ROWS if (environment, what) in found]
        for place, what in enumerate(kinds):
            runs = [cell for cell in found[environment, what] if cell.record["test"]]
            if not runs:
                axes.annotate("diverged", (place, 0.02), xycoords=axes.get_xaxis_transform())
                continue
            values = [min(cell.record["test"]) for cell in runs]
            axes.bar(place, sum(values) / len(values), color="C0" if what in TOLD else "C7")
            axes.plot([place] * len(values), values, "k.", markersize=4)
        axes.set_xticks(range(len(kinds)), kinds, rotation=30, ha="right")
        axes.set(title=environment)
    if names:
        figure.axes[0].set_ylabel("least test error")
    return {"figure-8": figure}


FULL = Config(environments=settings.Config.environments, seeds=8, grid=True)

study = Study(
    name="ldt-ablations",
    claim="Neitz et al. 2021, figures 7 and 8: with an untrained teacher the student fails to "
    "learn; permuted trajectories cost little; of noise alone, or with a split drawn anew, nothing "
    "is gained over no teacher.",
    version=1,
    config=Config,
    run=Run,
    full=FULL,
    smoke=Config(
        environments=("Hopper",), ablations=("FT", "PT", "RT-16", "AR"), seeds=1, epochs=1,
        rollouts=240, test_rollouts=50, held_out_rollouts=50, tries=1, compile=False,
    ),
    plan=plan,
    train=train,
    value=lowest,
    table=table,
    plot=plot,
    records=RECORDS,
    own=lambda run: bool(run.ablation),
)  # fmt: skip
