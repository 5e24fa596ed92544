"""The tables of the report: scores by environment, gains, and what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._bootstrap import IntervalRecord
from ...export._frame import bullets, stacked, table
from .._metrics import PATIENCE
from .._wording import counted, number, percent, score, title
from ._figure import metric_title, present, shown_metrics
from ._metrics import (
    CANDIDATES,
    NETWORKS,
    PLAIN,
    ChoiceRecord,
    EnvironmentMetrics,
    WorstRecord,
)

if TYPE_CHECKING:
    from markupsafe import Markup


def scores_tables(metrics: EnvironmentMetrics) -> list[Markup]:
    """A table for the loss, and one for what people read beside it."""
    return [_scores(metrics, metric) for metric in shown_metrics(metrics)]


def _scores(metrics: EnvironmentMetrics, metric: str) -> Markup:
    names, found = present(metrics), metrics["candidates"]
    rows: list[list[object]] = [
        [e["name"], *(_cell(found[n]["test"][e["name"]].get(metric)) for n in names)]
        for e in metrics["environments"]
    ]
    rows.append(["mean", *(_cell(found[n]["mean"].get(metric)) for n in names)])
    rows.append(["worst", *(_cell(found[n]["worst"].get(metric)) for n in names)])
    seeds = counted(len(metrics["settings"]["seeds"]), "seed")
    what = metric_title(metric, metrics)
    caption = (
        f"{what[0].upper()}{what[1:]} where it was left out, mean over {seeds}; below it the 95 % "
        "interval."
    )
    head = [metrics["data"]["environment"], *map(title, names)]
    return table(head, rows, caption=caption)


def gains_table(metrics: EnvironmentMetrics) -> Markup:
    """How much less loss each candidate has than plain training."""
    names = [name for name in present(metrics) if name != PLAIN]
    gains = {name: metrics["candidates"][name]["gain"] for name in names}
    rows: list[list[object]] = [
        [e["name"], *(_cell(g and g["environments"][e["name"]]) for g in gains.values())]
        for e in metrics["environments"]
    ]
    rows.append(["mean", *(_cell(g and g["mean"]) for g in gains.values())])
    rows.append(["worst", *(_cell(g and g["worst"]) for g in gains.values())])
    level = percent(metrics["verdict"]["level"])
    caption = (
        f"{metrics['loss'].capitalize()} less than plain training has (positive is good), on the "
        f"same rows; below it the {level} interval, so that those of the three methods hold at "
        "once. In the last row the worst of one is taken from the worst of the other."
    )
    return table([metrics["data"]["environment"], *map(title, names)], rows, caption=caption)


def _cell(interval: IntervalRecord | WorstRecord | None) -> Markup | str:
    if interval is None or interval["mean"] is None:
        return "–"
    ends = f"{score(interval['low'])} to {score(interval['high'])}"
    return stacked(score(interval["mean"]), ends)


def chosen(metrics: EnvironmentMetrics) -> list[str | Markup]:
    """What stands behind each choice: the loss on what was held out, and the epochs."""
    found, trials = metrics["candidates"], metrics["settings"]["trials"]
    places = range(len(found[PLAIN]["choices"]))
    rows: list[list[object]] = [
        [
            ", ".join(found[PLAIN]["choices"][place]["left_out"]),
            *(_choice(found[name]["choices"][place], name) for name in CANDIDATES),
        ]
        for place in places
    ]
    rows.append(["none (the model)", *(_choice(found[n]["final"], n) for n in CANDIDATES)])
    how = (
        "The settings were fixed, the number of epochs chosen."
        if metrics["settings"]["quick"]
        else f"{counted(trials, 'trial')} for each candidate: the defaults, and settings drawn at "
        "random, the same for all networks in what they share."
    )
    caption = (
        f"Mean {metrics['loss']} on the other environments, each held out in turn, with what was "
        "chosen; below it the number of epochs and of the trial. The lines differ in the rows they "
        "are of; nothing is claimed from them."
    )
    said: list[str | Markup] = [
        how,
        table(["left out", *map(title, CANDIDATES)], rows, caption=caption),
    ]
    if troubles := _troubles(metrics):
        said.append(bullets(troubles))
    return said


def _choice(choice: ChoiceRecord, candidate: str) -> Markup | str:
    if choice["validation"] is None:
        return "–"
    epochs = f"{counted(choice['epochs'], 'epoch')}, " if candidate in NETWORKS else ""
    return stacked(score(choice["validation"]), f"{epochs}trial {choice['trial']}")


def _troubles(metrics: EnvironmentMetrics) -> list[str]:
    said = []
    for name in CANDIDATES:
        record = metrics["candidates"][name]
        failed = sum(None in trial["validation"] for trial in record["trials"])
        if failed:
            trials = counted(len(record["trials"]), "trial")
            said.append(f"{title(name)}: {failed} of {trials} diverged in a run.")
        if not record["test"]:
            said.append(f"{title(name)}: no finite result, and not shown above.")
        short = sum(choice["cut_short"] for choice in record["choices"])
        if short:
            said.append(
                f"{title(name)}: {counted(short, 'run')} by which settings were chosen had not "
                f"gone {PATIENCE} epochs without a gain when the budget of "
                f"{metrics['settings']['epochs']} epochs ended."
            )
    return said


def settings_table(metrics: EnvironmentMetrics) -> Markup:
    """The settings that were chosen with nothing left out."""
    found = {name: metrics["candidates"][name]["final"]["settings"] for name in CANDIDATES}
    keys = list(dict.fromkeys(key for settings in found.values() for key in settings))
    rows = [[key, *(number(settings.get(key)) for settings in found.values())] for key in keys]
    caption = "Settings with no environment left out; a dash where a candidate has no such setting."
    return table(["setting", *map(title, CANDIDATES)], rows, caption=caption)
