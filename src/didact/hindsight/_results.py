"""The tables of the report: what each candidate scored, and how it was trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..export._frame import bullets, stacked, table
from ._metrics import BASELINE, CANDIDATES, CandidateRecord, IntervalRecord, Metrics
from ._wording import MAIN, METRICS, counted, joined, number, present, score, title

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
        row("ended too early", (number(sum(s["cut_short"] for s in c["seeds"])) for c in found)),
        row("skipped meta-steps", (number(_skipped(c)) for c in found)),
    ]
    head = ["setting", *map(title, names)]
    how = (
        "The settings were fixed; nothing was searched."
        if metrics["settings"]["quick"]
        else "The settings of each candidate are those of its trial with the least validation loss."
    )
    return [how, table(head, rows, caption="Chosen settings, per candidate"), _troubles(metrics)]


def _troubles(metrics: Metrics) -> str | Markup:
    said = []
    for name in CANDIDATES:
        if name not in metrics["candidates"]:
            said.append(f"{title(name)}: was not run.")
            continue
        candidate = metrics["candidates"][name]
        failed, skipped = _failed(candidate), _skipped(candidate)
        lost = [run["seed"] for run in candidate["seeds"] if run["validation"] is None]
        early = [run["seed"] for run in candidate["seeds"] if run["cut_short"]]
        if early:
            said.append(
                f"{title(name)}: cut short by the budget of {metrics['settings']['epochs']} epochs "
                f"with seed {joined(early)}, still improving."
            )
        trials = counted(len(candidate["trials"]), "trial")
        if failed:
            said.append(f"{title(name)}: {failed} of {trials} failed or diverged.")
        if lost or not candidate["seeds"]:
            which = "every seed" if not candidate["seeds"] else f"seed {joined(lost)}"
            said.append(f"{title(name)}: no finite result for {which}.")
        if skipped:
            steps = counted(skipped, "meta-step")
            said.append(f"{title(name)}: {steps} skipped, the meta-gradient was not finite.")
    nothing = "No trial failed, no run was cut short, and no meta-step was skipped."
    return bullets(said) if said else nothing


def _failed(candidate: CandidateRecord) -> int:
    return sum(trial["validation"] is None for trial in candidate["trials"])


def _skipped(candidate: CandidateRecord) -> int:
    return sum(run["skipped_meta_steps"] for run in candidate["seeds"])
