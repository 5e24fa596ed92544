"""``report.html`` from ``metrics.json`` alone, so that the page can be built again at any time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from didact._checks import invalid
from didact.export._frame import (
    COLOURS,
    STYLE,
    Section,
    bullets,
    callout,
    code,
    figure,
    gallery,
    page,
    stacked,
    table,
)
from didact.hindsight._metrics import (
    BASELINE,
    CANDIDATES,
    CEILING,
    FORMAT,
    CandidateRecord,
    IntervalRecord,
    Metrics,
)

if TYPE_CHECKING:
    from markupsafe import Markup

_LOOKS = {
    "no_teacher": ("no teacher", "ink", "o"),
    "auxiliary": ("auxiliary", "blue", "s"),
    "fixed_teacher": ("fixed teacher", "purple", "^"),
    "ldt": ("ldt", "orange", "o"),
    "oracle": ("oracle (ceiling)", "green", "D"),
}
_MEANS = {
    "no_teacher": "learns from the inputs alone; the baseline.",
    "auxiliary": "also learns to predict the privileged columns, with a head that is removed.",
    "fixed_teacher": "imitates a random, untrained network that sees the privileged columns; "
    "a control: what any target does, however bad.",
    "ldt": "learning to distill trajectories: imitates a teacher that sees the privileged columns "
    "and was trained to give the targets from which a student learns best.",
    "oracle": "has the privileged columns as inputs. Nobody has them at test time, so it cannot "
    "be used; it shows what could be gained.",
}
_TITLES = {
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "auc": "AUC",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
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
        metrics: the content of ``metrics.json``; the schema is in :mod:`._metrics`.

    Returns:
        The page, to be written as UTF-8; the same metrics give the same bytes.

    Raises:
        InvalidInput: another format, or a part is missing.
        ImportError: matplotlib or jinja2 is not installed; both are in the extra ``fit``.

    Example:
        >>> report({"format": 2})
        Traceback (most recent call last):
        ...
        didact._checks.InvalidInput: Parameter `metrics` should be of format 1. Found 2.
    """
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
            Section("Test loss", [_forest(metrics), _scores(metrics)]),
            Section("Candidates", bullets(f"{_label(n)}: {_MEANS[n]}" for n in _present(metrics))),
            Section("Learning curves", _curves(metrics)),
            Section("Settings and failures", _settings(metrics)),
            Section("Data", _data(metrics)),
            Section("Use the model", _use(metrics)),
            Section("How to read this page", _READ),
            Section("Repeat this run", _repeat(metrics)),
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


def _present(metrics: Metrics) -> list[str]:
    return [name for name in CANDIDATES if name in metrics["candidates"]]


def _label(name: str) -> str:
    return _LOOKS[name][0]


def _number(value: float | int | str | bool | None) -> str:
    """Three digits for people; a dash for null."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ").replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def _score(value: float | None) -> str:
    """Three digits with their zeros, so that 2.10 and 2.13 stand at one width."""
    if value is None or abs(value) >= 1000:
        return _number(value)
    return f"{value:#.3g}".rstrip(".").replace("-", "−")


def _cell(interval: IntervalRecord | None) -> Markup | str:
    if interval is None or interval["mean"] is None:
        return "–"
    span = f"{_score(interval['low'])} to {_score(interval['high'])}"
    return stacked(_score(interval["mean"]), span)


def _counted(number: int, noun: str) -> str:
    return f"{_number(number)} {noun}{'' if number == 1 else 's'}"


def _forest(metrics: Metrics) -> Markup | str:
    import matplotlib
    from matplotlib.figure import Figure

    shown: list[tuple[str, float, float, float]] = []
    for name in _present(metrics):
        loss = metrics["candidates"][name]["test"].get("log_loss")
        if loss is not None and loss["mean"] is not None:
            low, high = (loss["mean"] if v is None else v for v in (loss["low"], loss["high"]))
            shown.append((name, loss["mean"], low, high))
    if not shown:
        return "No candidate has a finite test loss."
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(4.2, 0.75 + 0.34 * len(shown)), layout="constrained")
        axes = drawing.subplots()
        for place, (name, mean, low, high) in enumerate(shown):
            colour, marker = COLOURS[_LOOKS[name][1]], _LOOKS[name][2]
            face = "none" if name == CEILING else colour
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            axes.plot([mean], [place], marker, color=colour, markerfacecolor=face, markersize=7)
            if name == BASELINE:
                axes.axvline(mean, color="#8a8f98", linestyle="--", linewidth=1, zorder=0)
        axes.set_yticks(range(len(shown)), [_label(name) for name, *_ in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=7)
        axes.grid(axis="x")
        axes.set_xlabel(metrics["loss"] + " (less is better)")
    said = "; ".join(f"{_label(n)} {m:.3g} ({a:.3g} to {b:.3g})" for n, m, a, b in shown)
    caption = (
        "Mean test loss of every candidate with its 95 % interval, over rows and seeds. The dashed "
        "line is the baseline; the open diamond is the ceiling. Intervals may overlap and still "
        "differ: the rows are the same, so look at the difference in the table."
    )
    return figure(drawing, caption, f"Test {metrics['loss']}, mean and 95 % interval: {said}.")


def _scores(metrics: Metrics) -> Markup:
    names = _present(metrics)
    found = {key for name in names for key in metrics["candidates"][name]["test"]}
    others = [key for key in _TITLES if key in found and key != "log_loss"]
    rows = []
    for name in names:
        candidate = metrics["candidates"][name]
        gain = "baseline" if name == BASELINE else _cell(candidate["gain"])
        test = candidate["test"]
        cells = [_cell(test.get(key)) for key in others]
        rows.append([_label(name), _cell(test.get("log_loss")), gain, *cells])
    head = ["candidate", "log loss", "less than no teacher by", *(_TITLES[k] for k in others)]
    seeds = _counted(len(metrics["settings"]["seeds"]), "seed")
    rows_of_test = _counted(metrics["split"]["test"], "test row")
    caption = f"Mean over {seeds} and {rows_of_test}; below it the 95 % interval."
    return table(head, rows, caption=caption)


def _curves(metrics: Metrics) -> list[str | Markup]:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves = {
        name: [
            [math.nan if v is None else v for v in run["curve"]["validation"]]
            for run in metrics["candidates"][name]["seeds"]
            if run["curve"]["validation"]
        ]
        for name in _present(metrics)
    }
    values = sorted(v for runs in curves.values() for run in runs for v in run if v == v)
    if not values:
        return ["No validation losses were recorded."]
    low, top = values[0], values[int(0.97 * (len(values) - 1))]
    margin = 0.06 * (top - low) or 0.1
    longest = max(len(run) for runs in curves.values() for run in runs)
    pictures = []
    for name, runs in curves.items():
        if not runs:
            continue
        colour = COLOURS[_LOOKS[name][1]]
        with matplotlib.rc_context(STYLE):
            drawing = Figure(figsize=(3.0, 2.1), layout="constrained")
            axes = drawing.subplots()
            for run in runs:
                axes.plot(range(1, len(run) + 1), run, color=colour, alpha=0.7, linewidth=0.9)
            mean = [sum(step) / len(step) for step in zip(*runs, strict=False)]
            axes.plot(range(1, len(mean) + 1), mean, color=colour, linewidth=2.2)
            axes.set_xlim(1 - 0.02 * longest, 1 + 1.02 * (longest - 1) + 0.02)
            axes.set_ylim(low - margin, top + margin)
            axes.set_title(_label(name), loc="left", fontsize=11)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5))
            axes.grid()
        ends = [f"{min(finite):.3g}" for run in runs if (finite := [v for v in run if v == v])]
        alt = f"Validation loss of {_label(name)} by epoch; best value of each seed: " + (
            ", ".join(ends) or "none"
        )
        pictures.append(figure(drawing, "", alt))
    text = (
        f"Validation loss ({metrics['loss']}) by epoch, on one scale: thin lines are seeds, the "
        "thick line is their mean for as long as every seed was training. Values far above the "
        "others, at the start of training, are cut off."
    )
    return [text, gallery(pictures)]


def _settings(metrics: Metrics) -> list[str | Markup]:
    names = _present(metrics)
    found = [metrics["candidates"][name] for name in names]
    keys = list(dict.fromkeys(key for candidate in found for key in candidate["settings"]))

    def row(title: str, cells: Iterable[str]) -> list[str]:
        return [title, *cells]

    rows = [row(k, (_number(c["settings"].get(k)) for c in found)) for k in keys]
    rows += [
        row("validation loss", (_score(c["validation"]) for c in found)),
        row("trials", (_number(len(c["trials"])) for c in found)),
        row("failed trials", (_number(_failed(c)) for c in found)),
        row("epochs, per seed", (", ".join(str(s["epochs"]) for s in c["seeds"]) for c in found)),
        row("skipped meta-steps", (_number(_skipped(c)) for c in found)),
    ]
    head = ["setting", *map(_label, names)]
    how = (
        "The settings were fixed; nothing was searched."
        if metrics["settings"]["quick"]
        else "The settings of each candidate are those of its trial with the least validation loss."
    )
    return [how, table(head, rows, caption="Chosen settings, per candidate"), _troubles(metrics)]


def _failed(candidate: CandidateRecord) -> int:
    return sum(trial["validation"] is None for trial in candidate["trials"])


def _skipped(candidate: CandidateRecord) -> int:
    return sum(run["skipped_meta_steps"] for run in candidate["seeds"])


def _troubles(metrics: Metrics) -> str | Markup:
    said = []
    for name in CANDIDATES:
        if name not in metrics["candidates"]:
            said.append(f"{_label(name)}: was not run.")
            continue
        candidate = metrics["candidates"][name]
        failed, skipped = _failed(candidate), _skipped(candidate)
        lost = [run["seed"] for run in candidate["seeds"] if run["validation"] is None]
        trials = _counted(len(candidate["trials"]), "trial")
        if failed:
            said.append(f"{_label(name)}: {failed} of {trials} failed or diverged.")
        if lost or not candidate["seeds"]:
            which = "every seed" if not candidate["seeds"] else f"seed {_joined(lost)}"
            said.append(f"{_label(name)}: no finite result for {which}.")
        if skipped:
            steps = _counted(skipped, "meta-step")
            said.append(f"{_label(name)}: {steps} skipped, the meta-gradient was not finite.")
    return bullets(said) if said else "No trial failed, and no meta-step was skipped."


def _joined(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "none"


def _data(metrics: Metrics) -> list[str | Markup]:
    data, split = metrics["data"], metrics["split"]
    parts = ", ".join(f"{_number(split[part])} {part}" for part in ("train", "validation", "test"))
    whole = "; rows of one group stay together" if split["kind"] == "group" else ""
    rows = [
        ["file", data["file"]],
        ["SHA-256", data["sha256"]],
        ["rows", f"{_number(data['rows'])}: {parts}"],
        ["split", f"{split['kind']}, seed {split['seed']}{whole}"],
        ["label", f"{data['label']} ({data['task']})"],
    ]
    if data["classes"] is not None:
        rows.append(["classes", _joined(data["classes"])])
    if data["bins"] is not None:
        rows.append(["bins of the label", _number(data["bins"])])
    if data["group"] is not None:
        rows.append(["group", data["group"]])
    for title, key in (("inputs", "inputs"), ("privileged", "privileged"), ("dropped", "dropped")):
        columns = cast("dict[str, list[str]]", data)[key]
        rows.append([f"{title} ({len(columns)})", _joined(columns)])
    said: list[str | Markup] = [table(["what", "found"], rows, align="ll", caption="The table")]
    return [*said, bullets(data["warnings"]) if data["warnings"] else "No warnings."]


def _use(metrics: Metrics) -> list[str | Markup]:
    chosen = metrics["deployed"]
    inputs = _counted(len(metrics["data"]["inputs"]), "input column")
    return [
        f"The exported student is {_label(chosen['candidate'])}, seed {chosen['seed']}: it has the "
        f"least validation loss ({_score(chosen['validation'])}) of the runs that may be "
        f"deployed. It needs only the {inputs}; a table without the privileged columns will do.",
        bullets(
            [
                "student.onnx: for ONNX Runtime, in any language and without Python.",
                "student.pt2: for PyTorch, read with torch.export.load.",
                "didact predict: prepares a new table as in training and writes predictions.",
            ]
        ),
        code("didact predict --help"),
    ]


def _repeat(metrics: Metrics) -> list[str | Markup]:
    settings = metrics["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())
    return [
        code(metrics["command"]),
        f"didact {metrics['didact']}, {versions}; device {settings['device']}; "
        f"seeds {_joined(settings['seeds'])}.",
    ]
