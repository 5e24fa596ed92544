"""Does hindsight help? One verdict, from losses per row.

numpy only: nothing here knows a network, a table or a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._bootstrap import Interval, matrix, paired_bootstrap
from .._checks import DidactError, check_number, invalid, listed
from ._metrics import BASELINE, CEILING, PATIENCE, TREES, Outcome, VerdictRecord
from ._sentence import sentence
from ._wording import percent

ELIGIBLE = ("auxiliary", "generalised_distillation", "tram", "ldt")
"""The candidates one of which stands for hindsight."""

CONTROL = "fixed_teacher"
"""A random teacher: it regularises, and has learnt nothing of what is privileged."""

FEWEST_ROWS = 30
FEWEST_GROUPS = 5


@dataclass(frozen=True)
class Verdict:
    """The answer of :func:`judge`. Losses and gains are per row, in ``unit``."""

    outcome: Outcome
    method: str
    """The hindsight candidate with the best validation loss."""
    unit: str
    gain: Interval
    """loss(no_teacher) − loss(method): positive is good."""
    relative_gain: float | None
    """``gain.mean`` / mean loss of no_teacher; ``None`` if that loss is zero."""
    ceiling: Interval | None
    """loss(no_teacher) − loss(oracle); ``None`` without an oracle."""
    share: float | None
    """``gain.mean / ceiling.mean``; ``None`` unless the ceiling's interval lies above zero, and
    where a candidate without the privileged inputs has less loss than the oracle."""
    trees: Interval | None
    """loss(method) − loss(trees): positive if boosted trees on the inputs do better."""
    cut_short: tuple[str, ...]
    """Candidates whose training was ended before it had its time: there is no verdict then, but
    in a demonstration."""
    smallest_gain: float
    """The smallest gain of interest, as a fraction of the mean loss of no_teacher."""
    level: float
    rows: int
    groups: int | None
    demonstration: bool
    sentence: str

    def to_json(self) -> VerdictRecord:
        """Plain numbers, strings and ``None``, in the order of the fields."""
        intervals = {"gain": self.gain, "ceiling": self.ceiling, "trees": self.trees}
        record: Any = {
            **asdict(self),
            **{name: None if i is None else i.to_json() for name, i in intervals.items()},
            "cut_short": list(self.cut_short),
        }
        return record  # type: ignore[no-any-return]


def judge(
    losses: Mapping[str, ArrayLike],
    validation: Mapping[str, float | None],
    *,
    groups: ArrayLike | None = None,
    demonstration: bool = False,
    cut_short: Sequence[str] = (),
    persistence: float | None = None,
    seed: int = 0,
    unit: str = "log loss",
    smallest_gain: float = 0.05,
    resamples: int = 2000,
    level: float = 0.95,
) -> Verdict:
    """Say whether hindsight helps, by how much, and against what ceiling.

    One method stands for hindsight: the one of ``ELIGIBLE`` with the smallest *validation* loss;
    the test losses have no part in the choice. Its gain is loss(no_teacher) − loss(method) on
    test rows, with the interval of :func:`paired_bootstrap`:

    - a candidate but the oracle was cut short, and this is no demonstration: *cut short*, for its
      loss might yet have fallen;
    - fewer than 30 test rows, or 5 test groups: *too little data to tell*;
    - the interval lies above 0: *helps*;
    - its upper end is at or below 0, or below ``smallest_gain`` times the mean loss of
      no_teacher: *does not help*;
    - else: *too little data to tell*.

    ``fixed_teacher`` is the control and is never chosen: where a gain is no larger than the
    control's, the sentence says that it may be regularisation rather than hindsight.

    Percentages in the sentence are relative to the mean test loss of no_teacher, taken as known.

    Args:
        losses: candidate → ``[seeds, rows]`` losses ≥ 0 on the same test rows. ``no_teacher``
            and a hindsight method are needed; without ``oracle`` there is no ceiling, without
            ``fixed_teacher`` no control, without ``trees`` no word about them.
        validation: candidate → validation loss; ``None`` or non-finite: not eligible.
        groups: ``[rows]``, the group of each test row, if rows of a group are alike.
        cut_short: candidates whose training ended before their validation loss had stopped falling.
        demonstration: settings and epochs were fixed, not searched; the sentence then says so, and
            names those cut short instead of refusing a verdict.
        persistence: mean test loss of predicting that a series stays as it is.
        seed: of the resampling.
        unit: the name of the loss, for the sentence.
        smallest_gain: smallest gain of interest, as a fraction of the loss of no_teacher.
        resamples, level: of the intervals.

    Returns:
        The verdict; ``sentence`` is written for people.

    Raises:
        InvalidInput: no_teacher is missing, shapes differ, or a loss is negative or not finite.
        DidactError: no method of ``ELIGIBLE`` has losses and a finite validation loss.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> alone = rng.uniform(0.8, 1.2, size=(3, 100))
        >>> losses = {"no_teacher": alone, "ldt": 0.9 * alone, "oracle": 0.5 * alone}
        >>> verdict = judge(losses, {"no_teacher": 1.0, "ldt": 0.9, "oracle": 0.5})
        >>> verdict.outcome, round(verdict.share, 2)
        ('helps', 0.2)
    """
    check_number("smallest_gain", smallest_gain, at_least=0)
    method = _best_method(losses, validation)
    if BASELINE not in losses:
        raise invalid("losses", f"a mapping that has {BASELINE!r}", sorted(losses))
    compared = (BASELINE, method, CONTROL, TREES, CEILING)
    known = {n: matrix(n, losses[n]) for n in compared if n in losses}
    alone = known[BASELINE]
    for name, loss in known.items():
        if loss.shape != alone.shape or loss.min() < 0:
            rule = f"losses of at least 0 of shape {list(alone.shape)}, as of {BASELINE}"
            raise invalid(name, rule, (loss.shape, loss.min()))
    options: dict[str, Any] = {
        "groups": groups,
        "resamples": resamples,
        "level": level,
        "seed": seed,
    }
    gain = paired_bootstrap(alone - known[method], **options)
    ceiling = paired_bootstrap(alone - known[CEILING], **options) if CEILING in known else None
    trees = paired_bootstrap(known[method] - known[TREES], **options) if TREES in known else None
    rows = alone.shape[1]
    n_groups = None if groups is None else len(np.unique(np.asarray(groups)))
    base = float(alone.mean())
    short = _too_few(rows, n_groups)
    outcome: Outcome = "too little data to tell"
    voided = tuple(name for name in cut_short if name != CEILING)
    refused = bool(voided) and not demonstration
    if refused:
        outcome = "cut short"
    elif short is None and gain.low > 0:
        outcome = "helps"
    elif short is None and (gain.high <= 0 or gain.high < smallest_gain * base):
        outcome = "does not help"
    means = {name: float(np.mean(np.asarray(losses[name]))) for name in losses}
    beaten = CEILING in means and min(means.values()) < means[CEILING]
    clear = ceiling is not None and ceiling.low > 0 and not beaten
    share = gain.mean / ceiling.mean if ceiling is not None and clear else None
    control = float((alone - known[CONTROL]).mean()) if CONTROL in known else -math.inf
    if refused:
        said = (
            f"No verdict: {listed(voided)} had not gone {PATIENCE} epochs without a gain on "
            "validation rows when the budget of epochs ended, so the comparison would not be fair. "
            "Give a larger `--epochs`."
        )
    elif short is not None:
        said = f"Too little data to tell whether hindsight helps: {short}."
    else:
        said = sentence(
            outcome,
            method,
            _relative(gain, base),
            _relative(ceiling, base),
            share,
            runs=len(alone),
            control_as_good=control >= gain.mean,
            trees=_relative(trees, base),
            unit=unit,
            level=level,
            smallest_gain=smallest_gain,
            beaten=beaten,
        )
        if persistence is not None and persistence < means[method]:
            better = percent((means[method] - persistence) / base)
            said += (
                " To predict that nothing changes does better than this student, by "
                f"{better} of the loss without a teacher."
            )
        if voided:
            said += f" Not yet {PATIENCE} epochs without a gain when they ended: {listed(voided)}."
    return Verdict(
        outcome=outcome,
        method=method,
        unit=unit,
        gain=gain,
        relative_gain=gain.mean / base if base > 0 else None,
        ceiling=ceiling,
        share=share,
        trees=trees,
        cut_short=voided,
        smallest_gain=smallest_gain,
        level=level,
        rows=rows,
        groups=n_groups,
        demonstration=demonstration,
        sentence=f"Demonstration (fixed settings, no search): {said}" if demonstration else said,
    )


def _best_method(losses: Mapping[str, Any], validation: Mapping[str, float | None]) -> str:
    eligible: dict[str, float] = {}
    for name in ELIGIBLE:
        value = validation.get(name)
        if name in losses and value is not None and math.isfinite(value):
            eligible[name] = value
    if not eligible:
        raise DidactError(
            f"None of the candidates that use hindsight ({', '.join(ELIGIBLE)}) could be trained: "
            "each diverged or failed in at least one training run."
        )
    return min(eligible, key=eligible.__getitem__)


def _too_few(rows: int, groups: int | None) -> str | None:
    if rows < FEWEST_ROWS:
        return f"there are {rows} test rows, and at least {FEWEST_ROWS} are needed"
    if groups is not None and groups < FEWEST_GROUPS:
        return f"the test rows come from {groups} groups, and at least {FEWEST_GROUPS} are needed"
    return None


def _relative(gain: Interval | None, base: float) -> Interval | None:
    if gain is None or base == 0:
        return None
    return Interval(gain.mean / base, gain.low / base, gain.high / base)
