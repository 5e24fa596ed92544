"""Does it help to ask what environments share? Two answers, and the sentences for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..._bootstrap import Floats, Interval
from ..._checks import DidactError, listed
from .._metrics import PATIENCE
from .._sentence import change, sample_of, span
from .._wording import percent, title
from ._compare import Gain
from ._metrics import METHODS, RIVALS, Answer, ComparisonRecord, EnvironmentVerdictRecord

SMALLEST_GAIN = 0.05
_WHERE = {"worst": "on the worst environment", "mean": "in the mean of the environments"}
_ASK = "to ask what environments share"


class _Comparison(NamedTuple):
    outcome: Answer
    method: str
    gain: Interval
    base: float
    worse: list[str]


def judge(
    plain: Sequence[Floats],
    gains: Mapping[str, Gain],
    *,
    level: float,
    unit: str,
    cut_short: Sequence[str],
    demonstration: bool,
) -> EnvironmentVerdictRecord:
    """Say whether a method does better than plain training where it was not trained.

    Asked twice, of the worst environment and of the mean of all. With each gain's interval at a
    ``level`` at which those of all methods hold at once:

    - the interval of a method lies above 0: *helps*;
    - all end below 5 % of the loss of plain training: *does not help*;
    - else: *too little data to tell*.

    Validation losses have no part in it. It is *cut short* where a run by which a network's
    settings were chosen was, but in a demonstration.

    Args:
        plain: losses ``[seeds, rows]`` of plain training in each environment.
        gains: candidate → gain on it.
        level: of the gains' intervals.
        unit: the name of the loss.
        cut_short: candidates whose chosen runs the budget of epochs ended.
        demonstration: settings were fixed, not searched.

    Raises:
        DidactError: no method has a finite result.
    """
    methods = [name for name in METHODS if name in gains]
    if not methods:
        raise DidactError(
            f"None of {', '.join(METHODS)} could be trained: each diverged in at least one run."
        )
    losses = [float(loss.mean()) for loss in plain]
    bases = {"worst": max(losses), "mean": sum(losses) / len(losses)}
    refused = bool(cut_short) and not demonstration
    found = {
        which: _compared({n: getattr(gains[n], which) for n in methods}, base, refused)
        for which, base in bases.items()
    }
    if refused:
        said = (
            f"No verdict: {listed(cut_short)} had not gone {PATIENCE} epochs without a gain on an "
            "environment that was held out when the budget of epochs ended, so the comparison "
            "would not be fair. Give a larger `--epochs`."
        )
    else:
        runs = len(plain[0])
        parts = [
            _told(which, comparison, level, unit, len(methods), runs, first=which == "worst")
            for which, comparison in found.items()
        ]
        rivals = {n: gains[n].worst for n in RIVALS if n in gains}
        said = " ".join([*parts, *_rivals(rivals, bases["worst"])])
        if cut_short:
            said += (
                f" Not yet {PATIENCE} epochs without a gain when they ended: {listed(cut_short)}."
            )
    return {
        "worst": _record(found["worst"]),
        "mean": _record(found["mean"]),
        "unit": unit,
        "cut_short": list(cut_short),
        "smallest_gain": SMALLEST_GAIN,
        "level": level,
        "demonstration": demonstration,
        "sentence": f"Demonstration (fixed settings, no search): {said}" if demonstration else said,
    }


def _compared(gains: dict[str, Interval], base: float, refused: bool) -> _Comparison:
    better = {name: gain for name, gain in gains.items() if gain.low > 0}
    outcome: Answer = "too little data to tell"
    if refused:
        outcome = "cut short"
    elif better:
        outcome = "helps"
    elif all(gain.high <= 0 or gain.high < SMALLEST_GAIN * base for gain in gains.values()):
        outcome = "does not help"
    among = better or gains
    best = max(among, key=lambda name: among[name].mean)
    worse = [name for name, gain in gains.items() if gain.high < 0 and name != best]
    return _Comparison(outcome, best, gains[best], base, worse)


def _told(
    which: str,
    found: _Comparison,
    level: float,
    unit: str,
    methods: int,
    runs: int,
    *,
    first: bool,
) -> str:
    where, what = _WHERE[which], f" {_ASK}" if first else ""
    if found.outcome == "helps":
        opening = f"{where}, it helps{what}"
    elif found.outcome == "does not help":
        opening = f"{where}, it does not help{what}"
    else:
        opening = f"too little data to tell whether it helps{what} {where}"
    opening = opening[0].upper() + opening[1:]
    if not found.base > 0:
        return f"{opening}: plain training has no {unit}."
    relative = Interval(
        *(v / found.base for v in (found.gain.mean, found.gain.low, found.gain.high))
    )
    best = (
        "" if found.outcome == "helps" or methods == 1 else f" does best of {methods} methods, and"
    )
    how = f"; {percent(level)} interval over {sample_of(runs)}, so that all {methods} hold at once"
    said = (
        f"{opening}: {title(found.method)}{best} has {change(relative.mean)} {unit} than plain "
        f"training ({span(relative)}{how if first else ''})."
    )
    if found.worse:
        verb = "do" if len(found.worse) > 1 else "does"
        said += f" {_joined(found.worse)} {verb} worse than plain training there."
    return said


def _rivals(gains: dict[str, Interval], base: float) -> list[str]:
    """How candidates without a network do in their worst environment."""
    said = []
    for name, gain in gains.items():
        who = "boosted trees do" if name == "trees" else "a linear model does"
        if gain.low <= 0 <= gain.high or not base > 0:
            said.append(f"whether {who} better or worse is not clear")
        else:
            than = "better" if gain.low > 0 else "worse"
            said.append(f"{who} {than}, by {percent(gain.mean / base)} of its loss")
    if not said:
        return []
    return [f"Beside plain training on the worst environment, {'; '.join(said)}."]


def _joined(names: Sequence[str]) -> str:
    return " and ".join(title(name) for name in names)


def _record(found: _Comparison) -> ComparisonRecord:
    return {
        "outcome": found.outcome,
        "method": found.method,
        "gain": found.gain.to_json(),
        "relative_gain": found.gain.mean / found.base if found.base > 0 else None,
    }
