"""``report.html`` from ``metrics.json`` alone, so that the page can be built again at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .._checks import check_choice, invalid
from ..export._frame import Section, bullets, callout, code, page, table
from ._figures import calibrated, curves, forest
from ._metrics import BASELINE, CANDIDATES, FORMAT, Metrics, SplitRecord
from ._privileged import mattered, predictability
from ._results import persistence, scores_table, training
from ._use import use
from ._wording import MAIN, joined, number, present, title

if TYPE_CHECKING:
    from markupsafe import Markup

_MEANS = {
    "no_teacher": "learns from the inputs alone; the baseline.",
    "auxiliary": "also learns to predict the privileged columns, with a head that is removed.",
    "fixed_teacher": "imitates a random, untrained network that sees the privileged columns; "
    "a control: what any target does, however bad.",
    "generalised_distillation": "imitates the soft predictions of a model of the privileged "
    "columns (Lopez-Paz et al. 2016).",
    "tram": "learns its features through a head that also sees the privileged columns, and "
    "predicts with one that does not (Collier et al. 2022).",
    "ldt": "learning to distill trajectories: imitates a teacher that sees the privileged columns "
    "and was trained to give the targets from which a student learns best.",
    "trees": "gradient-boosted trees on the inputs alone (scikit-learn): what is used where nobody "
    "thinks of hindsight. For comparison; they are not exported.",
    "oracle": "has the privileged columns as inputs. Nobody has them at test time, so it cannot "
    "be used; it shows what could be gained.",
}
_READ = (
    "Some columns of your table are known only afterwards; they are called privileged here. "
    "Every student below sees only the other columns, the inputs, when it predicts; the oracle, "
    "which sees all columns, is there for comparison. "
    "The students differ in what they learned from: a method with hindsight used the privileged "
    "columns in training, the baseline (no teacher) did not. "
    "The verdict compares the method that was best on validation rows with the baseline, on test "
    "rows that had no part in training or in any choice. "
    "An interval tells which values agree with these rows and seeds: if the interval of a "
    "difference includes zero, the difference may be chance. "
    "All of it is about rows like those in your table: if the world changes, measure again."
)


def report(metrics: Metrics) -> str:
    """The page that ``didact fit`` leaves beside the model: one HTML file, nothing else needed.

    The verdict first; then what it rests on: test losses with intervals, all scores, learning
    curves, settings and failures, the data, how to use the student, how to read the page, and
    how to repeat the run. Candidates, seeds and numbers that are missing are named, not hidden.

    Args:
        metrics: the content of ``metrics.json``; the schema is in :mod:`._metrics`. Of a fit by
            environments it is the page of that.

    Returns:
        The page, to be written as UTF-8; the same metrics give the same bytes.

    Raises:
        InvalidInput: another format, or a part is missing.
        ImportError: matplotlib or jinja2 is not installed; both are in the extra ``fit``.

    Example:
        >>> report({"format": 1})
        Traceback (most recent call last):
        ...
        didact._checks.InvalidInput: Parameter `metrics` should be of format 3. Found 1.
    """
    from .environments import environments_report, is_of_environments

    if is_of_environments(metrics):
        return environments_report(cast(Any, metrics))
    _check(metrics)
    data, settings, verdict = metrics["data"], metrics["settings"], metrics["verdict"]
    lead = [callout(verdict["sentence"])]
    if settings["quick"]:
        banner = "Demonstration: fixed settings, no search. Do not decide anything by this page."
        lead.insert(0, callout(banner, "banner"))
    name = f"hindsight for “{data['label']}” in {data['file']}"
    return page(
        f"Does hindsight help? {data['label']}",
        [
            Section("", lead),
            Section("Test loss", [forest(metrics), scores_table(metrics), *persistence(metrics)]),
            Section("Candidates", bullets(f"{title(n)}: {_MEANS[n]}" for n in present(metrics))),
            Section("Privileged columns", [*predictability(metrics), *mattered(metrics)]),
            Section("Calibration", calibrated(metrics)),
            Section("Learning curves", curves(metrics)),
            Section("Settings and failures", training(metrics)),
            Section("Data", _data(metrics)),
            Section("Use the model", use(metrics)),
            Section("How to read this page", _READ),
            Section("Repeat this run", repeat(metrics)),
        ],
        subtitle=f"didact fit: {name}",
        footer="Built from metrics.json; no script, and nothing is loaded from elsewhere.",
    )


def _check(metrics: Any) -> None:
    if not isinstance(metrics, dict) or metrics.get("format") != FORMAT:
        found = metrics.get("format") if isinstance(metrics, dict) else metrics
        raise invalid("metrics", f"of format {FORMAT}", found)
    missing = [key for key in Metrics.__annotations__ if key not in metrics]
    if missing:
        raise invalid("metrics", "complete", f"no {', '.join(missing)}")
    unknown = sorted(set(metrics["candidates"]) - set(CANDIDATES))
    if unknown or BASELINE not in metrics["candidates"]:
        rule = f"{BASELINE} and others of " + ", ".join(CANDIDATES)
        raise invalid("metrics['candidates']", rule, list(metrics["candidates"]))
    check_choice("metrics['loss']", metrics["loss"], list(MAIN))


def _data(metrics: Metrics) -> list[str | Markup]:
    data, split = metrics["data"], metrics["split"]
    parts = ", ".join(f"{number(split[part])} {part}" for part in ("train", "validation", "test"))
    whole = "; rows of one group stay together" if split["kind"] == "group" else ""
    if data["series"] is not None:
        parts += f" (of {number(data['series']['examples'])} examples)"
    rows = [
        ["file", data["file"]],
        ["SHA-256", data["sha256"]],
        ["rows", f"{number(data['rows'])}: {parts}"],
        ["split", _split(split, whole)],
        ["label", f"{data['label']} ({data['task']})"],
    ]
    if data["classes"] is not None:
        rows.append(["classes", joined(data["classes"])])
    if data["bins"] is not None:
        rows.append(["bins of the label", number(data["bins"])])
    if data["series"] is not None:
        series = data["series"]
        step = ""
        if series["step"] is not None:
            step = f", one every {number(series['step'])} of {series['time']} (of dates: seconds)"
        rows.append(["inputs of an example", f"the last {series['history']} rows{step}"])
        rows.append(["label of an example", f"{series['horizon']} rows ahead"])
        rows.append(["privileged", f"the {series['horizon'] - 1} rows between"])
    if data["group"] is not None:
        rows.append(["group", data["group"]])
    for columns, what in (
        (data["inputs"], "inputs"),
        (data["privileged"], "privileged"),
        (data["dropped"], "dropped"),
    ):
        rows.append([f"{what} ({len(columns)})", joined(columns)])
    said: list[str | Markup] = [table(["what", "found"], rows, align="ll", caption="The table")]
    return [*said, bullets(data["warnings"]) if data["warnings"] else "No warnings."]


def _split(split: SplitRecord, whole: str) -> str:
    if split["kind"] == "time":
        return (
            "in time: trained on what came first, tested on what came last, a gap of the horizon "
            "between; the same for every seed"
        )
    return f"{split['kind']}, seed {split['seed']}{whole}"


def repeat(metrics: Metrics) -> list[str | Markup]:
    """The command, and what its numbers depend on."""
    settings = metrics["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())
    return [
        code(metrics["command"]),
        f"didact {metrics['didact']}, {versions}; device {settings['device']}; "
        f"seeds {joined(settings['seeds'])}.",
    ]
