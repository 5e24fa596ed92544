"""The report's section on the privileged columns: what they know, and what was made of it."""

from __future__ import annotations

import math
import statistics
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..export._frame import COLOURS, STYLE, callout, figure
from ._figures import readable
from ._metrics import CEILING, Metrics
from ._probe import given_away, not_told
from ._wording import counted, joined, number, percent, present, title

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_SHOWN = 16
LONGEST_NAME = 28
_AXIS = {"ldt": "share of what the teacher says", CEILING: "rise of {loss}"}
_WHAT = {
    "ldt": "How much of what LDT's teacher says depends on each privileged column (0: it does not "
    "look at it; 1: it looks at nothing else).",
    CEILING: "How much the oracle's {loss} on validation rows rises when a privileged column gets "
    "the values of other rows (0 or less: the oracle does without it).",
}
_UNKNOWN = "not known: there is nothing to explain on these rows"


def predictability(metrics: Metrics) -> list[str | Markup]:
    """How far x* tells the label, and x tells x*."""
    found = metrics["predictability"]
    said: list[str | Markup] = []
    series = metrics["data"]["series"] is not None
    if warning := [*given_away(found["label"], series=series), *not_told(found["label"])]:
        said.append(callout(warning[0], "banner"))
    if found["label"] is None:
        said.append(f"How far the privileged columns alone tell the label is {_UNKNOWN}.")
    else:
        said.append(
            f"Boosted trees on the privileged columns alone explain {_share(found['label'])} of "
            "the label. Explained: by how much their loss on test rows is smaller than that of a "
            "constant."
        )
    known = {name: share for name, share in found["columns"].items() if share is not None}
    if not known:
        return [*said, f"How far the inputs tell the privileged columns is {_UNKNOWN}."]
    middle = statistics.median(known.values())
    of = "the one privileged column that was" if len(known) == 1 else "a privileged column"
    how = "looked at" if len(known) == 1 else f"(median of {counted(len(known), 'column')})"
    said.append(
        f"Boosted trees on the inputs explain {_share(middle)} of {of} {how}. What they do "
        "not tell at all, no student can learn to see; but few rows hide what they tell. On "
        "data like those of the study `hindsight-dials` (512 rows) trees explained 1 to 11 % "
        "where hindsight helped most: "
        "where the inputs determine the privileged columns, and these have none of the label's "
        "luck."
    )
    said.append(
        _bars(
            known,
            "share explained from the inputs",
            "How much of each privileged column boosted trees explain from the inputs; below 0 "
            "they do worse than a constant.",
            COLOURS["blue"],
        )
    )
    if empty := [name for name, share in found["columns"].items() if share is None]:
        said.append(f"Nothing to explain on these rows: {joined(empty)}.")
    return said


def mattered(metrics: Metrics) -> list[str | Markup]:
    """Which privileged columns LDT's teacher and the oracle used."""
    said: list[str | Markup] = []
    for name, colour in (("ldt", "orange"), (CEILING, "green")):
        columns = metrics["candidates"][name]["columns"] if name in present(metrics) else {}
        if columns:
            axis, what = (text[name].format(loss=metrics["loss"]) for text in (_AXIS, _WHAT))
            said.append(_bars(columns, axis, what, COLOURS[colour]))
        else:
            said.append(f"Which columns {title(name)} used is not known: it has no result.")
    return said


def _share(share: float) -> str:
    return "nothing" if share <= 0 else percent(min(share, 1))


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
    names = [_short(name) for name, _ in shown]
    longest = max((len(name) + _wide(name) for name in names), default=0)
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(4.2, 0.9 + 0.24 * len(shown)), layout="constrained")
        axes = drawing.subplots()
        axes.barh(range(len(shown)), [v for _, v in shown], color=colour, height=0.62)
        axes.set_yticks(range(len(shown)), [n.replace("$", r"\$") for n in names])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.axvline(0, color="#8a8f98", linewidth=1)
        axes.locator_params(axis="x", nbins=6 if longest < 16 else 4)
        unit = readable(axes.xaxis, (v for _, v in shown))
        drawing.supxlabel(label + unit, fontsize=10)  # beside long names the axis is short
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    said = "; ".join(f"{name} {number(v)}" for name, v in shown)
    return figure(drawing, caption, f"{label}: {said}.")


def _short(name: str) -> str:
    """A name in one line, of at most 28 letters, wide ones counted twice."""
    line, room = " ".join(name.split()), LONGEST_NAME
    if len(line) + _wide(line) <= room:
        return line
    kept = ""
    for letter in line:
        room -= 1 + _wide(letter)
        if room < 1:
            break
        kept += letter
    return f"{kept}…"


def _wide(text: str) -> int:
    """How many letters are as wide as two."""
    return sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
