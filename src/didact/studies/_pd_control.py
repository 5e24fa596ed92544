"""Who should act while a policy is distilled: figure 3 of Distilling policy distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._curves import curve, grouped, panel, reached, teacher_level
from ._grids import CONTROLS, WATCHED, ControlName, Run, chunks, train
from ._numbers import markdown
from ._study import Cell, Rounds, Study

LEVELS = (0.95, 0.98)
"""Of the teacher's return: what count as having reached it."""
STYLES = {control: {"color": f"C{k}"} for k, control in enumerate(CONTROLS)}


@dataclass(frozen=True)
class Config:
    """Who should act while a policy is distilled: figure 3 of Distilling policy distillation."""

    worlds: int = 1000
    """Random grid worlds."""
    temperatures: tuple[float, ...] = (0.0, 0.1, 0.5, 1.0)
    """Of the teacher's Boltzmann policy; 0: greedy."""
    controls: tuple[ControlName, ...] = ("student", "teacher", "uniform", "mixture")
    """Who acts; mixture: the teacher less and less in the first tenth of all updates, as DAgger."""
    updates: int = 30_000
    """Episodes of training; the teacher has as many."""
    views: tuple[int, ...] = (1, 2, 4, 6)
    """k of the (2k + 1)² windows that are seen instead of the whole state, with T = 0."""
    discounts: tuple[float, ...] = (0.95, 0.999)
    """γ instead of 0.99, with T = 0."""
    worlds_elsewhere: int = 200
    """Worlds for each of those."""
    chunk: int = 100
    """Worlds per cell."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every setting and control policy on every chunk of worlds."""
    settings: list[tuple[int, dict[str, Any]]] = [
        *((config.worlds, {"temperature": t}) for t in config.temperatures),
        *((config.worlds_elsewhere, {"view": k}) for k in config.views),
        *((config.worlds_elsewhere, {"discount": g}) for g in config.discounts),
    ]
    yield [
        Run(
            rule="on_policy_distill", control=control, first=first, count=count,
            updates=config.updates, taught=config.updates, across=True, **setting,
        )
        for worlds, setting in settings
        for control in config.controls
        for first, count in chunks(worlds, config.chunk)
    ]  # fmt: skip


def _found(cells: Sequence[Cell], **other: Any) -> dict[tuple[float, str], list[Cell]]:
    like = Run(rule="on_policy_distill", first=0, count=0, across=True, **other)
    return grouped(cells, ("temperature", "control"), like)


def table(cells: Sequence[Cell]) -> str:
    """Updates until the teacher's return, and cross-entropies at the end."""
    found = {(f"T = {t:g}", control): group for (t, control), group in _found(cells).items()}
    for name in ("view", "discount"):
        for value in sorted({getattr(cell.run, name) for cell in cells}):
            if value == getattr(LIKE, name):
                continue
            side = 2 * value + 1
            label = f"T = 0, {side} × {side} seen" if name == "view" else f"T = 0, γ = {value:g}"
            for (_, control), group in _found(cells, **{name: value}).items():
                found[label, control] = group
    rows = []
    for (setting, control), group in found.items():
        returns, level = curve(group, "returns"), teacher_level(group)
        own = found.get((setting, "student"))
        times = []
        for share in LEVELS:
            took = reached(returns, share * level)
            by = took / reached(curve(own, "returns"), share * level) if own else float("nan")
            times += [f"{took:.0f}", f"{by:.1f}"]
        last = [curve(group, "cross_entropy", met) for met in WATCHED]
        rows.append(
            [
                setting, control, str(returns.worlds), f"{level:.2f}",
                f"{returns.mean[-1]:.2f} ± {returns.half[-1]:.2f}", *times,
                *(f"{c.mean[-1]:.3f}" for c in last),
            ]
        )  # fmt: skip
    header = [
        "setting", "who acts", "worlds", "teacher's return", "student's at the end",
        *(c for share in LEVELS for c in (f"updates to {share:.0%} of it", "times the student's")),
        *(f"H× where {control} goes" for control in WATCHED),
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 3, left and right."""
    from matplotlib.figure import Figure

    found = _found(cells)
    temperatures = sorted({temperature for temperature, _ in found})
    if not temperatures:
        return {}
    figure = Figure(figsize=(12, 2.4 * len(temperatures)), layout="constrained")
    grid = figure.subplots(len(temperatures), 4, squeeze=False)
    for row, temperature in zip(grid, temperatures, strict=True):
        groups = {c: found[temperature, c] for c in CONTROLS if (temperature, c) in found}
        for axes, met in zip(row, WATCHED, strict=False):
            panel(axes, groups, STYLES, "cross_entropy", met)
        panel(row[3], groups, STYLES)
        row[0].set_ylabel(f"T = {temperature:g}")
    for axes, met in zip(grid[0], WATCHED, strict=False):
        axes.set_title(f"H×(π‖πθ) where the {met} goes", fontsize="medium")
    grid[0][3].set_title("return", fontsize="medium")
    grid[0][3].legend(frameon=False, fontsize="small", title="who acts")
    for axes in grid[-1]:
        axes.set_xlabel("updates")
    return {"figure-3": figure, "figure-3-right": _speed(found)}


def _speed(found: dict[tuple[float, str], list[Cell]]) -> Any:
    """Per world, how much faster student-driven distillation is, by the teacher's determinism."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, name in zip(panels, ("cross_entropy", "returns"), strict=True):
        for temperature in sorted({temperature for temperature, _ in found}):
            pairs = _by_world(found.get((temperature, "student"), []), name)
            others = _by_world(found.get((temperature, "teacher"), []), name)
            worlds = sorted(set(pairs) & set(others))
            if not worlds:
                continue
            certain = [pairs[w][0] for w in worlds]
            a, b = (np.array([each[w][1] for w in worlds]) for each in (pairs, others))
            ratio = b / a if name == "cross_entropy" else a / b
            axes.plot(
                certain,
                ratio,
                ".",
                markersize=2,
                label=f"T = {temperature:g}",
                alpha=0.5,
                rasterized=True,
            )
        axes.set(xlabel="teacher's determinism, mean max π", title=f"ratio of areas: {name}")
        axes.set_ylim(0, 4)
        axes.axhline(1, color="0.5", linewidth=0.8)
    panels[0].legend(frameon=False, fontsize="small", markerscale=4)
    return figure


def _by_world(cells: Sequence[Cell], name: str) -> dict[int, tuple[float, float]]:
    """World → (determinism, area)."""
    return {
        cell.run.first + k: (cell.record["determinism"][k], cell.record["area"][name][k])
        for cell in cells
        for k in range(cell.run.count)
    }


LIKE = Run(rule="", first=0, count=0)
FULL = Config(worlds_elsewhere=1000)

study = Study(
    name="pd-control",
    claim="Czarnecki et al. 2019, figure 3: with the student in control it reaches the teacher's "
    "return in about 3 times fewer steps than with the teacher, about 10 times fewer than with a "
    "uniform policy; the uniform policy is best over the whole state space, slowly; the teacher is "
    "best on its own states alone.",
    version=1,
    config=Config,
    run=Run,
    full=FULL,
    smoke=Config(
        worlds=2,
        temperatures=(0.0,),
        views=(2,),
        discounts=(),
        worlds_elsewhere=2,
        updates=30,
        chunk=2,
    ),
    plan=plan,
    train=train,
    value=lambda record: record["returns"]["student"][-1][0],
    table=table,
    plot=plot,
    highest=True,
)
