"""The settings of each method, tried once for all of these studies, and the runs that have them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from ..runs import Choice, drawn, key
from ._asi_runs import GREEDY, Config, highest, label_of, run_of, tried_of
from ._asi_training import SEARCH_SEED, Run, World
from ._study import Cell, Rounds, alike

USUAL = {"learning_rate": 5e-4, "decay": 0.6, "horizon": 21, "filters": 48}
"""Most often chosen (tables A.1 and A.2)."""
SEARCHED = ("ASI", GREEDY, "Δ = 1", "Δ = 2")
HEIRS = dict.fromkeys(("global alignment", "latent ASI", "ASI with actions"), "ASI")
Dynamics = Literal["standard", "changing", "perturbed"]
OWN = ("exploration", "steps")
"""What no method inherits."""


def source(label: str) -> str:
    """Whose settings a method has: steps above 2 have those of 2, as in the paper."""
    return label if label in SEARCHED else HEIRS.get(label, "Δ = 2")


def tries(config: Config, world: World, label: str) -> list[dict[str, Any]]:
    """Learning rates and horizons; or what the paper chose and random points of appendix A.

    Its updates are shares of 25,000.
    """
    if not config.trials:
        found = [{"learning_rate": rate} for rate in tried_of(config, world, "rates")]
        if label.startswith("ASI"):
            horizons = tried_of(config, world, "horizons")
            found = [{**each, "horizon": horizon} for each in found for horizon in horizons]
        return found if len(found) > 1 else []
    space: dict[str, Sequence[Any]] = {
        "architecture": ("f-simple", "f-strided", "f-dilated"), "filters": (32, 48),
        "learning_rate": (1e-3, 7.5e-4, 5e-4), "decay": (0.3, 0.4, 0.6),
        "teacher_forcing": (0.6, 0.8),
    }  # fmt: skip
    if label.startswith("ASI"):
        space["horizon"] = (15, 18, 21, 25)
    if label == "ASI":
        space["exploration"] = (0.3, 0.4, 0.6)
    choices = {name: Choice(values) for name, values in space.items()}
    first = {name: USUAL.get(name, values[0]) for name, values in space.items()}
    return drawn(choices, trials=config.trials, seed=SEARCH_SEED, first=first)


def rounds(
    config: Config,
    labels: Sequence[str],
    *,
    switch: int = 0,
    unchanged: bool = False,
    more: Mapping[str, dict[str, Any]] | None = None,
) -> Rounds:
    """The search of every method's settings, then seeds of every method.

    Trials have their data in common, and initial weights where their models are alike. One that
    diverged is never chosen; if all have, the method keeps the settings of the config.

    Args:
        config: of the study.
        labels: of the methods, the cheap ones first.
        switch: of the seeds; all trials are in one and the same world.
        unchanged: after the seeds, the same ones in perturbed dynamics to the end.
        more: settings of single methods.
    """
    sources = dict.fromkeys(source(label) for label in labels)
    tried = [
        (world, label, settings)
        for world in config.worlds
        for label in sources
        for settings in tries(config, world, label)
    ]
    found: dict[tuple[Any, str], dict[str, Any]] = {}
    if tried:
        records = yield [run_of(config, w, label, SEARCH_SEED, **s) for w, label, s in tried]
        best: dict[tuple[Any, str], float] = {}
        for (world, label, settings), record in zip(tried, records, strict=True):
            better = highest(record) > best.get((world, label), -1.0)
            if better and record["diverged"] is None:
                best[world, label], found[world, label] = highest(record), settings
    more = more or {}
    runs = [
        run_of(
            config, world, label, seed, switch=switch,
            **{**_heritage(found.get((world, source(label)), {}), label), **more.get(label, {})},
        )
        for seed in range(config.seeds)
        for world in config.worlds
        for label in labels
    ]  # fmt: skip
    yield [*runs, *(all_along(run) for run in runs)] if unchanged else runs


def all_along(run: Run) -> Run:
    """The same, but in perturbed dynamics to the end."""
    return replace(run, switch=run.epochs)


def dynamics_of(run: Run) -> Dynamics:
    """Of its training."""
    if not run.switch:
        return "standard"
    return "changing" if run.switch < run.epochs else "perturbed"


def _heritage(settings: dict[str, Any], label: str) -> dict[str, Any]:
    own = ("horizon", *OWN) if label.startswith("Δ") else () if label in SEARCHED else OWN
    return {name: value for name, value in settings.items() if name not in own}


def trials_of(cells: Iterable[Cell], same: Sequence[Cell]) -> list[Cell]:
    """Of all cells the trials that decided the settings of these."""
    like, label = world_of(same[0].run), source(label_of(same[0].run))
    return [
        cell
        for cell in cells
        if cell.run.seed >= SEARCH_SEED
        and world_of(cell.run) == like
        and label_of(cell.run) == label
    ]


def world_of(run: Run) -> str:
    """All but the method, its settings and the seed."""
    free = dict.fromkeys(("method", "settings", "seed", "switch", "device"))
    return key({**asdict(run), **free})


def finals(
    cells: Sequence[Cell], labels: Sequence[str] = (), *, dynamics: Dynamics = "standard"
) -> dict[str, dict[str, list[Cell]]]:
    """By world and label, seeds that differ in nothing else; only of ``labels``, if there are any.

    Of several sizes the one with the most cells; of several settings those that the trials chose,
    or else those with the most seeds.
    """
    worlds: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        run = cell.run
        wanted = not labels or label_of(run) in labels
        if wanted and run.seed < SEARCH_SEED and dynamics_of(run) == dynamics:
            worlds[run.world].append(cell)
    found: dict[str, dict[str, list[Cell]]] = {}
    for world, every in sorted(worlds.items(), reverse=True):
        groups: dict[str, list[Cell]] = defaultdict(list)
        for cell in alike(every, "method", "settings", "seed"):
            groups[label_of(cell.run)].append(cell)
        found[world] = {}
        for label in sorted(groups, key=lambda label: (label[0] != "A", label)):
            same = alike(chosen(groups[label], cells) or groups[label], "seed")
            found[world][label] = sorted(same, key=lambda cell: cell.run.seed)
    return found


def chosen(group: Sequence[Cell], cells: Iterable[Cell]) -> list[Cell]:
    """Of one method's cells those with the settings of the best trial."""
    label = label_of(group[0].run)
    trials = [cell for cell in trials_of(cells, group) if cell.record["diverged"] is None]
    most = max((highest(cell.record) for cell in trials), default=0.0)
    best = [_heritage(cell.run.settings, label) for cell in trials if highest(cell.record) == most]
    return [cell for cell in group if _heritage(cell.run.settings, label) in best]
