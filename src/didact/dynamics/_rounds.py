"""Search, then final runs of some candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import DidactError, listed
from ..runs import Stored
from ._judge import Candidate, still_improving
from ._train import Steps, tried

FIRST_TRIAL_SEED = 1000


def _config(
    name: str,
    steps: Steps,
    settings: dict[str, Any],
    seed: int,
    shared: dict[str, Any],
    final: bool,
) -> dict[str, Any]:
    return {
        **shared, "candidate": name, "shortest": steps.shortest, "horizon": steps.horizon,
        "settings": settings, "seed": seed, "final": final,
    }  # fmt: skip


def trained_runs(
    stored: Stored, candidates: dict[str, Steps], trials: int, seeds: int,
    shared: dict[str, Any], out_of: list[str],
) -> dict[str, Candidate]:  # fmt: skip
    """Search, then final runs. What diverges in all of them is left out, and said.

    Raises:
        DidactError: nothing is left.
    """
    chosen = _search(stored, candidates, trials, shared, out_of)
    found = _final(stored, candidates, chosen, seeds, shared, out_of)
    if not found:
        raise DidactError(f"Nothing could be trained. {' '.join(out_of)}")
    return found


def _search(
    stored: Stored, candidates: dict[str, Steps], trials: int, shared: dict[str, Any],
    out_of: list[str],
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """The settings of each candidate with the least validation error."""
    every = {name: tried(steps, trials) for name, steps in candidates.items()}
    if trials == 1:
        return {name: settings[0] for name, settings in every.items()}
    configs = {
        (name, k): _config(name, candidates[name], one, FIRST_TRIAL_SEED + k, shared, False)
        for name, settings in every.items()
        for k, one in enumerate(settings)
    }
    records = dict(zip(configs, stored.run(list(configs.values())), strict=True))
    chosen = {}
    for name, settings in every.items():
        values = [records[name, k]["value"] for k in range(trials)]
        done = [k for k in range(trials) if values[k] is not None]
        if done:
            chosen[name] = settings[min(done, key=lambda k: values[k])]
        else:
            error = records[name, 0]["error"]
            out_of.append(f"Left out: every trial of `{name}` diverged. {error}")
    return chosen


def _final(
    stored: Stored, candidates: dict[str, Steps], chosen: dict[str, dict[str, Any]], seeds: int,
    shared: dict[str, Any], out_of: list[str],
) -> dict[str, Candidate]:  # fmt: skip
    configs = {
        (name, seed): _config(name, candidates[name], settings, seed, shared, True)
        for name, settings in chosen.items()
        for seed in range(seeds)
    }
    records = dict(zip(configs, stored.run(list(configs.values())), strict=True))
    found = {}
    for name, settings in chosen.items():
        mine = [records[name, seed] for seed in range(seeds)]
        done = [seed for seed in range(seeds) if mine[seed]["error"] is None]
        if not done:
            out_of.append(f"Left out: every run of `{name}` diverged. {mine[0]['error']}")
            continue
        folders = {seed: stored.folder(configs[name, seed]) for seed in done}
        measured = []
        for folder in folders.values():
            with np.load(folder / "measured.npz", allow_pickle=False) as arrays:
                measured.append({field: arrays[field] for field in arrays.files})
        found[name] = Candidate(
            candidates[name], settings, {seed: mine[seed] for seed in done}, folders, measured,
            [record["error"] for record in mine if record["error"]],
        )  # fmt: skip
    return found


def unfinished(final: dict[str, Candidate]) -> list[str]:
    """Candidates that validation liked best at the very end, in most of their runs."""
    late = [
        name
        for name, of in final.items()
        if 2 * sum(still_improving(r["curve"]) for r in of.records.values()) > len(of.records)
    ]
    if not late:
        return []
    return [f"Still improving when their epochs ended: {listed(late)}. More `--epochs` may help."]
