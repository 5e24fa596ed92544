"""The figures of the study of surfaces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._ilc_losses import hessians, surfaces
from ._ilc_patchwork import CLAIMED, PATCHWORK, network, target
from ._study import Cell


def _landscape(axes: Any, theta: Tensor, losses: Tensor) -> None:
    side = theta[0, :, 1].numpy()
    axes.contourf(side, side, losses.T.sqrt().numpy(), 24, cmap="viridis_r")
    axes.set(aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))


def _square(least: float, most: float, points: int = 81) -> tuple[Tensor, Tensor]:
    side = torch.linspace(least, most, points, dtype=torch.float64)
    theta = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1)
    return theta, surfaces(theta)


def draw_basins(basins: dict[str, Cell]) -> Any:
    """Figure 3.1: descent from a few starts."""
    from matplotlib.figure import Figure

    theta, losses = _square(-1.5, 1.5)
    panels = {
        "mean": losses.mean(0), "A alone": losses[0], "B alone": losses[1],
        "AND-mask": losses.mean(0), "geometric mean": losses.mean(0),
    }  # fmt: skip
    figure = Figure(figsize=(13, 2.9), layout="constrained")
    for axes, (rule, surface) in zip(
        figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True
    ):
        _landscape(axes, theta, surface)
        axes.set(title=rule, xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
        for path in basins[rule].record["paths"] if rule in basins else ():
            x, y = zip(*path, strict=True)
            axes.plot(x, y, color="white", linewidth=1.2)
            axes.plot(x[0], y[0], "o", color="white", markersize=4)
            axes.plot(x[-1], y[-1], "x", color="C3", markersize=6)
    return figure


def draw_gradients(basins: dict[str, Cell]) -> Any:
    """Figure 3.2: half way between the minima."""
    from matplotlib.figure import Figure

    theta, losses = _square(0.0, 1.2)
    a, b = torch.tensor(next(iter(basins.values())).record["at_half"])
    figure = Figure(figsize=(8.5, 2.9), layout="constrained")
    panels = {"A": (losses[0], [a]), "B": (losses[1], [b]), "mean": (losses.mean(0), [a, b])}
    for axes, (name, (surface, arrows)) in zip(
        figure.subplots(1, 3, sharey=True), panels.items(), strict=True
    ):
        _landscape(axes, theta, surface)
        axes.set(title=name, xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), xlim=(0, 1.2), ylim=(0, 1.2))
        for arrow in [*arrows, *([(a + b) / 2] if name == "mean" else [])]:
            x, y = (-0.8 * arrow).tolist()
            color = "C3" if name == "mean" and arrow is not a and arrow is not b else "white"
            axes.annotate(
                "", xy=(0.5 + x, 0.5 + y), xytext=(0.5, 0.5),
                arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.5},
            )  # fmt: skip
    return figure


def _ellipse(axes: Any, diagonal: Tensor, **style: Any) -> None:
    angle = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    axes.plot(
        (diagonal[0].sqrt() * angle.cos()).numpy(), (diagonal[1].sqrt() * angle.sin()).numpy(),
        **style,
    )  # fmt: skip


def draw_ellipses(cells: Sequence[Cell]) -> Any:
    """Figures 3.3 and B.3: level sets of two Hessians and of their means."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(cells), 3.6), layout="constrained")
    for axes, cell in zip(figure.subplots(1, len(cells), squeeze=False)[0], cells, strict=True):
        pair = hessians(cell.run.curvature)
        for name, diagonal in zip("AB", pair, strict=True):
            _ellipse(axes, diagonal, color="0.5", label=f"$H_{name}$", linewidth=1)
        _ellipse(axes, pair.mean(0), color="C3", label="arithmetic mean")
        _ellipse(axes, pair.log().mean(0).exp(), color="C0", label="geometric mean")
        found = cell.record
        axes.set(
            title=f"determinants {found['determinants']:.1f} : 1, areas {found['areas']:.1f} : 1",
            aspect="equal",
        )
        axes.legend(frameon=False, fontsize="small", loc="upper right")
    return figure


def draw_speed(cells: Sequence[Cell]) -> Any:
    """Figure B.2: how fast signs and means descend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3.4), layout="constrained")
    axes = figure.subplots()
    for color, cell in zip(("C3", "C0"), cells, strict=False):
        x, y = zip(*cell.record["path"], strict=True)
        axes.plot(x, y, ".-", color=color, label=cell.run.what, markersize=4, linewidth=1)
    axes.set(xlabel="curvature 1 for both", ylabel=f"curvature {cells[0].run.curvature:g} and 1")
    axes.legend(frameon=False, fontsize="small")
    return figure


def draw_patchwork(cells: Sequence[Cell]) -> Any:
    """Figure B.1: the network of patches, and what it may become."""
    from matplotlib.figure import Figure

    halves = next((cell for cell in cells if cell.run.what == "halves"), cells[0])
    x = torch.linspace(0, 1, 400, dtype=torch.float64)
    panels = {
        "as printed": PATCHWORK, "last weight −0.5": CLAIMED,
        "minimum": torch.tensor(halves.record["minimum"]["weights"], dtype=torch.float64),
        "climbed, ε = 0.001": torch.tensor(
            halves.record["minimum"]["worst"], dtype=torch.float64
        ),
    }  # fmt: skip
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    for axes, (title, weights) in zip(
        figure.subplots(1, 4, sharey=True), panels.items(), strict=True
    ):
        axes.axvspan(0, 0.5, color="C0", alpha=0.1, linewidth=0)
        axes.axvspan(0.5, 1, color="C1", alpha=0.1, linewidth=0)
        axes.plot(x.numpy(), target(x).numpy(), color="0.5", linewidth=2.5)
        axes.plot(x.numpy(), network(weights, x).numpy(), color="C3", linewidth=1.4)
        axes.set(title=title, xlabel="x", ylim=(-1, 2.5))
    return figure
