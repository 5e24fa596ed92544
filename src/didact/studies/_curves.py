"""Learning curves of cells on random grid worlds: pooled, drawn, and read off."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._grids import Estimator, Run, estimators, named
from ._study import Cell

T = TypeVar("T")


def pooled(parts: list[tuple[int, list[float]]]) -> tuple[float, float]:
    """Mean and standard error over the worlds of several cells, from (count, moments) of each."""
    n = sum(count for count, _ in parts)
    centre = sum(count * mean for count, (mean, _) in parts) / n
    total = sum(
        (count - 1) * variance + count * (mean - centre) ** 2 for count, (mean, variance) in parts
    )
    return centre, math.sqrt(total / max(n - 1, 1) / n)


class Curve(NamedTuple):
    """Means over worlds by update, with the half width of their 95 % intervals."""

    updates: list[int]
    mean: NDArray[np.float64]
    half: NDArray[np.float64]
    worlds: int


def curve(cells: Sequence[Cell], name: str, control: str = "student") -> Curve:
    """``name`` (``"returns"``, …) of cells that differ in their worlds alone."""
    updates = cells[0].record["updates"]
    points = [
        pooled([(cell.run.count, cell.record[name][control][c]) for cell in cells])
        for c in range(len(updates))
    ]
    mean, error = np.array(points).T
    return Curve(updates, mean, 1.96 * error, sum(cell.run.count for cell in cells))


def teacher_level(cells: Sequence[Cell]) -> float:
    """The teachers' mean return."""
    return pooled([(cell.run.count, cell.record["teacher"]) for cell in cells])[0]


def draw(axes: Any, found: Curve, label: str, **style: Any) -> None:
    """A curve with its band."""
    (line,) = axes.plot(found.updates, found.mean, label=label, linewidth=1.4, **style)
    axes.fill_between(
        found.updates, found.mean - found.half, found.mean + found.half,
        color=line.get_color(), alpha=0.2, linewidth=0,
    )  # fmt: skip
    axes.set_xscale("log")


def panel(
    axes: Any,
    groups: Mapping[str, Sequence[Cell]],
    styles: Mapping[str, dict[str, Any]],
    name: str = "returns",
    control: str = "student",
) -> None:
    """A curve for each group, by its label, and with returns a line where the teachers are."""
    for label, cells in groups.items():
        draw(axes, curve(cells, name, control), label, **styles[label])
    if name == "returns" and groups:
        level = teacher_level(next(iter(groups.values())))
        axes.axhline(level, color="0.5", linewidth=0.8)


def grouped(cells: Sequence[Cell], free: Sequence[str], like: Run) -> dict[Any, list[Cell]]:
    """Cells that may be pooled, by what they have in ``free`` fields.

    In all other fields they are ``like`` the one given. Of a group those of the longest training
    are left, with one set of looks, the largest first, and no world twice.
    """
    sizes = ("taught", "updates", "watched", "checkpoints")
    anything = {"first", "count", "threads", *sizes, *free}
    same = [field.name for field in fields(Run) if field.name not in anything]
    by_key: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        if all(getattr(cell.run, name) == getattr(like, name) for name in same):
            by_key[tuple(getattr(cell.run, name) for name in free)].append(cell)
    found = {}
    for key, group in sorted(by_key.items()):
        by_size = defaultdict(list)
        for cell in group:
            by_size[tuple(getattr(cell.run, name) for name in sizes)].append(cell)
        kept: list[Cell] = []
        taken: set[int] = set()
        for cell in sorted(by_size[max(by_size)], key=lambda cell: -cell.run.count):
            own = set(range(cell.run.first, cell.run.first + cell.run.count))
            if not own & taken:
                taken |= own
                kept.append(cell)
        found[key] = kept
    return found


def either(
    found: Mapping[Any, T], key: tuple[Any, ...], rules: Sequence[str], way: Estimator
) -> dict[str, T]:
    """By rule, what is at (*key, rule, way) or, of a rule that is not estimated so, another."""
    groups = {}
    for rule in rules:
        last = estimators(named(rule), (way,)) or ["baseline"]
        if (*key, rule, last[0]) in found:
            groups[rule] = found[*key, rule, last[0]]
    return groups


def reached(found: Curve, level: float) -> float:
    """After how many updates a curve first comes to a level, interpolated; infinity if never."""
    above = np.flatnonzero(found.mean >= level)
    if not len(above):
        return math.inf
    k = int(above[0])
    if k == 0:
        return float(found.updates[0])
    low, high = found.mean[k - 1], found.mean[k]
    share = (level - low) / (high - low)
    a, b = math.log(found.updates[k - 1]), math.log(found.updates[k])
    return math.exp(a + share * (b - a))
