"""The schema of ``metrics.json``, the only file from which ``report.html`` is built.

Every number is finite or null (``None``): a loss that diverged is null, never NaN, because
JSON has no NaN. Losses are means per row: for a classification log loss in nats, for a regression
squared error in squared units of the label. A gain is a loss without a teacher minus the loss of
a candidate, so a positive gain is good. Keys are written in the order given here.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Outcome = Literal["helps", "does not help", "too little data to tell"]
Setting = float | int | str | bool | None

FORMAT = 1
"""The version of the schema; :func:`didact.hindsight._report.report` refuses any other."""

BASELINE = "no_teacher"
"""Learns from the inputs alone: what every other candidate is compared with."""

METHODS = ("auxiliary", "fixed_teacher", "ldt")
"""Candidates that use hindsight in training and only the inputs at test time."""

CEILING = "oracle"
"""Has the privileged columns as inputs: shows what could be gained, cannot be deployed."""

CANDIDATES = (BASELINE, *METHODS, CEILING)


class IntervalRecord(TypedDict):
    """A mean and its interval (95 % unless the verdict's ``level`` says otherwise)."""

    mean: float | None
    low: float | None
    high: float | None


class VersionsRecord(TypedDict):
    """The software the run was made with."""

    python: str
    torch: str
    numpy: str
    pandas: str
    optuna: str


class DataRecord(TypedDict):
    """The table, and the part each column plays."""

    file: str
    sha256: str
    rows: int
    task: Literal["classification", "regression"]
    label: str
    group: str | None
    inputs: list[str]
    privileged: list[str]
    dropped: list[str]
    warnings: list[str]
    classes: list[str] | None
    bins: int | None


class SplitRecord(TypedDict):
    """How rows were divided, and the number of rows in each part."""

    kind: Literal["random", "group"]
    seed: int
    train: int
    validation: int
    test: int


class SettingsRecord(TypedDict):
    """What the user asked for. ``trials``: search trials per candidate."""

    quick: bool
    trials: int
    seeds: list[int]
    device: str


class TrialRecord(TypedDict):
    """One trial of the search; ``validation`` is null when it failed or diverged."""

    settings: dict[str, Setting]
    validation: float | None


class CurveRecord(TypedDict):
    """Loss by epoch."""

    train: list[float | None]
    validation: list[float | None]


class SeedRecord(TypedDict):
    """One training run with the chosen settings. ``test``: metric name → value."""

    seed: int
    validation: float | None
    test: dict[str, float | None]
    epochs: int
    curve: CurveRecord
    skipped_meta_steps: int


class CandidateRecord(TypedDict):
    """One candidate. ``test`` has the metrics over all seeds, first the one that is compared.

    These are, for a classification, ``log_loss``, ``accuracy`` and, of two classes, ``auc``; for a
    regression ``squared_error``, ``rmse``, ``mae``, ``r2``, and ``log_loss`` of the binned label.
    ``gain`` is null for ``no_teacher`` itself, and where a candidate has no finite result.
    """

    settings: dict[str, Setting]
    validation: float | None
    trials: list[TrialRecord]
    seeds: list[SeedRecord]
    test: dict[str, IntervalRecord]
    gain: IntervalRecord | None


class DeployedRecord(TypedDict):
    """The run whose student was exported: chosen on validation loss, never on test loss."""

    candidate: str
    seed: int
    validation: float | None


class VerdictRecord(TypedDict):
    """:meth:`didact.hindsight._verdict.Verdict.to_json`; the fields are explained there."""

    outcome: Outcome
    method: str
    unit: str
    gain: IntervalRecord
    relative_gain: float | None
    ceiling: IntervalRecord | None
    share: float | None
    smallest_gain: float
    level: float
    rows: int
    groups: int | None
    demonstration: bool
    sentence: str


class Metrics(TypedDict):
    """The whole file. ``loss`` names what validation losses, gains and the verdict measure."""

    format: int
    didact: str
    command: str
    versions: VersionsRecord
    data: DataRecord
    split: SplitRecord
    settings: SettingsRecord
    loss: Literal["log loss", "squared error"]
    candidates: dict[str, CandidateRecord]
    deployed: DeployedRecord
    verdict: VerdictRecord
