"""The tables of the report: what each candidate scored, and how it was trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._bootstrap import IntervalRecord
from ..export._frame import bullets, stacked, table
from ._metrics import (
    BASELINE,
    CANDIDATES,
    CEILING,
    PATIENCE,
    CandidateRecord,
    Metrics,
)
from ._wording import MAIN, METRICS, counted, joined, number, percent, present, score, title

if TYPE_CHECKING:
    from markupsafe import Markup


def scores_table(metrics: Metrics) -> Markup:
    """Candidates by test metrics: first the loss that is compared, and the gain in it."""
    main = MAIN[metrics["loss"]]
    names = present(metrics)
    found = {key for name in names for key in metrics["candidates"][name]["test"]}
    others = [key for key in METRICS if key in found and key != main]
    rows = []
    for name in names:
        candidate = metrics["candidates"][name]
        gain = "baseline" if name == BASELINE else _cell(candidate["gain"])
        test = candidate["test"]
        cells = [_cell(test.get(key)) for key in others]
        rows.append([title(name), _cell(test.get(main)), gain, *cells])
    head = ["candidate", metrics["loss"], "less than no teacher by", *(METRICS[k] for k in others)]
    seeds = counted(len(metrics["settings"]["seeds"]), "seed")
    rows_of_test = counted(metrics["split"]["test"], "test row")
    caption = f"Mean over {seeds} and {rows_of_test}; below it the 95 % interval."
    if main == "squared_error":
        caption += " Squared error is in squared units of the label, RMSE and MAE in its units."
    return table(head, rows, caption=caption)


def persistence(metrics: Metrics) -> list[str]:
    """Of a series of numbers: how far the best candidate is from predicting no change."""
    same = metrics["persistence"]
    if same is None:
        return []
    said = (
        f"The prediction that “{metrics['data']['label']}” stays as it is has a {metrics['loss']} "
        f"of {score(same)} on test rows."
    )
    able: dict[str, tuple[float, float]] = {}
    for name in present(metrics):
        test = metrics["candidates"][name]["test"].get(MAIN[metrics["loss"]])
        chosen_by = metrics["candidates"][name]["validation"]
        if name != CEILING and chosen_by is not None and test and test["mean"] is not None:
            able[name] = chosen_by, test["mean"]
    if not able:
        return [f"{said} No candidate has a result to compare with it."]
    best = min(able, key=lambda name: able[name][0])
    loss, who = able[best][1], f"the best on validation rows ({title(best)})"
    if loss < same:
        return [f"{said} Of all but the oracle, {who} has {percent(1 - loss / same)} less."]
    if loss == same:
        return [f"{said} Of all but the oracle, {who} does no better."]
    more = percent(loss / same - 1) + " more" if same else "more"
    return [f"{said} Of all but the oracle, {who} has {more}: better predict no change."]


def _cell(interval: IntervalRecord | None) -> Markup | str:
    if interval is None or interval["mean"] is None:
        return "–"
    span = f"{score(interval['low'])} to {score(interval['high'])}"
    return stacked(score(interval["mean"]), span)


def training(metrics: Metrics) -> list[str | Markup]:
    """Chosen settings, how long each run took, and what failed."""
    names = present(metrics)
    found = [metrics["candidates"][name] for name in names]
    keys = list(dict.fromkeys(key for candidate in found for key in candidate["settings"]))

    def row(what: str, cells: Iterable[str]) -> list[str]:
        return [what, *cells]

    rows = [row(k, (number(c["settings"].get(k)) for c in found)) for k in keys]
    rows += [
        row("validation loss", (score(c["validation"]) for c in found)),
        row("trials", (number(len(c["trials"])) for c in found)),
        row("failed trials", (number(_failed(c)) for c in found)),
        row(
            "epochs or trees, per seed",
            (", ".join(str(s["epochs"]) for s in c["seeds"]) for c in found),
        ),
        row("runs cut short, of all finalists", (number(c["cut_short"]) for c in found)),
        row("skipped meta-steps", (number(_skipped(c)) for c in found)),
    ]
    head = ["setting", *map(title, names)]
    how = (
        "The settings were fixed; nothing was searched."
        if metrics["settings"]["quick"]
        else "Of each candidate's search the three settings with the least validation loss were "
        "trained with every seed; shown are those with the least mean over the seeds."
    )
    caption = "Chosen settings, per candidate; a dash where a candidate has no such setting."
    return [how, table(head, rows, caption=caption), _troubles(metrics)]


def _troubles(metrics: Metrics) -> str | Markup:
    said = []
    early = [name for name in present(metrics) if metrics["candidates"][name]["cut_short"]]
    if early:
        which = "; ".join(
            f"{title(n)} ({counted(metrics['candidates'][n]['cut_short'], 'run')})" for n in early
        )
        said.append(
            f"Cut short, they or their teacher: not yet {PATIENCE} epochs without a gain when the "
            f"budget of {metrics['settings']['epochs']} epochs (or of trees) ended: {which}."
        )
    for name in CANDIDATES:
        if name not in metrics["candidates"]:
            said.append(f"{title(name)}: was not run.")
            continue
        candidate = metrics["candidates"][name]
        failed, skipped = _failed(candidate), _skipped(candidate)
        lost = [run["seed"] for run in candidate["seeds"] if run["validation"] is None]
        trials = counted(len(candidate["trials"]), "trial")
        if failed:
            said.append(f"{title(name)}: {failed} of {trials} failed or diverged.")
        if lost or not candidate["seeds"]:
            which = "every seed" if not candidate["seeds"] else _seeds(lost)
            said.append(f"{title(name)}: no finite result for {which}.")
        if skipped:
            steps = counted(skipped, "meta-step")
            said.append(
                f"{title(name)}: {steps} skipped, because inner steps diverged; after each the "
                "inner learning rate was halved."
            )
    nothing = "No trial failed, no run was cut short, and no meta-step was skipped."
    return bullets(said) if said else nothing


def _seeds(seeds: list[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {joined(seeds)}"


def _failed(candidate: CandidateRecord) -> int:
    return sum(trial["validation"] is None for trial in candidate["trials"])


def _skipped(candidate: CandidateRecord) -> int:
    return sum(run["skipped_meta_steps"] for run in candidate["seeds"])
