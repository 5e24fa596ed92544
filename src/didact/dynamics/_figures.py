"""Figures of the report of ``didact fit-dynamics``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..export import COLOURS, STYLE, figure

if TYPE_CHECKING:
    from markupsafe import Markup


def _coloured(metrics: dict[str, Any]) -> dict[str, str]:
    names = list(COLOURS.values())
    return {name: names[k % len(names)] for k, name in enumerate(metrics["candidates"])}


def _axes(size: tuple[float, float], panels: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=size, layout="constrained")
    return drawing, list(drawing.subplots(1, panels, squeeze=False)[0])


def curves(metrics: dict[str, Any]) -> Markup:
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


def skips(metrics: dict[str, Any]) -> list[str | Markup]:
    import matplotlib

    counts = metrics["candidates"]["adaptive"]["skips"]
    total = sum(counts)
    with matplotlib.rc_context(STYLE):
        drawing, (axes,) = _axes((6, 2.4))
        shares = [count / total for count in counts]
        axes.bar(range(1, len(counts) + 1), shares, color=COLOURS["blue"])
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("frames")
        axes.set_ylabel("share of steps")
    mean = sum((k + 1) * count for k, count in enumerate(counts)) / total
    alt = f"Adaptive steps go {mean:.1f} frames in the mean."
    return [alt, figure(drawing, "Frames of an adaptive step on test trajectories.", alt)]


def example(metrics: dict[str, Any]) -> list[str | Markup]:
    context = metrics["data"]["context"]
    first = "first frame" if context == 1 else f"first {context} frames"
    said = (
        f"The first test trajectory, and what the best run of either makes of it from its {first} "
        "alone. Each prediction stands at the frame that the training loss would take it for."
    )
    draw = _strips if "pictures" in metrics["example"] else _lines
    return [said, draw(metrics)]


def _strips(metrics: dict[str, Any]) -> Markup:
    import base64
    import io

    import matplotlib

    pictures = metrics["example"]["pictures"]
    with matplotlib.rc_context(STYLE):
        from matplotlib.figure import Figure

        drawing = Figure(figsize=(9, 2.6 * len(pictures)), layout="constrained")
        every = drawing.subplots(len(pictures), 1, squeeze=False)[:, 0]
        for axes, (name, of) in zip(every, pictures.items(), strict=True):
            image = matplotlib.image.imread(io.BytesIO(base64.b64decode(of["strip"])))
            axes.imshow(image, interpolation="nearest")
            axes.set_axis_off()
            at = ", ".join(str(t + 1) for t in of["at"])
            axes.set_title(f"{name}: predicted; below, frames {at}", fontsize=9)
    alt = "Predicted pictures of one test trajectory above the recorded ones."
    return figure(drawing, "Predictions, at most eight, above what they are taken for.", alt)


def _lines(metrics: dict[str, Any]) -> Markup:
    import matplotlib

    example, names = metrics["example"], metrics["data"]["columns"]
    colours = _coloured(metrics)
    with matplotlib.rc_context(STYLE):
        drawing, every = _axes((9, 2.6), len(example["columns"]))
        for k, (axes, column) in enumerate(zip(every, example["columns"], strict=True)):
            values = [row[k] for row in example["recorded"]]
            frames = [t + 1 for t in example["frames"]]
            axes.plot(frames, values, color="#8a8f98", linewidth=2.4, label="recorded")
            for name, of in example["states"].items():
                known = [(t + 1, row[k]) for t, row in zip(of["at"], of["made"], strict=True)
                         if row[k] is not None]  # fmt: skip
                if known:
                    axes.plot(*zip(*known, strict=True), marker="o", markersize=3, linewidth=0.8,
                              color=colours[name], label=name)  # fmt: skip
            axes.set_title(names[column], fontsize=9)
            axes.set_xlabel("frame")
        every[0].legend(fontsize=7)
    alt = "Predictions of one test trajectory beside what was recorded."
    return figure(drawing, "The columns that change most, at most four.", alt)


def learning(metrics: dict[str, Any]) -> Markup:
    import matplotlib

    colours = _coloured(metrics)
    with matplotlib.rc_context(STYLE):
        drawing, (axes,) = _axes((6, 3))
        for name, of in metrics["candidates"].items():
            for k, curve in enumerate(of["curves"]):
                axes.plot(
                    range(1, len(curve) + 1), [math.nan if v is None else v for v in curve],
                    color=colours[name], linewidth=1,
                    label=name if k == 0 else None,
                )  # fmt: skip
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("epoch")
        axes.set_yscale("log")
        drawing.legend(fontsize=8, loc="outside right upper")
    return figure(
        drawing,
        f"Validation: end error, share of standing still; a line a run. {_paces(metrics)}",
        "Validation errors fall with the epochs.",
    )


def _paces(metrics: dict[str, Any]) -> str:
    if metrics["settings"]["calls"] is not None:
        return f"With {metrics['calls']} calls."
    return f"Fixed steps with {metrics['calls']} calls, adaptive ones with as many as they need."
