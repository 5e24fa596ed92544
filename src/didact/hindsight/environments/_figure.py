"""The figure of the report: what each candidate scores in each environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...export._frame import COLOURS, STYLE, figure
from .._figures import readable
from .._wording import METRICS, title
from ._metrics import CANDIDATES, EnvironmentMetrics

if TYPE_CHECKING:
    from markupsafe import Markup

_LOOKS = {
    "plain": ("ink", "o"),
    "and_mask": ("orange", "o"),
    "v_rex": ("blue", "s"),
    "irm": ("purple", "^"),
    "trees": ("brown", "X"),
    "linear": ("teal", "P"),
}


def present(metrics: EnvironmentMetrics) -> list[str]:
    """The candidates that have results, in the order of the report."""
    return [name for name in CANDIDATES if metrics["candidates"][name]["test"]]


def shown_metrics(metrics: EnvironmentMetrics) -> list[str]:
    """The loss that is compared, and what people read beside it."""
    if metrics["loss"] == "squared error":
        return ["squared_error", "r2"]
    classes = metrics["data"]["classes"] or []
    return ["log_loss", "auc" if len(classes) == 2 else "accuracy"]


def metric_title(metric: str, metrics: EnvironmentMetrics) -> str:
    """The name of a metric for people."""
    main = metric in ("log_loss", "squared_error")
    return metrics["loss"] if main else METRICS[metric]


def by_environment(metrics: EnvironmentMetrics) -> Markup:
    """Every candidate's score in every environment with its interval, the loss and one more."""
    import matplotlib
    from matplotlib.figure import Figure

    names = [environment["name"] for environment in metrics["environments"]]
    candidates = present(metrics)
    said = []
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(8.6, 1.3 + 0.95 * len(names)), layout="constrained")
        columns = drawing.subplots(1, 2, sharey=True)
        for axes, metric in zip(columns, shown_metrics(metrics), strict=True):
            ends = []
            for k, candidate in enumerate(candidates):
                colour, marker = COLOURS[_LOOKS[candidate][0]], _LOOKS[candidate][1]
                label = title(candidate)
                for e, name in enumerate(names):
                    found = metrics["candidates"][candidate]["test"][name].get(metric)
                    if found is None or found["mean"] is None:
                        continue
                    mean = found["mean"]
                    low, high = (mean if v is None else v for v in (found["low"], found["high"]))
                    y = e + 0.78 * ((k + 0.5) / len(candidates) - 0.5)
                    axes.plot([low, high], [y, y], color=colour, linewidth=1.4)
                    axes.plot([mean], [y], marker, color=colour, markersize=5.5, label=label)
                    label = "_"
                    ends += [mean, low, high]
                    if metric == shown_metrics(metrics)[0]:
                        said.append(f"{name}, {title(candidate)} {mean:.3g}")
            for e in range(len(names) - 1):
                axes.axhline(e + 0.5, color="#8a8f98", linewidth=0.6, alpha=0.6)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.locator_params(axis="x", nbins=6)
            axes.grid(axis="x")
            unit = readable(axes.xaxis, ends)
            better = "less" if metric in ("log_loss", "squared_error") else "more"
            axes.set_xlabel(f"{metric_title(metric, metrics)}{unit} ({better} is better)")
        columns[0].set_yticks(range(len(names)), names)
        handles, labels = columns[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside upper center", ncols=len(candidates))
    caption = (
        f"Each {metrics['data']['environment']} where it was left out: mean over rows and seeds "
        "with its 95 % interval. Intervals may overlap and still differ: the rows are the same, so "
        "look at the differences in the table."
    )
    alt = f"Test {metrics['loss']} by environment: {'; '.join(said)}."
    return figure(drawing, caption, alt)
