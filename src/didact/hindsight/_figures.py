"""The figures of the report: test losses, learning curves and calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..export._frame import COLOURS, STYLE, figure, gallery
from ._metrics import BASELINE, CEILING, TREES, Metrics
from ._wording import MAIN, joined, number, present, raised, score, title

if TYPE_CHECKING:
    from markupsafe import Markup

_LOOKS = {
    "no_teacher": ("ink", "o"),
    "auxiliary": ("blue", "s"),
    "fixed_teacher": ("purple", "^"),
    "generalised_distillation": ("violet", "v"),
    "tram": ("teal", "P"),
    "ldt": ("orange", "o"),
    "trees": ("brown", "X"),
    "oracle": ("green", "D"),
}


def readable(axis: Any, values: Iterable[float]) -> str:
    """Plain tick labels; of very large or small values in the power of ten that is returned.

    Matplotlib would write ``1e6`` at the end of the axis, over other text.
    """
    from matplotlib.ticker import ScalarFormatter

    largest = max(map(abs, values), default=0.0)
    power = math.floor(math.log10(largest)) if largest else 0
    if -3 <= power < 5:
        power = 0
    ticks = ScalarFormatter(useOffset=False)
    ticks.set_scientific(power != 0)
    ticks.set_powerlimits((power, power))
    axis.set_major_formatter(ticks)
    axis.offsetText.set_visible(False)
    return f", in {raised(power)}" if power else ""


def forest(metrics: Metrics) -> Markup | str:
    """Test loss of every candidate with its interval, and the baseline as a line."""
    import matplotlib
    from matplotlib.figure import Figure

    shown: list[tuple[str, float, float, float]] = []
    for name in present(metrics):
        loss = metrics["candidates"][name]["test"].get(MAIN[metrics["loss"]])
        if loss is not None and loss["mean"] is not None:
            low, high = (loss["mean"] if v is None else v for v in (loss["low"], loss["high"]))
            shown.append((name, loss["mean"], low, high))
    if not shown:
        return "No candidate has a finite test loss."
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(4.2, 0.75 + 0.34 * len(shown)), layout="constrained")
        axes = drawing.subplots()
        for place, (name, mean, low, high) in enumerate(shown):
            colour, marker = COLOURS[_LOOKS[name][0]], _LOOKS[name][1]
            face = "none" if name == CEILING else colour
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            axes.plot([mean], [place], marker, color=colour, markerfacecolor=face, markersize=7)
            if name == BASELINE:
                axes.axvline(mean, color="#8a8f98", linestyle="--", linewidth=1, zorder=0)
        axes.set_yticks(range(len(shown)), [_two_lines(name) for name, *_ in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=7)
        axes.grid(axis="x")
        unit = readable(axes.xaxis, (v for _, *ends in shown for v in ends))
        axes.set_xlabel(f"{metrics['loss']}{unit} (less is better)")
    said = "; ".join(f"{title(n)} {m:.3g} ({a:.3g} to {b:.3g})" for n, m, a, b in shown)
    caption = (
        "Mean test loss of every candidate with its 95 % interval, over rows and seeds. The dashed "
        "line is the baseline; the open diamond is the ceiling. Intervals may overlap and still "
        "differ: the rows are the same, so look at the difference in the table."
    )
    return figure(drawing, caption, f"Test {metrics['loss']}, mean and 95 % interval: {said}.")


def _two_lines(candidate: str) -> str:
    """Long titles leave no room for the axis beside them."""
    name = title(candidate)
    return name if len(name) <= 18 else name.replace(" ", "\n", 1)


def curves(metrics: Metrics) -> list[str | Markup]:
    """Validation loss by epoch, one small figure per candidate, all on one scale."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    found = {
        name: [
            [math.nan if v is None else v for v in run["curve"]["validation"]]
            for run in metrics["candidates"][name]["seeds"]
            if run["curve"]["validation"]
        ]
        for name in present(metrics)
    }
    values = sorted(v for runs in found.values() for run in runs for v in run if v == v)
    if not values:
        return ["No validation losses were recorded."]
    low, top = values[0], values[int(0.97 * (len(values) - 1))]
    margin = 0.06 * (top - low) or 0.1
    longest = max(len(run) for runs in found.values() for run in runs)
    pictures, unit = [], ""
    for name, runs in found.items():
        if not runs:
            continue
        colour = COLOURS[_LOOKS[name][0]]
        with matplotlib.rc_context(STYLE):
            drawing = Figure(figsize=(3.0, 2.1), layout="constrained")
            axes = drawing.subplots()
            for run in runs:
                axes.plot(range(1, len(run) + 1), run, color=colour, alpha=0.7, linewidth=0.9)
            mean = [sum(step) / len(step) for step in zip(*runs, strict=False)]
            axes.plot(range(1, len(mean) + 1), mean, color=colour, linewidth=2.2)
            axes.set_xlim(1 - 0.02 * longest, 1 + 1.02 * (longest - 1) + 0.02)
            axes.set_ylim(low - margin, top + margin)
            axes.set_title(title(name), loc="left", fontsize=11)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5))
            unit = readable(axes.yaxis, (low, top))
            axes.grid()
        ends = [f"{min(finite):.3g}" for run in runs if (finite := [v for v in run if v == v])]
        alt = f"Validation loss of {title(name)} by epoch; best value of each seed: " + (
            ", ".join(ends) or "none"
        )
        pictures.append(figure(drawing, "", alt))
    text = (
        f"Validation loss ({metrics['loss']}{unit}) by epoch, on one scale: thin lines are seeds, "
        "the thick line is their mean for as long as every seed was training. Values far above the "
        "others, at the start of training, are cut off."
    )
    if TREES in found:
        text += f" {title(TREES).capitalize()} have no epochs, and no curve."
    return [text, gallery(pictures)]


def calibrated(metrics: Metrics) -> list[str | Markup]:
    """What was predicted beside what came, for every candidate but the oracle."""
    import matplotlib
    from matplotlib.figure import Figure

    usable = [name for name in present(metrics) if name != CEILING]
    found = {
        name: record
        for name in usable
        if (record := metrics["candidates"][name]["calibration"]) is not None
    }
    if not found:
        return ["No candidate has finite predictions."]
    ends = [v for record in found.values() for v in (*record["predicted"], *record["observed"])]
    low, top = min(ends), max(ends)
    margin = 0.05 * (top - low) or 0.05
    pictures = []
    for name, record in found.items():
        colour, marker = COLOURS[_LOOKS[name][0]], _LOOKS[name][1]
        with matplotlib.rc_context(STYLE):
            drawing = Figure(figsize=(3.0, 2.6), layout="constrained")
            axes = drawing.subplots()
            axes.plot([low, top], [low, top], color="#8a8f98", linestyle="--", linewidth=1)
            axes.plot(
                record["predicted"], record["observed"], marker, color=colour, markersize=4,
                linestyle="-", linewidth=1.2,
            )  # fmt: skip
            axes.set_xlim(low - margin, top + margin)
            axes.set_ylim(low - margin, top + margin)
            axes.set_title(title(name), loc="left", fontsize=11)
            axes.locator_params(nbins=4)
            axes.set_xlabel("predicted" + readable(axes.xaxis, (low, top)))
            axes.set_ylabel("observed" + readable(axes.yaxis, (low, top)))
            axes.grid()
        error = f"mean distance from the diagonal {number(record['error'])}"
        pictures.append(figure(drawing, "", f"Calibration of {title(name)}: {error}."))
    classes = metrics["data"]["classes"]
    if classes is None:
        what = "the predicted number and the mean of the label"
    elif len(classes) == 2:
        what = f"the predicted chance of “{classes[1]}” and how often it came"
    else:
        what = "the predicted chance of the most probable class and how often it was right"
    missing = [title(name) for name in usable if name not in found]
    errors = "; ".join(f"{title(n)} {score(record['error'])}" for n, record in found.items())
    return [
        "The test rows of all seeds, from the smallest prediction to the largest, in ten parts of "
        f"equally many. Every point is a part: {what}. On the dashed line the two agree; above "
        "it the predictions are too low, below it too high.",
        gallery(pictures),
        f"Mean distance from the line: {errors}.",
        *([f"No finite predictions: {joined(missing)}."] if missing else []),
    ]
