"""Does hindsight help? Scores, intervals and one sentence, from losses per row.

numpy only: nothing here knows a network, a table or a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didact._checks import check_integer, check_number, invalid
from didact.hindsight._metrics import (
    BASELINE,
    CEILING,
    METHODS,
    IntervalRecord,
    Outcome,
    VerdictRecord,
)

Floats = NDArray[np.float64]

SMALLEST_PROBABILITY = 1e-12
FEWEST_ROWS = 30
FEWEST_GROUPS = 5

_STUDENTS = {
    "auxiliary": "the student with an auxiliary head that predicts the privileged columns",
    "fixed_teacher": "the student taught by fixed_teacher, a random untrained network,",
    "ldt": "the student taught by ldt",
}


@dataclass(frozen=True)
class Interval:
    """A mean over rows and seeds, and the ends of its interval."""

    mean: float
    low: float
    high: float

    def to_json(self) -> IntervalRecord:
        """The three numbers; one that is not finite becomes ``None``."""
        return {
            "mean": self.mean if math.isfinite(self.mean) else None,
            "low": self.low if math.isfinite(self.low) else None,
            "high": self.high if math.isfinite(self.high) else None,
        }


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
    """``gain.mean / ceiling.mean``; ``None`` unless the ceiling's interval lies above zero."""
    smallest_gain: float
    """The smallest gain of interest, as a fraction of the mean loss of no_teacher."""
    level: float
    rows: int
    groups: int | None
    demonstration: bool
    sentence: str

    def to_json(self) -> VerdictRecord:
        """Plain numbers, strings and ``None``, in the order of the fields."""
        ceiling = None if self.ceiling is None else self.ceiling.to_json()
        record: Any = {**asdict(self), "gain": self.gain.to_json(), "ceiling": ceiling}
        return record  # type: ignore[no-any-return]


def paired_bootstrap(
    difference: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int,
) -> Interval:
    r"""Percentile interval of a mean, when both the rows and the training seeds are a sample.

    Each resample draws rows (or whole groups: the cluster bootstrap) and seeds with
    replacement, independently, and takes ``m* = Σ_s u_s Σ_r c_r d_sr / Σ_r c_r``, with ``c_r``
    the count of row r and ``u_s`` the share of seed s. The difference is paired: row r and seed
    s are the same in both losses, so what makes a row hard for both does not widen the interval.
    Memory is O(seeds · rows): one resample at a time, as counts.

    Resampling both ways is slightly cautious about row noise (Owen 2007) but can know no more
    about seeds than there are: if seeds differ much more than rows, the interval is at most as
    wide as the range of the seeds, which holds the truth in 1 − 2^(1−S) of cases for S seeds:
    75 % for three, 94 % for five. With one seed the interval is about rows alone.

    References:
        A. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007), 386-411.

    Args:
        difference: ``[seeds, rows]``, finite; for example loss(baseline) − loss(candidate).
        groups: ``[rows]``, a label per row; rows of one group are drawn together.
        resamples: number of resamples.
        level: coverage aimed at, in (0, 1).
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        The mean over seeds and rows, and the interval, in the units of ``difference``.

    Raises:
        InvalidInput: a shape, a number or a non-finite difference breaks these rules.

    Example:
        >>> difference = np.random.default_rng(0).normal(0.5, 1.0, size=(3, 400))
        >>> interval = paired_bootstrap(difference, seed=0)
        >>> interval.low < 0.5 < interval.high
        True
    """
    values = _matrix("difference", difference)
    index = _group_index(groups, values.shape[1])
    sizes = np.bincount(index).astype(np.float64)
    sums = np.stack([np.bincount(index, row) for row in values])
    means = [
        weights @ (sums @ counts) / (sizes @ counts)
        for weights, counts in _draws(len(values), len(sizes), resamples, seed)
    ]
    return _percentiles(float(values.mean()), np.array(means), level)


def scores(
    label: ArrayLike,
    *,
    probability: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    nll: ArrayLike | None = None,
    counts: ArrayLike | None = None,
) -> dict[str, Floats]:
    """Metrics per seed, from the predictions of a classifier or of a regressor.

    - Classes (``probability``): ``log_loss`` = mean −log p(label), in nats, with p at least
      1e-12; ``accuracy``; and for two classes ``auc``, the chance that a random row of class 1
      has a higher p(class 1) than a random row of class 0, ties counting one half.
    - Numbers (``prediction``): ``log_loss`` = mean of ``nll`` if given (the loss of the binned
      label); ``rmse`` and ``mae`` in the label's units; ``r2`` = 1 − squared error / variance.

    A metric without a definition (``auc`` of one class, ``r2`` of equal labels) is NaN.

    Args:
        label: ``[rows]``: class numbers from 0, or numbers.
        probability: ``[seeds, rows, classes]``. Give this or ``prediction``.
        prediction: ``[seeds, rows]``.
        nll: ``[seeds, rows]``, −log probability of the label's bin; with ``prediction`` only.
        counts: ``[rows]``, how often each row counts (default: once); for resampling.

    Returns:
        Metric name → ``[seeds]``.

    Raises:
        InvalidInput: shapes do not agree, or not exactly one kind of prediction is given.

    Example:
        >>> scores([0, 1, 1], probability=[[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]])["auc"]
        array([1.])
        >>> scores([1.0, 3.0], prediction=[[2.0, 3.0]])["mae"]
        array([0.5])
    """
    if (probability is None) == (prediction is None) or (nll is not None and prediction is None):
        raise invalid("probability", "given, or `prediction` (with or without `nll`)", probability)
    y = np.asarray(label, np.float64)
    if y.ndim != 1 or not len(y) or not np.isfinite(y).all():
        raise invalid("label", "finite numbers of shape [rows], at least one", label)
    weight = np.ones(len(y)) if counts is None else np.asarray(counts, np.float64)
    if weight.shape != y.shape or not weight.sum() > 0:
        raise invalid("counts", f"of shape [{len(y)}] with a positive sum", weight.shape)
    total = weight.sum()
    if prediction is not None:
        error = _matrix("prediction", prediction, len(y)) - y
        mse, spread = error**2 @ weight / total, (y - y @ weight / total) ** 2 @ weight / total
        r2 = 1 - mse / spread if spread > 0 else np.full(len(mse), np.nan)
        found = {"rmse": np.sqrt(mse), "mae": np.abs(error) @ weight / total, "r2": r2}
        if nll is not None:
            found = {"log_loss": _matrix("nll", nll, len(y)) @ weight / total, **found}
        return found
    p = np.asarray(probability, np.float64)
    if p.ndim != 3 or p.shape[1] != len(y) or not np.isfinite(p).all():
        raise invalid("probability", f"finite, of shape [seeds, {len(y)}, classes]", probability)
    if not np.isin(y, np.arange(p.shape[2])).all():
        raise invalid("label", f"class numbers from 0 to {p.shape[2] - 1}", label)
    of_label = np.take_along_axis(p, y.astype(np.int64)[None, :, None], axis=2)[..., 0]
    found = {
        "log_loss": -np.log(np.maximum(of_label, SMALLEST_PROBABILITY)) @ weight / total,
        "accuracy": (p.argmax(axis=2) == y) @ weight / total,
    }
    if p.shape[2] == 2:
        found["auc"] = np.array([_auc(row, y == 1, weight) for row in p[..., 1]])
    return found


def score_intervals(
    label: ArrayLike,
    *,
    probability: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    nll: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    resamples: int = 500,
    level: float = 0.95,
    seed: int,
) -> dict[str, Interval]:
    """:func:`scores` averaged over seeds, each with the interval of :func:`paired_bootstrap`.

    A metric that is no mean over rows (``rmse``, ``r2``, ``auc``) is computed anew on every
    resample; resamples in which it has no definition are left out.

    Args:
        label, probability, prediction, nll: as in :func:`scores`.
        groups, resamples, level, seed: as in :func:`paired_bootstrap`.

    Returns:
        Metric name → interval, in the units of the metric; NaN where there is no definition.

    Raises:
        InvalidInput: as in these two functions.

    Example:
        >>> y = np.arange(50.0)
        >>> score_intervals(y, prediction=[y + 2.0], seed=0)["rmse"]
        Interval(mean=2.0, low=2.0, high=2.0)
    """
    given: dict[str, Any] = {"probability": probability, "prediction": prediction, "nll": nll}
    whole = scores(label, **given)
    n_seeds = len(next(iter(whole.values())))
    index = _group_index(groups, len(np.asarray(label)))
    drawn: dict[str, list[float]] = {name: [] for name in whole}
    for weights, counts in _draws(n_seeds, int(index.max()) + 1, resamples, seed):
        for name, values in scores(label, **given, counts=counts[index]).items():
            drawn[name].append(float(weights @ values))
    return {
        name: _percentiles(float(whole[name].mean()), np.array(values), level)
        for name, values in drawn.items()
    }


def judge(
    losses: Mapping[str, ArrayLike],
    validation: Mapping[str, float | None],
    *,
    groups: ArrayLike | None = None,
    demonstration: bool = False,
    seed: int = 0,
    unit: str = "log loss",
    smallest_gain: float = 0.05,
    resamples: int = 2000,
    level: float = 0.95,
) -> Verdict:
    """Say whether hindsight helps, by how much, and against what ceiling.

    One method stands for hindsight: the one of ``auxiliary``, ``fixed_teacher`` and ``ldt``
    with the smallest *validation* loss; the test losses have no part in the choice. Its gain is
    loss(no_teacher) − loss(method) on test rows, with the interval of :func:`paired_bootstrap`:

    - fewer than 30 test rows, or 5 test groups: *too little data to tell*;
    - the interval lies above 0: *helps*;
    - its upper end is at or below 0, or below ``smallest_gain`` times the mean loss of
      no_teacher: *does not help*;
    - else: *too little data to tell*.

    Percentages in the sentence are relative to the mean test loss of no_teacher, taken as known.

    Args:
        losses: candidate → ``[seeds, rows]`` losses ≥ 0 on the same test rows. ``no_teacher``
            and a hindsight method are needed; without ``oracle`` there is no ceiling.
        validation: candidate → validation loss; ``None`` or non-finite: not eligible.
        groups: ``[rows]``, the group of each test row, if rows of a group are alike.
        demonstration: the settings were fixed, not searched; the sentence then says so.
        seed: of the resampling.
        unit: the name of the loss, for the sentence.
        smallest_gain: smallest gain of interest, as a fraction of the loss of no_teacher.
        resamples, level: of the intervals.

    Returns:
        The verdict; ``sentence`` is written for people.

    Raises:
        InvalidInput: a candidate is missing, shapes differ, or a loss is negative or not finite.

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
    known = {n: _matrix(n, losses[n]) for n in (BASELINE, method, CEILING) if n in losses}
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
    rows = alone.shape[1]
    n_groups = None if groups is None else len(np.unique(np.asarray(groups)))
    base = float(alone.mean())
    short = _too_few(rows, n_groups)
    outcome: Outcome = "too little data to tell"
    if short is None and gain.low > 0:
        outcome = "helps"
    elif short is None and (gain.high <= 0 or gain.high < smallest_gain * base):
        outcome = "does not help"
    clear = ceiling is not None and ceiling.low > 0
    share = gain.mean / ceiling.mean if ceiling is not None and clear else None
    if short is not None:
        sentence = f"Too little data to tell whether hindsight helps: {short}"
    else:
        sentence = _opening(outcome, gain, smallest_gain * base)
        sentence += _comparison(method, gain, base, unit, level)
        sentence += _about_ceiling(outcome, ceiling, share, base, smallest_gain)
    return Verdict(
        outcome=outcome,
        method=method,
        unit=unit,
        gain=gain,
        relative_gain=gain.mean / base if base > 0 else None,
        ceiling=ceiling,
        share=share,
        smallest_gain=smallest_gain,
        level=level,
        rows=rows,
        groups=n_groups,
        demonstration=demonstration,
        sentence=("Demonstration (fixed settings, no search): " if demonstration else "")
        + sentence
        + ".",
    )


def _best_method(losses: Mapping[str, Any], validation: Mapping[str, float | None]) -> str:
    eligible: dict[str, float] = {}
    for name in METHODS:
        value = validation.get(name)
        if name in losses and value is not None and math.isfinite(value):
            eligible[name] = value
    if not eligible:
        rule = "a mapping with a finite loss of at least one of " + ", ".join(METHODS)
        raise invalid("validation", rule, dict(validation))
    return min(eligible, key=eligible.__getitem__)


def _too_few(rows: int, groups: int | None) -> str | None:
    if rows < FEWEST_ROWS:
        return f"there are {rows} test rows, and at least {FEWEST_ROWS} are needed"
    if groups is not None and groups < FEWEST_GROUPS:
        return f"the test rows come from {groups} groups, and at least {FEWEST_GROUPS} are needed"
    return None


def _opening(outcome: Outcome, gain: Interval, smallest: float) -> str:
    if outcome == "helps":
        return "Hindsight helps, but little: " if gain.high < smallest else "Hindsight helps: "
    if outcome == "does not help":
        return "Hindsight does not help: "
    return "Too little data to tell whether hindsight helps: "


def _comparison(method: str, gain: Interval, base: float, unit: str, level: float) -> str:
    if base == 0:
        return f"without a teacher the student already has no {unit} on unseen rows"
    low, high = gain.low / base, gain.high / base
    if low >= 0:
        span = f"{_percent(low)} to {_percent(high)}"
    elif high <= 0:
        span = f"{_percent(high)} to {_percent(low)}"
    else:
        span = f"from {_percent(low)} more to {_percent(high)} less"
    return (
        f"{_STUDENTS[method]} has {_change(gain.mean / base)} {unit} on unseen rows than "
        f"without a teacher ({_percent(level)} interval {span})"
    )


def _about_ceiling(
    outcome: Outcome,
    ceiling: Interval | None,
    share: float | None,
    base: float,
    smallest_gain: float,
) -> str:
    if ceiling is None or base == 0:
        return ""
    inputs = "with the privileged columns as inputs, which nobody has at test time, it would be"
    if share is not None:
        text = f"; {inputs} {_change(ceiling.mean / base)}"
        if outcome == "helps":
            reached = "all" if share >= 1 else _percent(share)
            text += f", so {reached} of what could be gained is reached"
        return text
    if ceiling.mean <= 0 or ceiling.high < smallest_gain * base:
        return (
            f"; {inputs} no less: here the privileged columns do not tell more about "
            "the label than the inputs do"
        )
    return (
        f"; {inputs} {_change(ceiling.mean / base)}, but its interval includes zero, so the "
        "privileged columns may tell no more about the label than the inputs do"
    )


def _percent(fraction: float) -> str:
    """``12 %``, ``4.5 %``, ``0 %``: the size without its sign."""
    size = abs(100 * fraction)
    return f"{size:.0f} %" if size >= 10 else f"{size:.1f}".removesuffix(".0") + " %"


def _change(gain: float) -> str:
    return f"{_percent(gain)} {'less' if gain > -0.0005 else 'more'}"


def _matrix(parameter: str, values: ArrayLike, rows: int | None = None) -> Floats:
    matrix = np.asarray(values, np.float64)
    if matrix.ndim != 2 or not matrix.size or (rows is not None and matrix.shape[1] != rows):
        raise invalid(parameter, f"of shape [seeds, {rows or 'rows'}], not empty", matrix.shape)
    if not np.isfinite(matrix).all():
        where = np.argwhere(~np.isfinite(matrix))[0].tolist()
        raise invalid(parameter, "finite", f"{matrix[tuple(where)]} at [seed, row] {where}")
    return matrix


def _group_index(groups: ArrayLike | None, rows: int) -> NDArray[np.int64]:
    """The number of each row's group; without groups every row is its own."""
    if groups is None:
        return np.arange(rows)
    labels = np.asarray(groups)
    if labels.shape != (rows,):
        raise invalid("groups", f"of shape [{rows}], one label per row", labels.shape)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _draws(
    seeds: int, groups: int, resamples: int, seed: int
) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
    """Shares of the seeds (sum 1) and counts of the groups, resample by resample."""
    rng = np.random.default_rng(check_integer("seed", seed, at_least=0))
    for _ in range(check_integer("resamples", resamples)):
        picked = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds)
        yield picked / seeds, np.bincount(rng.integers(groups, size=groups), minlength=groups)


def _percentiles(mean: float, drawn: Floats, level: float) -> Interval:
    tail = (1 - check_number("level", level, above=0, below=1)) / 2
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Interval(mean, math.nan, math.nan)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def _auc(score: Floats, positive: NDArray[np.bool_], weight: Floats) -> float:
    """Σ over distinct scores of positives there × (negatives below + half of those there)."""
    _, rank = np.unique(score, return_inverse=True)
    above = np.bincount(rank, weight * positive)
    below = np.bincount(rank, weight * ~positive)
    pairs = above.sum() * below.sum()
    if pairs == 0:
        return math.nan
    return float(above @ (np.cumsum(below) - below / 2) / pairs)
