"""The verdict in a sentence or two, for people."""

from __future__ import annotations

from .._bootstrap import Interval
from ._metrics import Outcome
from ._wording import percent

_STUDENTS = {
    "auxiliary": "the student with an auxiliary head that predicts the privileged columns",
    "generalised_distillation": "the student that imitates a model of the privileged columns "
    "(generalised distillation)",
    "tram": "the student whose features were learnt beside the privileged columns (tram)",
    "ldt": "the student taught by ldt",
}

_CONTROL = (
    " A random teacher (fixed_teacher) does as well, so the gain may be regularisation rather "
    "than hindsight."
)


def sentence(
    outcome: Outcome,
    method: str,
    gain: Interval | None,
    ceiling: Interval | None,
    share: float | None,
    *,
    runs: int,
    control_as_good: bool,
    trees: Interval | None = None,
    unit: str,
    level: float,
    smallest_gain: float,
    beaten: bool = False,
) -> str:
    """What :func:`didact.hindsight._verdict.judge` found, from its opening to its full stop.

    Gain and ceiling are fractions of the baseline's loss, so that the sentence does not depend
    on the scale of the label.

    Args:
        outcome, method, share, unit, level, smallest_gain: as in a verdict.
        gain: (loss(no_teacher) − loss(method)) / loss(no_teacher); ``None`` where
            loss(no_teacher) is zero.
        ceiling: the same of the oracle; ``None`` without one.
        runs: how many training runs of each candidate the interval was drawn from; of few runs
            it shows too little of how runs differ (see ``paired_bootstrap``), so it is said.
        trees: (loss(method) − loss(trees)) / loss(no_teacher); ``None`` without trees.
        beaten: some candidate without the privileged inputs has less loss than the oracle.
        control_as_good: a random teacher gains at least as much as the method. Said where there
            is a gain that could be taken for hindsight.

    Example:
        >>> gain = Interval(0.12, 0.1, 0.14)
        >>> how = {"unit": "squared error", "level": 0.95, "smallest_gain": 0.05}
        >>> how |= {"runs": 3, "control_as_good": False}
        >>> sentence("helps", "ldt", gain, None, None, **how)[:70]
        'Hindsight helps: the student taught by ldt has 12 % less squared error'
    """
    if gain is None:
        return (
            f"{_opening(outcome, little=False)}without a teacher the student already has no "
            f"{unit} on unseen rows."
        )
    opening = _opening(outcome, little=gain.high < smallest_gain)
    comparison = (
        f"{_STUDENTS[method]} has {change(gain.mean)} {unit} on unseen rows than without a "
        f"teacher ({percent(level)} interval over {sample_of(runs)}: {span(gain)})"
    )
    ceiling_said = _about_ceiling(outcome, ceiling, share, smallest_gain, beaten)
    doubt = _CONTROL if control_as_good and outcome != "does not help" and gain.mean > 0 else ""
    return f"{opening}{comparison}{ceiling_said}.{doubt}{_about_trees(trees, smallest_gain)}"


def _about_trees(trees: Interval | None, smallest_gain: float) -> str:
    if trees is None:
        return ""
    who = "gradient-boosted trees on the inputs alone do"
    if trees.low <= 0 <= trees.high:
        if max(-trees.low, trees.high) < smallest_gain:
            return f" G{who[1:]} about as well as this student."
        return f" Whether {who} better or worse than this student is not clear."
    than = "better" if trees.low > 0 else "worse"
    share = percent(trees.mean)
    return f" G{who[1:]} {than} than this student, by {share} of the loss without a teacher."


def _opening(outcome: Outcome, *, little: bool) -> str:
    if outcome == "helps":
        return "Hindsight helps, but little: " if little else "Hindsight helps: "
    if outcome == "does not help":
        return "Hindsight does not help: "
    return "Too little data to tell whether hindsight helps: "


def sample_of(runs: int) -> str:
    """What an interval was drawn over."""
    return "test rows, one training run" if runs == 1 else f"test rows and {runs} training runs"


def span(gain: Interval) -> str:
    """``3 % to 20 %``, ``from 1 % more to 5 % less``."""
    low, high = percent(gain.low), percent(gain.high)
    if gain.low >= 0:
        return f"{low} to {high}"
    if gain.high <= 0:
        return f"{high} to {low}"
    return f"from {low} more to {high} less"


def _about_ceiling(
    outcome: Outcome,
    ceiling: Interval | None,
    share: float | None,
    smallest_gain: float,
    beaten: bool,
) -> str:
    if ceiling is None:
        return ""
    inputs = "with the privileged columns as inputs, which nobody has at test time, it would be"
    if share is not None:
        text = f"; {inputs} {change(ceiling.mean)}"
        if outcome == "helps":
            reached = "all" if share >= 1 else percent(share)
            text += f", so {reached} of what could be gained is reached"
        return text
    if beaten and ceiling.mean > 0:
        return f"; {inputs} {change(ceiling.mean)}, and another candidate without them does better"
    if ceiling.mean <= 0 or ceiling.high < smallest_gain:
        return (
            f"; {inputs} no less: here the privileged columns do not tell more about "
            "the label than the inputs do"
        )
    return (
        f"; {inputs} {change(ceiling.mean)}, but its interval includes zero, so the "
        "privileged columns may tell no more about the label than the inputs do"
    )


def change(gain: float) -> str:
    """``12 % less``, ``3 % more``."""
    return f"{percent(gain)} {'less' if gain > -0.0005 else 'more'}"
