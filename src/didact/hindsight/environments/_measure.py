"""What the final runs are worth in the environment that they left out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..._bootstrap import Floats
from ..._checks import DidactError, listed
from .._measure import finite_or_none, row_losses, stored_predictions
from .._scores import resampled, scores
from ._compare import Gain, compare, summary
from ._metrics import (
    METHODS,
    PLAIN,
    ChoiceRecord,
    EnvironmentCandidateRecord,
    EnvironmentRecord,
    GainRecord,
)
from ._prepare import Table
from ._runs import Choice, Searched

RESAMPLES = 500
LEVEL = 1 - 0.05 / len(METHODS)
"""Of a gain's interval: those of all methods hold at once with 95 %."""

Final = dict[str, list[list[tuple[dict[str, Any], Path]]]]
"""Candidate → part that is left out → seed → record and folder."""


def measure(
    table: Table, found: dict[str, Searched], final: Final
) -> tuple[dict[str, EnvironmentCandidateRecord], dict[str, list[Floats]], dict[str, Gain]]:
    """Scores of all runs, losses ``[seeds, rows]`` by environment, and gains on plain training."""
    label = table.frame[table.roles.label]
    y = table.classes.encode(label).numpy() if table.classes else np.zeros(len(label), np.int64)
    amounts = table.amounts if table.amounts is not None else y.astype(np.float64)
    predictions = {
        name: _by_environment(table, runs)
        for name, runs in final.items()
        if all(record["error"] is None for of in runs for record, _ in of)
    }
    if PLAIN not in predictions:
        errors = [r["error"] for of in final.get(PLAIN, []) for r, _ in of if r["error"]]
        said = errors[0] if errors else "every trial diverged."
        raise DidactError(f"The network could not be trained plainly: {said}")
    rows = [np.flatnonzero(table.parts.site == e) for e in range(len(table.parts.names))]
    losses = {
        name: [row_losses(of[e], y[own], amounts[own]) for e, own in enumerate(rows)]
        for name, of in predictions.items()
    }
    truth = [(amounts if table.classes is None else y)[own] for own in rows]
    gains = compare(losses, to=PLAIN, level=LEVEL)
    candidates = {
        name: _record(table, searched, predictions.get(name), truth, gains.get(name))
        for name, searched in found.items()
    }
    return candidates, losses, gains


def of_a_constant(table: Table) -> list[float]:
    """The loss in each environment of the best constant for the others."""
    parts, label = table.parts, table.frame[table.roles.label]
    found = [math.nan] * len(parts.names)
    for part in range(parts.count):
        known = parts.rows(parts.others((part,)))
        for e in parts.members(part):
            own = np.flatnonzero(parts.site == e)
            if table.classes is None:
                assert table.amounts is not None
                found[e] = float(((table.amounts[own] - table.amounts[known].mean()) ** 2).mean())
            else:
                codes = table.classes.encode(label).numpy()
                share = np.bincount(codes[known], minlength=len(table.classes.names)) / len(known)
                found[e] = float(-np.log(np.maximum(share[codes[own]], 1e-12)).mean())
    return found


def worse_than_a_constant(table: Table, losses: dict[str, list[Floats]]) -> list[str]:
    """Environments in which no network is better than a constant, in a sentence."""
    networks = [losses[name] for name in (PLAIN, *METHODS) if name in losses]
    names = [
        name
        for e, (name, constant) in enumerate(
            zip(table.parts.names, of_a_constant(table), strict=True)
        )
        if min(float(of[e].mean()) for of in networks) >= constant
    ]
    if not names:
        return []
    return [f"No network is better than the others' mean label in {listed(names)}."]


def environments(table: Table) -> list[EnvironmentRecord]:
    """How many rows each has, and what its labels are."""
    found: list[EnvironmentRecord] = []
    for e, name in enumerate(table.parts.names):
        own = np.flatnonzero(table.parts.site == e)
        if table.classes is None:
            assert table.amounts is not None
            y = table.amounts[own]
            label = {"mean": float(y.mean()), "deviation": float(y.std())}
        else:
            codes = table.classes.encode(table.frame[table.roles.label].iloc[own]).numpy()
            label = {n: float((codes == k).mean()) for k, n in enumerate(table.classes.names)}
        found.append({"name": name, "rows": len(own), "label": label})
    return found


def _by_environment(
    table: Table, runs: list[list[tuple[dict[str, Any], Path]]]
) -> list[dict[str, Any]]:
    """Of each environment ``probability`` ``[seeds, rows, classes]`` or ``prediction``."""
    found: list[dict[str, Any]] = [{} for _ in table.parts.names]
    for part, of_seeds in enumerate(runs):
        stored = stored_predictions([folder for _, folder in of_seeds])
        site = table.parts.site[table.parts.rows([part])]
        name = "prediction" if table.classes is None else "probability"
        for e in table.parts.members(part):
            found[e] = {name: stored[name][:, site == e]}
    return found


def _record(
    table: Table,
    searched: Searched,
    predictions: list[dict[str, Any]] | None,
    truth: list[Any],
    gain: Gain | None,
) -> EnvironmentCandidateRecord:
    names = table.parts.names
    *choices, whole = [_choice(table, choice) for choice in searched.choices]
    record: EnvironmentCandidateRecord = {
        "choices": choices,
        "final": whole,
        "trials": searched.trials,
        "runs": {},
        "test": {},
        "mean": {},
        "worst": {},
        "gain": None if gain is None else _gain(gain, names),
    }
    if predictions is None:
        return record
    drawn = []
    for e, name in enumerate(names):
        per_seed = scores(truth[e], **predictions[e])
        drawn.append(resampled(truth[e], predictions[e], None, RESAMPLES, 0.95, seed=e))
        record["runs"][name] = [
            {"seed": seed, "test": {m: finite_or_none(v[seed]) for m, v in per_seed.items()}}
            for seed in range(len(next(iter(per_seed.values()))))
        ]
        record["test"][name] = {
            metric: summary({metric: [of]})[0][metric].to_json()
            for metric, of in drawn[-1].items()
            if math.isfinite(of.mean)
        }
    means, worst = summary({metric: [of[metric] for of in drawn] for metric in drawn[0]})
    record["mean"] = {metric: interval.to_json() for metric, interval in means.items()}
    record["worst"] = {
        metric: {"environment": names[e], **interval.to_json()}
        for metric, (e, interval) in worst.items()
    }
    return record


def _choice(table: Table, choice: Choice) -> ChoiceRecord:
    parts, loss = table.parts, choice.found.loss
    return {
        "left_out": [parts.names[e] for p in choice.left_out for e in parts.members(p)],
        "trial": choice.trial,
        "settings": choice.settings,
        "epochs": choice.found.epochs,
        "validation": loss if math.isfinite(loss) else None,
        "cut_short": choice.found.cut_short,
    }


def _gain(gain: Gain, names: tuple[str, ...]) -> GainRecord:
    each = {name: one.to_json() for name, one in zip(names, gain.environments, strict=True)}
    return {"environments": each, "mean": gain.mean.to_json(), "worst": gain.worst.to_json()}
