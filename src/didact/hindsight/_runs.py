"""The cells of one ``fit``: search, final runs, progress."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..runs import Progress, best, key, run_cells, search
from ._cell import run_cell
from ._settings import SPACES, STARTS, Settings
from ._train import FIXED

BATCH_OF_TRIALS = 4


class Runs:
    """The cells of one ``fit``: where they live, what they share, how far they are."""

    def __init__(
        self, home: Path, data: str, device: str, budget: dict[str, int], jobs: int, total: int
    ) -> None:
        self.home, self.jobs = home, jobs
        # All that decides the numbers of a run: a finished cell counts for these alone.
        self.shared = {
            "didact": __version__,
            "torch": torch.__version__,
            "data": data,
            "device": device,
            "budget": budget,
            "fixed": FIXED,
        }
        self.cell = partial(
            run_cell,
            prepared=os.fspath(home / "state" / "prepared.pt"),
            logs=os.fspath(home / "tensorboard"),
        )
        self.progress = Progress(total, "training runs")
        self.done = 0

    def config(
        self, candidate: str, settings: Settings, seed: int, *, final: bool
    ) -> dict[str, Any]:
        """The config of one cell."""
        return {
            **self.shared,
            "candidate": candidate,
            "settings": settings,
            "seed": seed,
            "split": seed if final else None,
            "final": final,
        }

    def folder(self, config: dict[str, Any]) -> Path:
        """Where a final run left its student and predictions."""
        return self.home / "state" / "cells" / key(config)

    def run(self, configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Run or load cells, and say how far we are."""
        before = self.done

        def told(done: int, total: int, record: dict[str, Any], cached: bool) -> None:
            self.done = before + done
            self.progress.update(self.done, best=record["validation"], cached=cached)

        records = run_cells(
            self.cell, configs, self.home / "state" / "cells", jobs=self.jobs, progress=told
        )
        self.done = before + len(configs)
        return records

    def start(self, candidate: str) -> tuple[Settings, list[dict[str, Any]]]:
        """Fixed settings, no trials."""
        return STARTS[candidate], []

    def search(self, candidate: str, trials: int) -> tuple[Settings, list[dict[str, Any]]]:
        """Settings by TPE, each trial with a seed of its own, none of them a final run's."""
        count = 0

        def evaluate(batch: list[Settings]) -> list[float]:
            nonlocal count
            seeds = range(1000 + count, 1000 + count + len(batch))
            count += len(batch)
            records = self.run(
                [
                    self.config(candidate, settings, seed, final=False)
                    for settings, seed in zip(batch, seeds, strict=True)
                ]
            )
            return [math.inf if r["validation"] is None else r["validation"] for r in records]

        tried = search(
            SPACES[candidate],
            evaluate,
            trials=trials,
            batch=BATCH_OF_TRIALS,
            first=STARTS[candidate],
        )
        finite = any(math.isfinite(t.value) for t in tried)
        settings = best(tried).settings if finite else STARTS[candidate]
        records = [
            {"settings": t.settings, "validation": t.value if math.isfinite(t.value) else None}
            for t in tried
        ]
        return settings, records

    def final(
        self, settings: dict[str, Settings], seeds: int
    ) -> dict[str, list[tuple[dict[str, Any], Path]]]:
        """(record, folder) of every candidate and seed."""
        configs = {
            (name, seed): self.config(name, chosen, seed, final=True)
            for seed in range(seeds)
            for name, chosen in settings.items()
        }
        records = dict(zip(configs, self.run(list(configs.values())), strict=True))
        return {
            name: [(records[name, seed], self.folder(configs[name, seed])) for seed in range(seeds)]
            for name in settings
        }
