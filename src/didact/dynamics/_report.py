"""``report.html`` of ``didact fit-dynamics``, from ``metrics.json`` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._checks import invalid
from ..export import COLOURS, STYLE, Section, bullets, callout, code, figure, page, table

if TYPE_CHECKING:
    from markupsafe import Markup

FORMAT = "dynamics 1"
KEYS = (
    "command", "versions", "data", "settings", "grid", "calls", "rival", "candidates", "deployed",
    "verdict",
)  # fmt: skip
_READ = (
    "A model predicts a frame from the one before; applied to its own predictions, it says where a "
    "trajectory goes. A fixed step is trained on the frame so many frames later. An adaptive step "
    "is trained on that frame of the next ones which it predicts best, and so learns to leave out "
    "what is hard to predict and does not matter. "
    "The end error is the least distance to a trajectory's last frame that a model comes to from "
    "its first, within so many calls of itself; it is a mean square, and shown as a share of the "
    "error of a model that stays where it is. The path error is the mean distance along the best "
    "alignment of predictions with ever later frames. Neither asks when the model arrives: an "
    "adaptive model does not say. "
    "Settings, the fixed step of the verdict and the model that is exported were chosen on "
    "validation trajectories; errors on this page, but for learning curves, are of test "
    "trajectories, which had no part in any choice. The interval is over test trajectories and "
    "runs."
)
_USE = """\
import onnxruntime

model = onnxruntime.InferenceSession("DIR/rollout.onnx")
(frames,) = model.run(None, {"x": first})  # SHAPE → [batch, CALLS, …]"""
_TORCH = """\
from didact.export import load_pt2

step, about = load_pt2("DIR/step.pt2")
after = step(x)  # SHAPE → one call"""


def dynamics_report(metrics: dict[str, Any]) -> str:
    """The page that ``didact fit-dynamics`` leaves: one HTML file, nothing else needed.

    Args:
        metrics: the content of ``metrics.json``.

    Returns:
        The page, to be written as UTF-8; the same metrics give the same bytes.

    Raises:
        InvalidInput: another format, or a part is missing.

    Example:
        >>> dynamics_report({"format": 1})
        Traceback (most recent call last):
        ...
        didact._checks.InvalidInput: Parameter `metrics` should be of format 'dynamics 1'. Found 1.
    """
    if not isinstance(metrics, dict) or metrics.get("format") != FORMAT:
        found = metrics.get("format") if isinstance(metrics, dict) else metrics
        raise invalid("metrics", f"of format {FORMAT!r}", found)
    if missing := [key for key in KEYS if key not in metrics]:
        raise invalid("metrics", "complete", f"no {', '.join(missing)}")
    data, settings, deployed = metrics["data"], metrics["settings"], metrics["deployed"]
    lead = [callout(metrics["verdict"]["sentence"])]
    if settings["quick"]:
        banner = "Demonstration: fixed settings, no search. Do not decide anything by this page."
        lead.insert(0, callout(banner, "banner"))
    shape = ", ".join(map(str, data["frame"]))
    shape = f"[batch, {shape}]" if data["context"] == 1 else f"[batch, {data['context']}, {shape}]"
    calls = str(metrics["calls"])
    use, torch = (t.replace("SHAPE", shape).replace("CALLS", calls) for t in (_USE, _TORCH))
    return page(
        f"Where does it go? {data['file']}",
        [
            Section("", lead),
            Section("Error against calls", [_curves(metrics), _table(metrics)]),
            Section("How far a step goes", _skips(metrics)),
            Section("Learning curves", _learning(metrics)),
            Section("Settings", _settings(metrics)),
            Section("Data", _data(metrics)),
            Section(
                "Use the model",
                [
                    f"Exported is {deployed['candidate']}, seed {deployed['seed']}: of the two in "
                    "the verdict it has the smaller validation error with as many calls. "
                    f"{_units(data)}",
                    code(use),
                    code(torch),
                ],
            ),
            Section("How to read this page", _READ),
            Section(
                "Repeat this run",
                [
                    code(metrics["command"]),
                    f"didact {metrics['didact']}, "
                    + ", ".join(f"{n} {v}" for n, v in metrics["versions"].items())
                    + f"; device {settings['device']}; seeds "
                    + ", ".join(map(str, settings["seeds"])),
                ],
            ),
        ],
        subtitle=f"didact fit-dynamics: skips of up to {data['horizon']} frames",
        footer="Built from metrics.json; no script, and nothing is loaded from elsewhere.",
    )


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _coloured(metrics: dict[str, Any]) -> dict[str, str]:
    names = list(COLOURS.values())
    return {name: names[k % len(names)] for k, name in enumerate(metrics["candidates"])}


def _axes(size: tuple[float, float], panels: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=size, layout="constrained")
    return drawing, list(drawing.subplots(1, panels, squeeze=False)[0])


def _curves(metrics: dict[str, Any]) -> Markup:
    import matplotlib

    colours = _coloured(metrics)
    with matplotlib.rc_context(STYLE):
        drawing, (end, path) = _axes((9, 3.4), 2)
        for name, of in metrics["candidates"].items():
            calls = range(1, len(of["ends"]) + 1)
            style = {"color": colours[name], "linewidth": 2.4 if name == "adaptive" else 1.3}
            end.plot(calls, of["ends"], label=name, **style)
            known = [(c, p) for c, p in zip(metrics["grid"], of["paths"], strict=True)
                     if p is not None]  # fmt: skip
            path.plot(*zip(*known, strict=True), marker="o", markersize=3, **style)
        for axes, title in ((end, "end error"), (path, "path error")):
            axes.axvline(metrics["calls"], color="#8a8f98", linewidth=0.8, linestyle=":")
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:.0f}")
            axes.set_xlabel("calls of the model")
            axes.set_title(f"{title}, share of standing still", fontsize=10)
            axes.grid(axis="y")
        low = min(min(of["ends"]) for of in metrics["candidates"].values())
        if low > 0 and low < 0.05:
            end.set_yscale("log")
        end.legend(fontsize=8)
    said = "; ".join(
        f"{name} {of['at_calls']:.3f}" for name, of in metrics["candidates"].items()
    )  # fmt: skip
    return figure(
        drawing,
        "How near models come to test trajectories with so many calls; dotted: the calls of the "
        "verdict.",
        f"End error with {metrics['calls']} calls: {said}.",
    )


def _table(metrics: dict[str, Any]) -> Markup:
    rows = [
        [name, _shown(of["at_calls"]), f"{of['own']['calls']:.1f}", _shown(of["own"]["end"]),
         _shown(of["paths"][-1])]
        for name, of in metrics["candidates"].items()
    ]  # fmt: skip
    head = [
        "steps", f"end error, {metrics['calls']} calls", "own calls a trajectory",
        "end error with these", "path error, as many calls as frames",
    ]  # fmt: skip
    return table(head, rows, caption="Shares of standing still's end error; test trajectories.")


def _skips(metrics: dict[str, Any]) -> list[str | Markup]:
    import matplotlib

    counts = metrics["candidates"]["adaptive"]["skips"]
    total = sum(counts)
    with matplotlib.rc_context(STYLE):
        drawing, (axes,) = _axes((6, 2.4))
        shares = [count / total for count in counts]
        axes.bar(range(1, len(counts) + 1), shares, color=COLOURS["blue"])
        axes.set_xlabel("frames")
        axes.set_ylabel("share of steps")
    mean = sum((k + 1) * count for k, count in enumerate(counts)) / total
    alt = f"Adaptive steps go {mean:.1f} frames in the mean."
    return [alt, figure(drawing, "Frames of an adaptive step on test trajectories.", alt)]


def _learning(metrics: dict[str, Any]) -> Markup:
    import matplotlib

    colours = _coloured(metrics)
    with matplotlib.rc_context(STYLE):
        drawing, (axes,) = _axes((6, 3))
        for name, of in metrics["candidates"].items():
            for k, curve in enumerate(of["curves"]):
                axes.plot(
                    range(1, len(curve) + 1), curve, color=colours[name], linewidth=1,
                    label=name if k == 0 else None,
                )  # fmt: skip
        axes.set_xlabel("epoch")
        axes.set_yscale("log")
        axes.legend(fontsize=8)
    return figure(
        drawing,
        "Validation: end error at the model's own pace, share of standing still; a line a run.",
        "Validation errors fall with the epochs.",
    )


def _settings(metrics: dict[str, Any]) -> list[str | Markup]:
    names = ["learning_rate", "exploration", "teacher_forcing"]
    rows = [
        [name, *(f"{of['settings'][n]:.3g}" if n in of["settings"] else "–" for n in names)]
        for name, of in metrics["candidates"].items()
    ]
    settings = metrics["settings"]
    said: list[str | Markup] = [
        table(
            ["steps", *(n.replace("_", " ") for n in names)], rows,
            caption=f"{_chosen(settings['trials'])}; {settings['epochs']} epochs.",
        )
    ]  # fmt: skip
    errors = [f"{n}: {e}" for n, of in metrics["candidates"].items() for e in of["errors"]]
    return [*said, bullets(errors)] if errors else said


def _units(data: dict[str, Any]) -> str:
    if data["columns"] is None:
        return "Pictures go in and out as numbers in [0, 1], channels first."
    return f"States go in and out in the recordings' own units: {', '.join(data['columns'])}."


def _chosen(trials: int) -> str:
    return "The defaults" if trials == 1 else f"Chosen of {trials} settings each"


def _data(metrics: dict[str, Any]) -> list[str | Markup]:
    data = metrics["data"]
    columns = data["columns"]
    rows = [
        ["file", data["file"]],
        ["SHA-256", data["sha256"]],
        ["frames", str(data["frames"])],
        ["a frame", ", ".join(columns) if columns else f"picture {data['frame']}"],
        ["trajectories", ", ".join(f"{n} {part}" for part, n in data["trajectories"].items())],
        ["longest skip", f"{data['horizon']} frames"],
        ["context", f"{data['context']} frames"],
    ]
    said: list[str | Markup] = [table(["what", "found"], rows, align="ll")]
    return [*said, bullets(data["warnings"])] if data["warnings"] else said
