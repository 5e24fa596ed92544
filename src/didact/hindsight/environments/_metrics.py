"""The schema of ``metrics.json`` of ``didact fit --environment``.

Losses and gains are as in :mod:`didact.hindsight._metrics`, with plain training in the place of the
student without a teacher. What is "left out" is named by its environments.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from ..._bootstrap import IntervalRecord
from .._metrics import (
    DataRecord,
    DeployedRecord,
    Setting,
    SettingsRecord,
)

FORMAT = "environments 1"
"""Another than the number of a fit with hindsight, so that nobody takes one for the other."""

PLAIN = "plain"
"""Descends the mean of the environments' losses: what every other candidate is compared with."""

METHODS = ("and_mask", "v_rex", "irm")
"""Candidates that use which environment a row is from."""

RIVALS = ("trees", "linear")
"""No networks: what a practitioner would use instead; not exported."""

NETWORKS = (PLAIN, *METHODS)
CANDIDATES = (*NETWORKS, *RIVALS)

Answer = Literal["helps", "does not help", "too little data to tell", "cut short"]


class EnvironmentRecord(TypedDict):
    """One environment. ``label``: the share of each class, or ``mean`` and ``deviation``."""

    name: str
    rows: int
    label: dict[str, float]


class ChoiceRecord(TypedDict):
    """What was chosen on all environments but those left out, each of them held out in turn.

    ``validation``: the least mean loss on those held out, null where no trial was finite; after so
    many ``epochs`` (1 for a rival). ``cut_short``: how many of these runs the budget ended.
    """

    left_out: list[str]
    trial: int
    settings: dict[str, Setting]
    epochs: int
    validation: float | None
    cut_short: int


class EnvironmentTrialRecord(TypedDict):
    """One trial. ``validation``: of every choice, in their order, the one of all last."""

    settings: dict[str, Setting]
    validation: list[float | None]


class RunRecord(TypedDict):
    """One run on all environments but one, tested on that. ``test``: metric → value."""

    seed: int
    test: dict[str, float | None]


class WorstRecord(TypedDict):
    """The worst environment of a candidate by one metric, and its interval."""

    environment: str
    mean: float | None
    low: float | None
    high: float | None


class GainRecord(TypedDict):
    """Loss of plain training less that of the candidate: in each environment, in the mean of them,
    and of the worst of one less the worst of the other."""

    environments: dict[str, IntervalRecord]
    mean: IntervalRecord
    worst: IntervalRecord


class EnvironmentCandidateRecord(TypedDict):
    """One candidate. ``choices``: with each part left out, and ``final``: with none.

    ``runs``, ``test``: by environment, where it was left out; empty where a run has no finite
    result. ``gain`` is null for plain training, too.
    """

    choices: list[ChoiceRecord]
    final: ChoiceRecord
    trials: list[EnvironmentTrialRecord]
    runs: dict[str, list[RunRecord]]
    test: dict[str, dict[str, IntervalRecord]]
    mean: dict[str, IntervalRecord]
    worst: dict[str, WorstRecord]
    gain: GainRecord | None


class EnvironmentDataRecord(DataRecord):
    """The table; ``privileged`` is empty, ``group`` and ``series`` are null."""

    environment: str


class ComparisonRecord(TypedDict):
    """The answer for the worst environment, or for the mean: the method that is told of, its gain,
    and the gain in parts of the loss of plain training."""

    outcome: Answer
    method: str
    gain: IntervalRecord
    relative_gain: float | None


class EnvironmentVerdictRecord(TypedDict):
    """The verdict. ``level``: of each gain's interval, so that those of all methods hold at once
    with probability 95 %."""

    worst: ComparisonRecord
    mean: ComparisonRecord
    unit: str
    cut_short: list[str]
    smallest_gain: float
    level: float
    demonstration: bool
    sentence: str


class EnvironmentMetrics(TypedDict):
    """The whole file."""

    format: str
    didact: str
    command: str
    versions: dict[str, str]
    data: EnvironmentDataRecord
    environments: list[EnvironmentRecord]
    settings: SettingsRecord
    loss: Literal["log loss", "squared error"]
    candidates: dict[str, EnvironmentCandidateRecord]
    deployed: DeployedRecord
    verdict: EnvironmentVerdictRecord
