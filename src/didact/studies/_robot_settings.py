"""Which settings the runs on robots have: tables 2 to 5 of the LDT paper, searched."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..tasks import Environment
from ._robots import Candidate, Run
from ._study import Cell, Record, alike

Place = tuple[Environment, Candidate]
Searched = Generator[Sequence[Run], list[Record], dict[Place, dict[str, Any]]]
SEARCH_SEED = 1000
RECORDS = "ldt-robots"
GRIDS: dict[Candidate, dict[str, tuple[float, ...]]] = {
    "no_teacher": {
        "learning_rate": (1e-3, 1e-2),
        "weight_decay": (0.0, 1e-5, 1e-4),
        "batch": (8, 16, 32),
    },
    "auxiliary": {
        "learning_rate": (1e-3, 1e-2),
        "weight_decay": (0.0, 1e-5, 1e-4),
        "auxiliary_weight": (1.0, 2.0, 4.0),
    },
    "ldt": {
        "beta1": (0.0, 0.9),
        "inner_learning_rate": (1e-3, 5e-3, 1e-2),
        "log_alpha": (2.0, 2.5, 3.0),
        "validation_split": (0.3, 0.5, 0.7),
    },
}
"""Tables 2, 3 and 4."""
TABLE_5: list[tuple[Environment, float, float, float]] = [
    ("HalfCheetah", 0.0, 2.5, 0.7),
    ("Hopper", 0.0, 2.5, 0.3),
    ("Swimmer", 0.9, 2.5, 0.3),
    ("Walker2d", 0.9, 3.0, 0.5),
]
PUBLISHED: dict[Environment, dict[str, float]] = {
    environment: {
        "beta1": beta1,
        "inner_learning_rate": 1e-2,
        "log_alpha": log_alpha,
        "validation_split": split,
    }
    for environment, beta1, log_alpha, split in TABLE_5
}
"""Table 5."""


@dataclass(frozen=True)
class Config:
    """What all final runs on robots share, and how their settings are searched."""

    environments: tuple[Environment, ...] = ("HalfCheetah", "Hopper", "Swimmer", "Walker2d")
    """Gymnasium's -v4; the paper's are -v2, with the same rewards and observations."""
    seeds: int = 3
    """Final runs per method and environment; the paper has 8."""
    epochs: int = 100
    """Passes of the student over the rows it trains on."""
    rollouts: int = 4000
    """Training examples."""
    test_rollouts: int = 10000
    """Test examples, which choose nothing."""
    held_out_rollouts: int = 4000
    """Examples that choose settings and epochs; the paper chose them on its test set."""
    grid: bool = False
    """Try all of LDT's table 4; otherwise table 5, as it is, with α = 100 and β₁ = 0.9, and with
    these and 0.3 of the rows to judge the teacher, at its inner learning rate and half of it."""
    tries: int = 1000
    """At most this many settings per method and environment."""
    confirmed: int = 4
    """Of more than so many settings the best are run with more seeds before one is chosen."""
    search_seeds: int = 4
    """Seeds of the best settings, the first search's included."""
    compile: bool = True
    """Compile LDT's inner steps."""
    device: str = "cpu"
    """Where to train."""


def candidates(
    config: Config, environment: Environment, method: Candidate, more_weights: Sequence[float] = ()
) -> list[dict[str, Any]]:
    """The settings that are tried once before the final runs."""
    if method == "ldt" and not config.grid:
        published = PUBLISHED[environment]
        calm = {**published, "beta1": 0.9, "log_alpha": 2.0}
        more = {**calm, "validation_split": 0.3}
        points = [published, calm, more, {**more, "inner_learning_rate": 5e-3}]
        return [point for i, point in enumerate(points) if point not in points[:i]][: config.tries]
    names = list(GRIDS[method])
    rows = list(product(*GRIDS[method].values()))
    if method == "auxiliary":
        rows += product(GRIDS[method]["learning_rate"], [0.0], more_weights)
    return [dict(zip(names, values, strict=True)) for values in rows[: config.tries]]


def run_of(
    config: Config, environment: Environment, method: Candidate, settings: dict[str, Any], seed: int
) -> Run:
    """One run of the config's size."""
    return Run(
        environment, method, settings, seed, epochs=config.epochs, rollouts=config.rollouts,
        test_rollouts=config.test_rollouts, held_out_rollouts=config.held_out_rollouts,
        compile=config.compile and method == "ldt", device=config.device,
    )  # fmt: skip


def searched(
    config: Config, methods: Sequence[Candidate], more_weights: Sequence[float] = ()
) -> Searched:
    """Settings by environment and method; none where every run diverged at once.

    Every setting is run once. Of many the best few are run with other seeds, too: one lucky run
    chose a setting whose student is dead from the first epoch with one seed of three.
    """
    tried = [
        run_of(config, environment, method, settings, SEARCH_SEED)
        for method in methods
        for environment in config.environments
        for settings in candidates(config, environment, method, more_weights)
    ]
    found = list(zip(tried, (yield tried), strict=True))
    first = ranked(found)
    again = [
        run_of(config, *place, settings, SEARCH_SEED + k)
        for k in range(1, config.search_seeds)
        for place, best in first.items()
        if len(best) > config.confirmed
        for settings in best[: config.confirmed]
    ]
    if again:
        found += zip(again, (yield again), strict=True)
    return {place: best[0] for place, best in ranked(found).items()}


def ranked(tried: Iterable[tuple[Run, Record]]) -> dict[Place, list[dict[str, Any]]]:
    """Settings of each environment and method, the best first.

    Those with more seeds come before those with fewer, those that came to their end before those
    that diverged; then the least mean held-out error.
    """
    found: dict[Place, dict[str, list[tuple[Run, Record]]]] = defaultdict(dict)
    for run, record in tried:
        if record["held_out"]:
            same = found[run.environment, run.method]
            same.setdefault(json.dumps(run.settings, sort_keys=True), []).append((run, record))

    def rank(runs: list[tuple[Run, Record]]) -> tuple[int, bool, float]:
        errors = [lowest(record) for _, record in runs]
        diverged = any(record["diverged"] is not None for _, record in runs)
        return -len(runs), diverged, sum(errors) / len(errors)

    return {
        place: [runs[0][0].settings for runs in sorted(every.values(), key=rank)]
        for place, every in found.items()
    }


def lowest(record: Record) -> float:
    """The lowest held-out error of any epoch."""
    return min(record["held_out"], default=math.inf)


def final(cells: Sequence[Cell]) -> list[Cell]:
    """Final runs of one size, with the settings that the search chose."""
    same = sized(cells)
    best = ranked((cell.run, cell.record) for cell in same if cell.run.seed >= SEARCH_SEED)
    return [
        cell
        for cell in same
        if cell.run.seed < SEARCH_SEED
        and cell.run.settings
        == best.get((cell.run.environment, cell.run.method), [cell.run.settings])[0]
    ]


def sized(cells: Sequence[Cell]) -> list[Cell]:
    """Those of one size."""
    return alike(cells, "environment", "method", "settings", "seed", "ablation")
