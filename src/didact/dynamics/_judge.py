"""What final runs came to: candidates at equal calls, and the sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._bootstrap import Interval, paired_bootstrap
from .._checks import Diverged
from ._example import shown
from ._train import Steps

LEVEL = 0.95
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

    def of(self, seeds: Sequence[int]) -> Candidate:
        """Those runs alone."""
        rows = [list(self.records).index(seed) for seed in seeds]
        return replace(
            self, records={seed: self.records[seed] for seed in seeds},
            measured=[self.measured[row] for row in rows],
        )  # fmt: skip

    def best(self, calls: int) -> int:
        """The seed that comes nearest in validation."""
        return list(self.records)[int(self.end("validation", calls).mean(1).argmin())]

    def example(self, calls: int) -> dict[str, NDArray[Any]]:
        """What that run makes of one trajectory: ``recorded``, ``made``, ``at``."""
        arrays = self.measured[list(self.records).index(self.best(calls))]
        return {name: arrays[f"example_{name}"] for name in ("recorded", "made", "at")}


def judge(
    candidates: dict[str, Candidate], adaptive: str, calls: int, *, ordered: bool,
    demonstration: bool,
) -> dict[str, Any]:  # fmt: skip
    """Adaptive steps against the fixed ones that validation likes best, at as many calls.

    Of runs that diverged for one of the two the other's is left out, too.

    Args:
        candidates: with one fixed step at least.
        adaptive: whose name is no fixed step's.
        calls: at which to compare.
        ordered: whether trajectories are pieces of one recording: neighbours are drawn together.
        demonstration: say so.
    """
    ours = candidates[adaptive]
    most = ours.measured[0]["test_end"].shape[1]
    fixed = {name: of for name, of in candidates.items() if name != adaptive}
    rival = min(fixed, key=lambda name: fixed[name].share("validation", calls))
    theirs = fixed[rival]
    still = ours.measured[0]["test_still"]
    both = [seed for seed in ours.records if seed in theirs.records]
    if not both:
        ran = {name: sorted(candidates[name].records) for name in (adaptive, rival)}
        raise Diverged(
            "Found no seed of which both ended: of the adaptive steps seeds "
            f"{ran[adaptive]}, of {rival} {ran[rival]}; the others diverged. Ask for more `seeds`."
        )
    ends = {name: candidates[name].of(both).end("test", calls) for name in (adaptive, rival)}
    gain = interval(ends[rival], ends[adaptive], still, ordered=ordered)
    kind = "adaptive" if gain.low > 0 else "fixed" if gain.high < 0 else "undecided"
    errors = {name: float(end.mean() / still.mean()) for name, end in ends.items()}
    if len(still) < FEWEST or len(both) < 2:
        kind = "few"  # so few are more alike than those to come
    elif min(errors.values()) >= 1:
        kind = "neither"
    told: dict[str, dict[str, Any]] = {
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
    level = max(errors.values())
    needed = {
        name: next(
            e for e in range(1, most + 1) if candidates[name].of(both).share("test", e) <= level
        )
        for name in errors
    }
    best = min(errors, key=lambda name: candidates[name].share("validation", calls))
    return {
        "calls": calls,
        "rival": rival,
        "candidates": told,
        "deployed": {"candidate": best, "seed": candidates[best].best(calls)},
        "example": shown({name: candidates[name].example(calls) for name in errors}),
        "verdict": {
            "kind": kind, "gain": gain.mean, "low": gain.low, "high": gain.high, "level": LEVEL,
            "needed": needed,
            "sentence": ("Demonstration. " if demonstration else "")
            + _sentence(kind, errors, calls, gain, needed),
        },
    }  # fmt: skip


def interval(
    rival: NDArray[np.float64], ours: NDArray[np.float64], still: NDArray[np.float64], *,
    ordered: bool = False,
) -> Interval:  # fmt: skip
    """Of ``R = mean(rival − ours) / mean(still)``, over trajectories and runs.

    The bootstrap is of ``rival − ours − R (still − mean(still))``: the ratio, linearised, since
    other trajectories would have another denominator, too.

    Args:
        rival, ours: end errors of the same seeds, ``[seeds, n]``.
        still: ``[n]``.
        ordered: draw 2 n^⅓ neighbours together.
    """
    n = len(still)
    groups = np.arange(n) // math.ceil(2 * n ** (1 / 3)) if ordered else None
    difference = (rival - ours) / still.mean()
    difference = difference - difference.mean() * (still / still.mean() - 1)
    return paired_bootstrap(difference, groups=groups, level=LEVEL, seed=BOOTSTRAP_SEED)


def still_improving(curve: Sequence[float | None]) -> bool:
    """Whether the best epoch is one of the last twentieth.

    Example:
        >>> still_improving([3.0, 2.0, None, 1.0]), still_improving([3.0, 1.0, 2.0])
        (True, False)
    """
    known = [math.inf if value is None else value for value in curve]
    return known.index(min(known)) >= len(known) - max(1, len(known) // 20)


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
    kind: str, errors: dict[str, float], calls: int, gain: Interval, needed: dict[str, int]
) -> str:
    (adaptive, ours), (rival, theirs) = errors.items()
    numbers = (
        f"with {calls} calls of the model the end error is {ours:.3f} of standing still's by "
        f"adaptive steps and {theirs:.3f} by the fixed ones that validation "
        f"likes best ({rival}); difference "
        f"{gain.mean:z.3f} ({LEVEL:.0%} interval {gain.low:z.3f} … {gain.high:z.3f}). To come to "
        f"{max(ours, theirs):.3f} adaptive steps take {needed[adaptive]} calls, fixed ones "
        f"{needed[rival]}."
    ).replace("-", "−")
    said = {
        "adaptive": "Adaptive steps come nearer to where trajectories end: ",
        "fixed": "Fixed steps come nearer to where trajectories end: ",
        "undecided": "Adaptive and fixed steps cannot be told apart: ",
        "neither": "Neither adaptive nor fixed steps are better than staying in the first frame: ",
        "few": f"No verdict, for which {FEWEST} test trajectories and two runs are needed: ",
    }[kind]
    return said + numbers
