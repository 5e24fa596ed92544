"""``report.html`` of ``didact fit-dynamics``, from ``metrics.json`` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._checks import invalid
from ..export import Section, bullets, callout, code, page, table
from ._figures import curves, example, learning, skips

if TYPE_CHECKING:
    from markupsafe import Markup

FORMAT = "dynamics 2"
KEYS = (
    "command", "versions", "data", "settings", "grid", "calls", "rival", "candidates", "deployed",
    "example", "verdict",
)  # fmt: skip
_READ = (
    "A model predicts a frame from BEFORE; applied to its own predictions, it says where a "
    "trajectory goes. A fixed step is trained on the frame so many frames later. An adaptive step "
    "is trained on that frame of the next ones which it predicts best, and so learns to leave out "
    "what is hard to predict and does not matter. "
    "The end error is the least distance to a trajectory's last frame that a model comes to from "
    "FIRST, within so many calls of itself; it is a mean square, and shown as a share of the "
    "error of a model that stays where it is. The path error is the mean distance along the best "
    "alignment of predictions with ever later frames. Neither asks when the model arrives: an "
    "adaptive model does not say. "
    "Settings, epochs, the fixed step of the verdict and the model that is exported were chosen on "
    "validation trajectories; errors on this page, but for learning curves, are of test "
    "trajectories, which had no part in any choice. The interval is over test trajectories and "
    "runs."
)
_USE = """\
import onnxruntime

model = onnxruntime.InferenceSession("DIR/rollout.onnx")
(frames,) = model.run(None, {"x": first})  # SHAPE → [batch, CALLS, …]"""
_STEP = """\
import onnxruntime

model = onnxruntime.InferenceSession("DIR/step.onnx")
(after,) = model.run(None, {"x": x})  # SHAPE → one call"""
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
        didact._checks.InvalidInput: Parameter `metrics` should be of format 'dynamics 2'. Found 1.
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
    snippet = _USE if deployed["rollout_onnx"] else _STEP
    use, torch = (t.replace("SHAPE", shape).replace("CALLS", calls) for t in (snippet, _TORCH))
    return page(
        f"Where does it go? {data['file']}",
        [
            Section("", lead),
            Section("Error against calls", [curves(metrics), _table(metrics)]),
            Section("How far a step goes", skips(metrics)),
            Section("One trajectory", example(metrics)),
            Section("Learning curves", learning(metrics)),
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
            Section("How to read this page", _read(data["context"])),
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
    return "–" if value is None else f"{value:z.3f}"


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
    if data["unit"] != 1:
        return f"Pictures go in and out as floats in [0, {data['unit']}], channels first."
    if data["columns"] is None:
        return "Pictures go in and out as numbers in [0, 1], channels first."
    return f"States go in and out in the recordings' own units: {', '.join(data['columns'])}."


def _chosen(trials: int) -> str:
    return "The defaults" if trials == 1 else f"Chosen of {trials} settings each"


def _read(context: int) -> str:
    seen = (
        ("the one before", "its first")
        if context == 1
        else (f"the {context} before", f"its first {context}")
    )
    return _READ.replace("BEFORE", seen[0]).replace("FIRST", seen[1])


def _data(metrics: dict[str, Any]) -> list[str | Markup]:
    data = metrics["data"]
    columns = data["columns"]
    rows = [
        ["file", data["file"]],
        ["SHA-256", data["sha256"]],
        ["frames", str(data["frames"])],
        ["a frame", ", ".join(columns) if columns else f"picture {data['frame']}"],
        *([["a trajectory", f"rows of equal {data['group']}"]] if data["group"] else []),
        *([["a trajectory", f"{data['length']} rows on end"]] if data["length"] else []),
        ["trajectories", ", ".join(f"{n} {part}" for part, n in data["trajectories"].items())],
        ["longest skip", f"{data['horizon']} frames"],
        ["context", "1 frame" if data["context"] == 1 else f"{data['context']} frames"],
    ]
    said: list[str | Markup] = [table(["what", "found"], rows, align="ll")]
    return [*said, bullets(data["warnings"])] if data["warnings"] else said
