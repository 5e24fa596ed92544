"""What the final runs are worth on the test rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np

from .._bootstrap import paired_bootstrap
from .._checks import DidactError
from ._calibration import calibration
from ._metrics import BASELINE, CEILING, TREES, CandidateRecord
from ._prepared import Prepared
from ._runs import Final
from ._scores import score_intervals, scores


def measure(
    prepared: Prepared,
    tried: dict[str, list[dict[str, Any]]],
    final: dict[str, Final],
) -> tuple[dict[str, CandidateRecord], dict[str, Any], np.ndarray[Any, Any] | None]:
    """Scores of all runs on the test rows, and the losses per row that the verdict needs."""
    test = prepared.split.test
    y, label = prepared.y[test].numpy(), prepared.level(prepared.label[test], test).numpy()
    groups = None if prepared.groups is None else prepared.groups[test].numpy()
    losses: dict[str, np.ndarray[Any, Any]] = {}
    predictions: dict[str, dict[str, Any]] = {}
    for name, (_, runs, _) in final.items():
        if all(record["validation"] is not None for record, _ in runs):
            predictions[name] = stored_predictions([folder for _, folder in runs])
            losses[name] = row_losses(predictions[name], y, label)
    if BASELINE not in losses:
        errors = [r["error"] for r, _ in final[BASELINE].runs if r["error"]]
        raise DidactError(f"The student could not be trained without a teacher: {errors[0]}")
    candidates: dict[str, CandidateRecord] = {}
    for name, (settings, runs, cut_short) in final.items():
        records = [record for record, _ in runs]
        there = name in losses
        target = y if prepared.values is None else label
        per_seed = scores(target, **predictions[name]) if there else {}
        intervals = (
            score_intervals(target, **predictions[name], groups=groups, seed=0) if there else {}
        )
        gain = None
        if there and name != BASELINE:
            gain = paired_bootstrap(losses[BASELINE] - losses[name], groups=groups, seed=0)
        candidates[name] = {
            "settings": settings,
            "validation": (float(np.mean([r["validation"] for r in records])) if there else None),
            "trials": tried[name],  # type: ignore[typeddict-item]
            "seeds": [
                {
                    "seed": seed,
                    "validation": r["validation"],
                    "test": {metric: finite_or_none(v[seed]) for metric, v in per_seed.items()},
                    "epochs": r.get("epochs", 0),
                    "curve": r.get("curve", {"train": [], "validation": []}),
                    "cut_short": r.get("cut_short", False),
                    "skipped_meta_steps": r.get("skipped_meta_steps", 0),
                }
                for seed, r in enumerate(records)
            ],
            "cut_short": cut_short,
            "test": {metric: interval.to_json() for metric, interval in intervals.items()},
            "gain": None if gain is None else gain.to_json(),
            "calibration": calibration(target, **predictions[name]) if there else None,
            "columns": _mean([r.get("columns", {}) for r in records]),
        }
    return candidates, losses, groups


def stored_predictions(folders: list[Path]) -> dict[str, Any]:
    """What each seed predicted for the test rows: name → ``[seeds, …]``."""
    found: list[dict[str, np.ndarray[Any, Any]]] = []
    for folder in folders:
        with np.load(folder / "test.npz") as stored:
            found.append(dict(stored))
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def _mean(found: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in found for name in one)
    return {n: float(np.mean([one[n] for one in found if n in one])) for n in names}


def row_losses(
    predictions: dict[str, Any], y: np.ndarray[Any, Any], label: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The loss of each row, ``[seeds, rows]``: by class ``y``, or of the number ``label``."""
    if "prediction" in predictions:
        return np.asarray((predictions["prediction"] - label) ** 2)
    chosen = np.take_along_axis(predictions["probability"], y[None, :, None], axis=2)[..., 0]
    return np.asarray(-np.log(np.maximum(chosen, 1e-12)))


def finite_or_none(value: Any) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def best_run(candidates: dict[str, CandidateRecord]) -> dict[str, Any]:
    """The student to deploy: the candidate that is best on validation rows, its best seed."""
    able = {
        name: record["validation"]
        for name, record in candidates.items()
        if name not in (CEILING, TREES) and record["validation"] is not None
    }
    name = min(able, key=lambda candidate: able[candidate])
    # Each seed draws its own validation rows: one seed's may be easier for all.
    ease = {
        run["seed"]: float(
            np.mean([candidates[other]["seeds"][place]["validation"] for other in able])
        )
        for place, run in enumerate(candidates[name]["seeds"])
    }
    run = min(
        candidates[name]["seeds"], key=lambda r: cast(float, r["validation"]) - ease[r["seed"]]
    )
    return {"candidate": name, "seed": run["seed"], "validation": run["validation"]}
