"""What is predicted, and when: figures 2.7 and 2.8 of the thesis, and films side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..skips import binary_cross_entropy, skip_loss
from ._asi_runs import LARGE, TINY, highest, size_of
from ._asi_runs import Config as Common
from ._asi_search import finals, rounds
from ._asi_training import VALIDATION_SEED, Run, drawn_of, train, unpacked
from ._numbers import markdown
from ._study import Cell, Rounds, Study

FIGURES = {"room-runner": "figure-2.7", "funnel-board": "figure-2.8"}
COLUMNS, PREDICTED = 14, 7
"""Frames of a picture: true ones above, evenly thinned, and predicted ones below."""


@dataclass(frozen=True)
class Config(Common):
    """What is predicted, and when; with the runs of asi-curves, where they are done."""

    seeds: int = 1
    """Repetitions; only the first is drawn."""
    step: int = 1
    """Δ of the fixed steps beside ASI."""


def plan(config: Config, shared: Path) -> Rounds:
    """The search, as in asi-curves, then ASI and fixed steps."""
    return rounds(config, ["ASI", f"Δ = {config.step}"])


def shown(cells: Sequence[Cell]) -> dict[str, dict[str, Cell]]:
    """By world and label the first seed, where it has films."""
    found = {}
    for world, groups in finals(cells).items():
        labels = {
            label: same[0]
            for label, same in groups.items()
            if same[0].record.get("films") and same[0].run.method in ("asi", "fixed")
        }
        if "ASI" in labels:
            found[world] = labels
    return found


def true_film(run: Run, which: int = 0) -> Tensor:
    """A validation trajectory, ``[time, 3, height, width]`` uint8, drawn again from its seed."""
    return drawn_of(run, which + 1, VALIDATION_SEED).film(which)


def matched(true: Tensor, predicted: Tensor, horizon: int, shortest: int) -> list[int]:
    """The true frame that each predicted one is nearest to, step by step, as in training."""
    left = iter(predicted.float() / 255)
    last = predicted[-1:].float() / 255

    def replay(x: Tensor) -> Tensor:
        found = next(left, None)
        return last if found is None else found[None]

    film = true.float()[None] / 255
    found = skip_loss(replay, film, horizon=horizon, shortest=shortest).matched[:, 0].tolist()
    return found[: len(predicted)]


def times(cell: Cell, true: Tensor) -> list[int]:
    """When each prediction of a cell's first film takes place."""
    horizon = cell.run.settings["horizon"]
    shortest = horizon if cell.run.method == "fixed" else 1
    return matched(true, unpacked(cell.record["films"][0]), horizon, shortest)


def table(cells: Sequence[Cell]) -> str:
    """How the first validation trajectory is cut into steps."""
    rows = []
    for world, labels in shown(cells).items():
        true = true_film(next(iter(labels.values())).run)
        for label, cell in labels.items():
            at = times(cell, true)
            skips = [b - a for a, b in zip([0, *at], at, strict=False)]
            told = ", ".join(map(str, skips)) if label.startswith("ASI") else f"{label} each"
            rows.append([world, label, str(len(true)), str(len(at)), told, size_of(cell)])
    header = ["world", "method", "frames", "steps", "frames skipped at each", "size"]
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """A picture for each world, and a film: what is true, what ASI and the smallest Δ predict."""
    drawn: dict[str, Any] = {}
    for world, labels in shown(cells).items():
        true = true_film(labels["ASI"].run)
        drawn[FIGURES[world]] = timeline(true, labels["ASI"])
        parts = [true]
        fixed = sorted(
            (cell.run.settings["horizon"], label)
            for label, cell in labels.items()
            if label[0] == "Δ"
        )
        for label in ["ASI", *(label for _, label in fixed[:1])]:
            film = unpacked(labels[label].record["films"][0])
            at = torch.tensor([0, *times(labels[label], true)])
            # Each is seen from its moment until the next one's.
            now = torch.searchsorted(at, torch.arange(len(true)), right=True) - 1
            parts.append(torch.cat([true[:1], film])[now])
        gap = true.new_full((*true.shape[:3], 2), 128)
        drawn[f"{world}-true-asi-fixed"] = torch.cat(
            [part for film in parts for part in (film, gap)][:-1], 3
        )
    return drawn


def timeline(true: Tensor, cell: Cell) -> Any:
    """True frames above, predicted ones below; the darker a line, the better the match."""
    from matplotlib.figure import Figure
    from matplotlib.patches import ConnectionPatch

    film = unpacked(cell.record["films"][0])
    at = times(cell, true)[:PREDICTED]
    every = math.ceil((at[-1] + 1) / (COLUMNS - 1))
    above = list(range(0, min(at[-1] + every, len(true)), every))
    wide = 10 / len(above)
    high = wide * true.shape[2] / true.shape[3]
    total = 2 * high + 1.3
    figure = Figure(figsize=(10, total))

    def row(middles: list[float], bottom: float) -> list[Any]:
        size = (0.96 * wide / 10, 0.96 * high / total)
        places = [(middle - size[0] / 2, bottom / total, *size) for middle in middles]
        return [figure.add_axes(place) for place in places]

    top = row([(k + 0.5) / len(above) for k in range(len(above))], high + 1.1)
    bottom = row([(k + 0.5) / len(at) for k in range(len(at))], 0.04)
    for axes, t in zip(top, above, strict=True):
        picture(axes, true[t], f"t = {t}")
    start = 0
    for k, (axes, t) in enumerate(zip(bottom, at, strict=True)):
        picture(axes, film[k], "")
        end = start + cell.run.settings["horizon"]
        later = [s for s in above if s > start] or above[-1:]
        near = min(later, key=lambda s, t=t: abs(s - t))  # type: ignore[misc]
        ways = [s for s in later if s <= end or s == near]
        seen = (film[k].float() / 255).expand(len(ways), -1, -1, -1)
        losses = binary_cross_entropy(seen, true[ways].float() / 255).flatten(1).mean(1)
        # Half as dark for every tenth of the way from the best to the worst.
        worse = (losses - losses.min()) / (losses.max() - losses.min()).clamp_min(1e-9)
        for s, dark in zip(ways, (0.5 ** (10 * worse)).tolist(), strict=True):
            if dark > 0.02:
                line = ConnectionPatch(
                    (0.5, 0), (0.5, 1), "axes fraction", "axes fraction",
                    axesA=top[above.index(s)], axesB=axes, color="k", alpha=dark, linewidth=1.2,
                )  # fmt: skip
                figure.add_artist(line)
        start = t
    return figure


def picture(axes: Any, frame: Tensor, title: str) -> None:
    """A frame, without ticks."""
    axes.imshow(frame.permute(1, 2, 0).numpy(), interpolation="nearest", aspect="auto")
    axes.set_title(title, fontsize="x-small", pad=2)
    axes.set_xticks([])
    axes.set_yticks([])


study = Study(
    name="asi-timelines",
    claim="Neitz' thesis, figures 2.7 and 2.8: ASI predicts what comes out of a funnel, or of a "
    "room, and not how long it rattles there.",
    version=1,
    config=Config,
    run=Run,
    full=Config(**{**LARGE, "seeds": 1}),
    smoke=Config(**TINY),
    plan=plan,
    train=train,
    value=highest,
    table=table,
    plot=plot,
    records="asi",
    own=lambda run: run.method in ("asi", "fixed") and not run.switch,
    highest=True,
)
