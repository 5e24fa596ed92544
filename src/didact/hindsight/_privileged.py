"""The report's section on the privileged columns: what they know, and what was made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..export._frame import COLOURS, STYLE, callout, figure
from ._metrics import CEILING, Metrics
from ._probe import given_away
from ._wording import number, present, title

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_SHOWN = 16
_WHAT = {
    "ldt": "Share of what LDT's teacher says that hangs on each column (0: it does not look at it)",
    CEILING: "Rise of the oracle's {loss} on validation rows when a column is shuffled",
}


def predictability(metrics: Metrics) -> list[str | Markup]:
    """How far x* tells the label, and x tells x*."""
    found = metrics["predictability"]
    said: list[str | Markup] = []
    if warning := given_away(found["label"]):
        said.append(callout(warning[0], "banner"))
    said.append(f"The label from the privileged columns alone: {_share(found['label'])}.")
    known = {name: share for name, share in found["columns"].items() if share is not None}
    if known:
        values = sorted(known.values())
        middle = values[len(values) // 2]
        said.append(
            f"The privileged columns from the inputs: {_share(middle)} of the middle one. What "
            "the inputs tell anyway, hindsight need not teach; what they do not tell at all, no "
            "student can learn to see. Hindsight helps in between."
        )
        said.append(
            _bars(
                known,
                "explained from the inputs",
                "Share of each privileged column that boosted trees explain from the inputs, on "
                "test rows; below zero they do worse than a constant.",
                COLOURS["blue"],
            )
        )
    return said


def mattered(metrics: Metrics) -> list[str | Markup]:
    """Which privileged columns LDT's teacher and the oracle used."""
    said: list[str | Markup] = []
    for name, colour in (("ldt", "orange"), (CEILING, "green")):
        columns = metrics["candidates"][name]["columns"] if name in present(metrics) else {}
        if columns:
            what = _WHAT[name].format(loss=metrics["loss"])
            said.append(_bars(columns, title(name), f"{what}.", COLOURS[colour]))
    return said or ["Which columns mattered is not known: neither ldt nor the oracle has a result."]


def _share(share: float | None) -> str:
    if share is None:
        return "not known (there is nothing to explain on these rows)"
    if share <= 0:
        return "nothing explained"
    return f"{min(share, 1):.0%} explained"


def _bars(values: Mapping[str, float], label: str, caption: str, colour: str) -> Markup:
    """The largest values as horizontal bars, the largest on top."""
    import matplotlib
    from matplotlib.figure import Figure

    ranked = sorted(
        ((name, v) for name, v in values.items() if math.isfinite(v)), key=lambda item: -item[1]
    )
    shown = ranked[:MOST_SHOWN]
    if len(ranked) > len(shown):
        caption += f" The first {len(shown)} of {len(ranked)} columns that were looked at."
    names = [name if len(name) <= 28 else f"{name[:27]}…" for name, _ in shown]
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(4.2, 0.7 + 0.24 * len(shown)), layout="constrained")
        axes = drawing.subplots()
        axes.barh(range(len(shown)), [v for _, v in shown], color=colour, height=0.62)
        axes.set_yticks(range(len(shown)), [n.replace("$", r"\$") for n in names])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.axvline(0, color="#8a8f98", linewidth=1)
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="x")
    said = "; ".join(f"{name} {number(v)}" for name, v in shown)
    return figure(drawing, caption, f"{label}: {said}.")
