"""The schema of ``metrics.json``, the only file from which ``report.html`` is built.

Every number is finite or null (``None``): a loss that diverged is null, never NaN, because
JSON has no NaN. Losses are means per row: for a classification log loss in nats, for a regression
squared error in squared units of the label. A gain is a loss without a teacher minus the loss of
a candidate, so a positive gain is good. Keys are written in the order given here.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from .._bootstrap import IntervalRecord

Outcome = Literal["helps", "does not help", "too little data to tell", "cut short"]
Setting = float | int | str | bool | None

FORMAT = 3
"""The version of the schema; :func:`didact.hindsight._report.report` refuses any other."""

PATIENCE = 25
"""Epochs without a gain after which a run has had its time."""

BASELINE = "no_teacher"
"""Learns from the inputs alone: what every other candidate is compared with."""

METHODS = ("auxiliary", "fixed_teacher", "generalised_distillation", "tram", "ldt")
"""Candidates that use hindsight in training and only the inputs at test time."""

TREES = "trees"
"""Gradient-boosted trees on the inputs alone: what a practitioner would use instead."""

CEILING = "oracle"
"""Has the privileged columns as inputs: shows what could be gained, cannot be deployed."""

CANDIDATES = (BASELINE, *METHODS, TREES, CEILING)


class SeriesRecord(TypedDict):
    """How examples were cut out of a series. ``step``: seconds; null without time stamps."""

    history: int
    horizon: int
    time: str | None
    step: float | None
    examples: int


class DataRecord(TypedDict):
    """The table, and the part each column plays. ``series`` is null for a table of examples.

    ``dates``: those inputs that hold dates.
    """

    file: str
    sha256: str
    rows: int
    task: Literal["classification", "regression"]
    label: str
    group: str | None
    inputs: list[str]
    dates: list[str]
    privileged: list[str]
    na: list[str]
    dropped: list[str]
    warnings: list[str]
    classes: list[str] | None
    bins: int | None
    series: SeriesRecord | None


class SplitRecord(TypedDict):
    """How rows were divided, and the number of rows in each part."""

    kind: Literal["random", "group", "time"]
    seed: int
    train: int
    validation: int
    test: int


class SettingsRecord(TypedDict):
    """What the user asked for. ``trials``: search trials per candidate."""

    quick: bool
    trials: int
    epochs: int
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
    """One training run with the chosen settings. ``test``: metric name → value.

    ``cut_short``: the budget ended before 25 epochs had brought no gain.
    """

    seed: int
    validation: float | None
    test: dict[str, float | None]
    epochs: int
    curve: CurveRecord
    cut_short: bool
    skipped_meta_steps: int


class CalibrationRecord(TypedDict):
    """What was predicted, and what came, in ten parts of equally many rows, by prediction.

    Of a classification the chance of the second of two classes, or of the most probable of more;
    of a regression the number. ``error``: mean of \\|predicted − observed\\| over rows.
    """

    predicted: list[float]
    observed: list[float]
    error: float


class CandidateRecord(TypedDict):
    """One candidate.

    ``columns``: for ``ldt``, how much its teacher depends on each privileged column, 0 to 1; for
    ``oracle``, how much its loss rises when the column is shuffled; means over seeds.

    ``test`` has the metrics over all seeds, first the one that is compared.

    ``seeds`` are the runs with the chosen settings; ``cut_short`` counts those of all finalists.

    These are, for a classification, ``log_loss``, ``accuracy`` and, of two classes, ``auc``; for a
    regression ``squared_error``, ``rmse``, ``mae``, ``r2``, and ``log_loss`` of the binned label.
    ``gain`` is null for ``no_teacher`` itself, and where a candidate has no finite result.
    """

    settings: dict[str, Setting]
    validation: float | None
    trials: list[TrialRecord]
    seeds: list[SeedRecord]
    cut_short: int
    test: dict[str, IntervalRecord]
    gain: IntervalRecord | None
    calibration: CalibrationRecord | None
    columns: dict[str, float]


class PredictabilityRecord(TypedDict):
    """How much boosted trees with fixed settings explain: 1 − loss / loss of a constant.

    On test rows. ``label``: from x*; ``columns``: each privileged column from x. Null where there
    was nothing to explain.
    """

    label: float | None
    columns: dict[str, float | None]


class DeployedRecord(TypedDict):
    """The run whose student was exported: chosen on validation loss, never on test loss.

    ``run``: its name, which the exported files bear, too.
    """

    candidate: str
    seed: int
    validation: float | None
    run: str


class VerdictRecord(TypedDict):
    """:meth:`didact.hindsight._verdict.Verdict.to_json`; the fields are explained there."""

    outcome: Outcome
    method: str
    unit: str
    gain: IntervalRecord
    relative_gain: float | None
    ceiling: IntervalRecord | None
    share: float | None
    trees: IntervalRecord | None
    cut_short: list[str]
    smallest_gain: float
    level: float
    rows: int
    groups: int | None
    demonstration: bool
    sentence: str


class Metrics(TypedDict):
    """The whole file. ``loss`` names what validation losses, gains and the verdict measure;
    ``persistence`` is the test loss of predicting that the label of a series stays as it is."""

    format: int
    didact: str
    command: str
    versions: dict[str, str]
    data: DataRecord
    split: SplitRecord
    settings: SettingsRecord
    loss: Literal["log loss", "squared error"]
    persistence: float | None
    candidates: dict[str, CandidateRecord]
    predictability: PredictabilityRecord
    deployed: DeployedRecord
    verdict: VerdictRecord
