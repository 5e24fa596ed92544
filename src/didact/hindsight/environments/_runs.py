"""The cells of one ``fit_environments``: search, final runs, progress."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...runs import Stored
from .._runs import FIRST_TRIAL_SEED, deciding
from .._settings import Settings
from ._cell import run_cell
from ._choose import Chosen, choose
from ._metrics import NETWORKS, EnvironmentTrialRecord
from ._parts import LeftOut, Parts, searched
from ._settings import tried
from ._train import FIXED


@dataclass(frozen=True)
class Choice:
    """What was chosen on all parts but those left out. ``trial``: whose settings they are."""

    left_out: LeftOut
    trial: int
    settings: Settings
    found: Chosen


@dataclass(frozen=True)
class Searched:
    """A candidate's choices with each part left out, then with none; and all its trials."""

    choices: list[Choice]
    trials: list[EnvironmentTrialRecord]


class Runs:
    """Where cells live, what they share, how far they are."""

    def __init__(
        self,
        home: Path,
        parts: Parts,
        data: str,
        device: str,
        budget: dict[str, int],
        jobs: int,
        total: int,
    ) -> None:
        self.parts, self.budget = parts, budget
        self.shared = deciding(data, device, budget, FIXED)
        cell = partial(
            run_cell,
            tables=os.fspath(home / "state"),
            logs=os.fspath(home / "tensorboard"),
            part=list(parts.part),
        )
        self.stored = Stored(home, cell, jobs, total)

    def config(
        self, candidate: str, settings: Settings, seed: int, left_out: LeftOut, epochs: int | None
    ) -> dict[str, Any]:
        """The config of one cell; without ``epochs`` it is a trial."""
        return {
            **self.shared,
            "candidate": candidate,
            "settings": settings,
            "seed": seed,
            "left_out": list(left_out),
            "split": None,
            "epochs": epochs,
            "final": epochs is not None,
        }

    def search(self, candidates: Sequence[str], trials: int, number: bool) -> dict[str, Searched]:
        """Every trial of every candidate, without each part and each two; then the choices."""
        settings = {
            name: tried(name, trials, number=number, environments=len(self.parts.names))
            for name in candidates
        }
        configs = {
            (name, k, left_out): self.config(name, one, FIRST_TRIAL_SEED + k, left_out, None)
            for name in candidates
            for k, one in enumerate(settings[name])
            for left_out in searched(self.parts.count)
        }
        records = dict(zip(configs, self.stored.run(list(configs.values())), strict=True))
        curves = {where: record["curves"] or {} for where, record in records.items()}
        return {name: self._chosen(name, settings[name], curves) for name in candidates}

    def _chosen(
        self, name: str, settings: list[Settings], curves: dict[Any, dict[str, Any]]
    ) -> Searched:
        choices, values = [], []
        for left_out in [*((p,) for p in range(self.parts.count)), ()]:
            judges = self.parts.judges(left_out)
            found = [
                choose(
                    [curves[name, k, run].get(str(p), []) for p, run in judges],
                    [len(self.parts.members(p)) for p, _ in judges],
                    patience=self.budget["patience"],
                    budget=self.budget["epochs"] if name in NETWORKS else 0,
                )
                for k in range(len(settings))
            ]
            best = min(range(len(found)), key=lambda k: found[k].loss)
            choices.append(Choice(left_out, best, settings[best], found[best]))
            values.append([one.loss if math.isfinite(one.loss) else None for one in found])
        trials: list[EnvironmentTrialRecord] = [
            {"settings": one, "validation": [of[k] for of in values]}
            for k, one in enumerate(settings)
        ]
        return Searched(choices, trials)

    def final(
        self, found: dict[str, Searched], seeds: int
    ) -> dict[str, list[list[tuple[dict[str, Any], Path]]]]:
        """Candidate → part that is left out → seed → record and folder.

        Candidates of which a choice found nothing finite are left out.
        """
        configs = {
            (name, place, seed): self.config(
                name, choice.settings, seed, choice.left_out, choice.found.epochs
            )
            for name, of in found.items()
            if all(math.isfinite(choice.found.loss) for choice in of.choices[:-1])
            for place, choice in enumerate(of.choices[:-1])
            for seed in range(seeds)
        }
        self.stored.progress.expect(self.stored.done + len(configs) + 1)
        records = dict(zip(configs, self.stored.run(list(configs.values())), strict=True))
        return {
            name: [
                [
                    (records[name, place, seed], self.stored.folder(configs[name, place, seed]))
                    for seed in range(seeds)
                ]
                for place in range(self.parts.count)
            ]
            for name in found
            if (name, 0, 0) in configs
        }

    def whole(self, candidate: str, choice: Choice) -> tuple[dict[str, Any], dict[str, Any]]:
        """One run on all environments: its config and its record."""
        config = self.config(candidate, choice.settings, 0, (), choice.found.epochs)
        (record,) = self.stored.run([config])
        return config, record
