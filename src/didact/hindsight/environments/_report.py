"""``report.html`` of ``didact fit --environment``, from ``metrics.json`` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ..._checks import invalid
from ...export._frame import Section, bullets, callout, page, table
from .._metrics import Metrics
from .._report import repeat
from .._use import WHERE, inputs_of, ways
from .._wording import counted, joined, number, score, title
from ._figure import by_environment
from ._metrics import FORMAT, RIVALS, EnvironmentMetrics
from ._tables import chosen, gains_table, scores_tables, settings_table

if TYPE_CHECKING:
    from markupsafe import Markup

_MEANS = {
    "plain": "descends the mean of the environments' losses (ERM); the baseline.",
    "and_mask": "moves a parameter only where enough environments agree on the sign of its "
    "gradient (Parascandolo, Neitz et al. 2021).",
    "v_rex": "adds the variance of the environments' losses to the loss (Krueger et al. 2021).",
    "irm": "adds how much each environment alone would like the outputs rescaled (IRMv1, Arjovsky "
    "et al. 2019).",
    "trees": "gradient-boosted trees (scikit-learn) on all rows alike. For comparison; they are "
    "not exported.",
    "linear": "logistic or ridge regression (scikit-learn) on all rows alike. For comparison; it "
    "is not exported.",
}
_READ = (
    "Your rows come from several environments. Each of them was left out once: scaling, settings, "
    "number of epochs and weights come from the others alone, and what is shown is how a model "
    "does where it has never been. Among the others, each was held out in turn to choose settings; "
    "these losses choose, and nothing is claimed from them. "
    "All networks learn from batches with as many rows of each environment; trees and the linear "
    "model learn from all rows alike. "
    "An interval is over the rows of an environment and the training runs; the environments are "
    "taken as given. A few environments tell little of the next: look at how they differ. The "
    "worst of several is partly the unluckiest, for every candidate."
)


def environments_report(metrics: EnvironmentMetrics) -> str:
    """The page that ``didact fit --environment`` leaves: one HTML file, nothing else needed.

    Args:
        metrics: the content of ``metrics.json``; the schema is in :mod:`._metrics`.

    Returns:
        The page, to be written as UTF-8; the same metrics give the same bytes.

    Raises:
        InvalidInput: another format, or a part is missing.
    """
    _check(metrics)
    data, settings = metrics["data"], metrics["settings"]
    lead = [callout(metrics["verdict"]["sentence"])]
    if settings["quick"]:
        banner = "Demonstration: fixed settings, no search. Do not decide anything by this page."
        lead.insert(0, callout(banner, "banner"))
    site = data["environment"]
    return page(
        f"Does it hold elsewhere? {data['label']}",
        [
            Section("", lead),
            Section(
                f"Every {site}, left out",
                [by_environment(metrics), *scores_tables(metrics), gains_table(metrics)],
            ),
            Section("Candidates", bullets(f"{title(n)}: {of}" for n, of in _MEANS.items())),
            Section("What was chosen", [*chosen(metrics), settings_table(metrics)]),
            Section("Environments", _environments(metrics)),
            Section("Data", _data(metrics)),
            Section("Use the model", _use(metrics)),
            Section("How to read this page", _READ),
            Section("Repeat this run", repeat(cast(Metrics, metrics))),
        ],
        subtitle=f"didact fit: “{data['label']}” in {data['file']}, by {site}",
        footer="Built from metrics.json; no script, and nothing is loaded from elsewhere.",
    )


def is_of_environments(metrics: Any) -> bool:
    """Whether this is the ``metrics.json`` of a fit by environments."""
    return isinstance(metrics, dict) and metrics.get("format") == FORMAT


def _check(metrics: Any) -> None:
    if not is_of_environments(metrics):
        found = metrics.get("format") if isinstance(metrics, dict) else metrics
        raise invalid("metrics", f"of format {FORMAT!r}", found)
    missing = [key for key in EnvironmentMetrics.__annotations__ if key not in metrics]
    if missing:
        raise invalid("metrics", "complete", f"no {', '.join(missing)}")


def _environments(metrics: EnvironmentMetrics) -> list[str | Markup]:
    kinds = list(metrics["environments"][0]["label"])
    classes = metrics["data"]["classes"] is not None
    rows = [
        [e["name"], number(e["rows"]), *(score(e["label"][kind]) for kind in kinds)]
        for e in metrics["environments"]
    ]
    head = [metrics["data"]["environment"], "rows"]
    head += (
        [f"share of “{kind}”" for kind in kinds] if classes else [f"{k} of label" for k in kinds]
    )
    return [table(head, rows, caption="Where the rows are from, and what their labels are.")]


def _data(metrics: EnvironmentMetrics) -> list[str | Markup]:
    data = metrics["data"]
    rows = [
        ["file", data["file"]],
        ["SHA-256", data["sha256"]],
        ["rows", number(data["rows"])],
        ["label", f"{data['label']} ({data['task']})"],
        ["environment", f"{data['environment']}; no input"],
    ]
    if data["classes"] is not None:
        rows.append(["classes", joined(data["classes"])])
    rows.append([f"inputs ({len(data['inputs'])})", joined(data["inputs"])])
    rows.append([f"dropped ({len(data['dropped'])})", joined(data["dropped"])])
    said: list[str | Markup] = [table(["what", "found"], rows, align="ll", caption="The table")]
    return [*said, bullets(data["warnings"]) if data["warnings"] else "No warnings."]


def _use(metrics: EnvironmentMetrics) -> list[str | Markup]:
    deployed, candidates = metrics["deployed"], metrics["candidates"]
    own = deployed["validation"]
    better = [
        f"{title(name)} ({score(loss)})"
        for name in RIVALS
        if (loss := candidates[name]["final"]["validation"]) is not None
        and own is not None
        and loss < own
    ]
    rival = ""
    if better:
        rival = (
            f"Less on what was held out have {' and '.join(better)}, which are not exported: where "
            "nothing else counts, use them. "
        )
    epochs = candidates[deployed["candidate"]]["final"]["epochs"]
    return [
        f"The exported model is {title(deployed['candidate'])}, trained on all environments for "
        f"{counted(epochs, 'epoch')} with seed {deployed['seed']}: of the networks it has the "
        f"least mean loss on an environment that was held out ({score(own)}). Nobody has tested "
        "it: the scores above are of models made in the same way, without one environment. "
        f"{rival}It needs {inputs_of(metrics['data'])}, and no {metrics['data']['environment']}. "
        f"{WHERE}",
        *ways(metrics["data"]),
    ]
