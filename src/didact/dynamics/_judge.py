"""What final runs came to: candidates at equal calls, and the sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from ._train import Steps

LEVEL = 0.95
DRAWS = 2000
FEWEST = 10
"""Test trajectories of a verdict; with two runs or more of each."""
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Candidate:
    """A way to step, and its final runs.

    Attributes:
        steps: fixed or adaptive.
        settings: what was chosen.
        records: of each seed that did not diverge.
        folders: of the same.
        measured: arrays of :class:`Measured`, of the same, in that order.
        errors: of those that diverged.
    """

    steps: Steps
    settings: dict[str, Any]
    records: dict[int, dict[str, Any]]
    folders: dict[int, Path]
    measured: list[dict[str, NDArray[Any]]]
    errors: list[str]

    def end(self, part: str, calls: int) -> NDArray[np.float64]:
        """End errors with so many calls, ``[seeds, n]``."""
        return np.stack([one[f"{part}_end"][:, calls - 1] for one in self.measured])

    def share(self, part: str, calls: int) -> float:
        """Their mean, as a share of standing still's."""
        return float(self.end(part, calls).mean() / self.measured[0][f"{part}_still"].mean())


def judge(
    candidates: dict[str, Candidate], adaptive: str, *, demonstration: bool
) -> dict[str, Any]:
    """Adaptive steps against the fixed ones that validation likes best, at as many calls.

    The calls are those in which adaptive steps come through 99 of 100 training trajectories, and
    one more; the median of the runs, but no more than the longest trajectory has frames to come.
    """
    ours = candidates[adaptive]
    most = ours.measured[0]["test_end"].shape[1]
    calls = min(int(np.median([r["budget"] for r in ours.records.values()])), most)
    fixed = {name: of for name, of in candidates.items() if name != adaptive}
    rival = min(fixed, key=lambda name: fixed[name].share("validation", calls))
    still = ours.measured[0]["test_still"]
    low, high = interval(fixed[rival].end("test", calls), ours.end("test", calls), still)
    gain = fixed[rival].share("test", calls) - ours.share("test", calls)
    kind = "adaptive" if low > 0 else "fixed" if high < 0 else "undecided"
    if len(still) < FEWEST or min(len(ours.measured), len(fixed[rival].measured)) < 2:
        kind = "few"  # so few are more alike than those to come
    elif min(ours.share("test", calls), fixed[rival].share("test", calls)) >= 1:
        kind = "neither"
    told = {
        name: {
            "shortest": of.steps.shortest,
            "horizon": of.steps.horizon,
            "settings": of.settings,
            "validation": [record["value"] for record in of.records.values()],
            "curves": [record["curve"] for record in of.records.values()],
            "at_calls": of.share("test", calls),
            "own": {
                "calls": float(np.mean([one["test_own"].mean() for one in of.measured])),
                "end": _own(of),
            },
            "ends": [of.share("test", e) for e in range(1, most + 1)],
            "paths": _paths(of),
            "skips": _skips(of),
            "errors": of.errors,
        }
        for name, of in candidates.items()
    }
    best = min((adaptive, rival), key=lambda name: candidates[name].share("validation", calls))
    runs = candidates[best].records
    return {
        "calls": calls,
        "rival": rival,
        "candidates": told,
        "deployed": {"candidate": best, "seed": min(runs, key=lambda s: runs[s]["value"])},
        "verdict": {
            "kind": kind, "gain": gain, "low": low, "high": high, "level": LEVEL,
            "sentence": ("Demonstration. " if demonstration else "")
            + _sentence(kind, told, adaptive, rival, calls, (gain, low, high)),
        },
    }  # fmt: skip


def interval(
    rival: NDArray[np.float64], ours: NDArray[np.float64], still: NDArray[np.float64]
) -> tuple[float, float]:
    """Of ``mean(rival − ours) / mean(still)``; trajectories and runs drawn with replacement."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    found = np.empty(DRAWS)
    for draw in range(DRAWS):
        rows = rng.integers(len(still), size=len(still))
        theirs = rng.integers(len(rival), size=len(rival))
        mine = rng.integers(len(ours), size=len(ours))
        gain = rival[theirs][:, rows].mean() - ours[mine][:, rows].mean()
        found[draw] = gain / still[rows].mean()
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    # What is drawn from n varies by (n − 1) / n of what n were drawn from, and n are not many.
    n = len(still)
    wider = math.sqrt(n / (n - 1)) * float(student_t.ppf(1 - tail, n - 1) / norm.ppf(1 - tail))
    middle = float((rival.mean() - ours.mean()) / still.mean())
    return middle - wider * (middle - float(low)), middle + wider * (float(high) - middle)


def _own(of: Candidate) -> float:
    ends = [
        one["test_end"][np.arange(len(one["test_own"])), one["test_own"] - 1].mean()
        for one in of.measured
    ]
    return float(np.mean(ends) / of.measured[0]["test_still"].mean())


def _paths(of: Candidate) -> list[float | None]:
    found = np.mean([one["test_path"].mean(0) for one in of.measured], 0)
    shares = found / of.measured[0]["test_still"].mean()
    return [float(share) if np.isfinite(share) else None for share in shares]


def _skips(of: Candidate) -> list[int]:
    """How often each number of frames was skipped, from 1 on."""
    every = np.concatenate([one["test_skips"] for one in of.measured])
    counts: list[int] = np.bincount(every, minlength=of.steps.horizon + 1)[1:].tolist()
    return counts


def _sentence(
    kind: str, told: dict[str, Any], adaptive: str, rival: str, calls: int,
    found: tuple[float, float, float],
) -> str:  # fmt: skip
    ours, theirs = told[adaptive]["at_calls"], told[rival]["at_calls"]
    gain, low, high = found
    numbers = (
        f"with {calls} calls of the model the end error is {ours:.3f} of standing still's by "
        f"adaptive steps and {theirs:.3f} by the best fixed ones ({rival}); difference {gain:.3f} "
        f"({LEVEL:.0%} interval {low:.3f} … {high:.3f})."
    ).replace("-", "−")
    said = {
        "adaptive": "Adaptive steps come nearer to where trajectories end: ",
        "fixed": "Fixed steps come nearer to where trajectories end: ",
        "undecided": "Adaptive and fixed steps cannot be told apart: ",
        "neither": "Neither adaptive nor fixed steps are better than staying in the first frame: ",
        "few": f"No verdict, for which {FEWEST} test trajectories and two runs are needed: ",
    }[kind]
    return said + numbers
