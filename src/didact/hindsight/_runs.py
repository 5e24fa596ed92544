"""The cells of one ``fit``: search, final runs, progress."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .. import __version__
from ..runs import Stored, Trial, searching, together
from ._cell import run_cell
from ._metrics import BASELINE, CEILING
from ._prepared import Prepared
from ._probe import run_probe
from ._settings import Settings, space, start
from ._train import FIXED
from ._verdict import ELIGIBLE

BATCH_OF_TRIALS = 4
FIRST_TRIAL_SEED = 1000
PROBE_SEED = 0

APART = 100_000  # seeds between those of two searches of one candidate
FINALISTS = 3

Found = dict[str, tuple[list[Settings], list[dict[str, Any]]]]
"""Candidate → settings for final runs, the best first, and its trials."""


class Final(NamedTuple):
    """The final runs of a candidate's settings.

    Args:
        settings: the finalist whose mean validation loss over the seeds is lowest.
        runs: its record and folder by seed.
        cut_short: how many runs of all finalists were.
    """

    settings: Settings
    runs: list[tuple[dict[str, Any], Path]]
    cut_short: int


def _best(record: dict[str, Any]) -> float | None:
    """The oracle's loss is nobody's to have."""
    return None if record.get("candidate") == CEILING else record.get("validation")


class Runs:
    """The cells of one ``fit``: where they live, what they share, how far they are."""

    def __init__(
        self,
        home: Path,
        prepared: Prepared,
        data: str,
        device: str,
        budget: dict[str, int],
        jobs: int,
        total: int,
    ) -> None:
        self.kind: Any = {"number": prepared.values is not None, "rows": len(prepared.split.train)}
        self.shared = deciding(data, device, budget, FIXED)
        self.prepared = os.fspath(home / "state" / "prepared.pt")
        cell = partial(
            run_cell,
            prepared=self.prepared,
            logs=os.fspath(home / "tensorboard"),
        )
        self.stored = Stored(home, cell, jobs, total, _best)

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

    def probe(self) -> dict[str, Any]:
        """How predictable the label is from x*, and x* from x."""
        config = {**self.shared, "probe": True, "seed": PROBE_SEED}
        (record,) = self.stored.run([config], partial(run_probe, prepared=self.prepared))
        return record

    def start(self, candidates: Sequence[str]) -> Found:
        """Fixed settings, no trials."""
        return {name: ([start(name, **self.kind)], []) for name in candidates}

    def search(self, candidates: Sequence[str], trials: int) -> Found:
        """Settings by TPE, each trial with a seed of its own, none of them a final run's.

        The searches run side by side, a batch of each at a time, so that many processes have
        something to do.
        """
        places = {f"{name} {k}": (name, k) for name in candidates for k in range(searches(name))}
        asking = together(
            {
                place: searching(
                    space(name, **self.kind), trials=trials, batch=BATCH_OF_TRIALS, seed=k,
                    first=start(name, **self.kind),
                )
                for place, (name, k) in places.items()
            }
        )  # fmt: skip
        batches = next(asking)
        for count in itertools.count(FIRST_TRIAL_SEED, BATCH_OF_TRIALS):
            configs = {
                (place, i): self.config(
                    places[place][0], settings, count + i + APART * places[place][1], final=False
                )
                for place, batch in sorted(batches.items(), key=_longest_first)
                for i, settings in enumerate(batch)
            }
            records = dict(zip(configs, self.stored.run(list(configs.values())), strict=True))
            values = {
                place: [_value(records[place, i]) for i in range(len(batch))]
                for place, batch in batches.items()
            }
            try:
                batches = asking.send(values)
            except StopIteration as ended:
                tried: dict[str, list[Trial]] = ended.value
                break
        found: Found = {name: ([], []) for name in candidates}
        for place, (name, _) in places.items():
            best, told = found[name]
            best += [settings for settings in finalists(tried[place]) if settings not in best]
            told += [
                {"settings": t.settings, "validation": t.value if finite(t) else None}
                for t in tried[place]
            ]
        for name, (best, _) in found.items():
            best += [] if best else [start(name, **self.kind)]
        return found

    def final(self, found: Found, seeds: int) -> dict[str, Final]:
        """Every finalist with every seed.

        The best of twenty trials is the luckiest, too: one run says little of its settings. So the
        best few meet again, and their mean over the seeds decides.
        """
        configs = {
            (name, place, seed): self.config(name, settings, seed, final=True)
            for name, (tried, _) in sorted(found.items(), key=_longest_first)
            for seed in range(seeds)
            for place, settings in enumerate(tried)
        }
        self.stored.progress.expect(
            self.stored.done + len(configs) + 1
        )  # fewer where few trials were finite
        records = dict(zip(configs, self.stored.run(list(configs.values())), strict=True))
        final = {}
        for name, (settings, _) in found.items():
            by_place = [
                [records[name, place, seed] for seed in range(seeds)]
                for place in range(len(settings))
            ]
            place = steadiest(by_place)
            folders = [self.stored.folder(configs[name, place, seed]) for seed in range(seeds)]
            final[name] = Final(
                settings[place],
                list(zip(by_place[place], folders, strict=True)),
                sum(record.get("cut_short", False) for runs in by_place for record in runs),
            )
        return final


def deciding(
    data: str, device: str, budget: dict[str, int], fixed: dict[str, Any]
) -> dict[str, Any]:
    """All that decides the numbers of a run: a finished cell counts for these alone."""
    return {
        "didact": __version__,
        "torch": torch.__version__,
        **{name: version(name) for name in ("numpy", "pandas", "scikit-learn")},
        "data": data,
        "device": device,
        "budget": budget,
        "fixed": fixed,
    }


def searches(candidate: str) -> int:
    """How many searches a candidate gets, each of as many trials.

    Hindsight is the best of several candidates, each searched by itself: the student without a
    teacher is searched as often, or the luckier search would pass for hindsight.
    """
    return len(ELIGIBLE) if candidate == BASELINE else 1


def _longest_first(item: tuple[str, Any]) -> bool:
    # LDT's runs are the longest: no process should wait for one at the end.
    return not item[0].startswith("ldt")


def _value(record: dict[str, Any]) -> float:
    """A validation loss; infinite where the run diverged."""
    return math.inf if record["validation"] is None else float(record["validation"])


def finite(trial: Trial) -> bool:
    """Whether a trial neither failed nor diverged."""
    return math.isfinite(trial.value)


def finalists(tried: Sequence[Trial]) -> list[Settings]:
    """The best few distinct settings, the best first; none where no trial is finite."""
    settings: list[Settings] = []
    for trial in sorted(filter(finite, tried), key=lambda t: t.value):
        if trial.settings not in settings:
            settings.append(trial.settings)
    return settings[:FINALISTS]


def steadiest(by_place: Sequence[Sequence[dict[str, Any]]]) -> int:
    """Which finalist has the lowest mean validation loss; one that diverged is the last choice."""
    means = [sum(map(_value, runs)) / len(runs) for runs in by_place]
    return means.index(min(means))
