"""Loss surfaces of two environments, and what descends them: figures 3.1 to 3.3, B.1 to B.3."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..agreement import (
    and_mask,
    bound_of_means,
    climbed_inconsistency,
    geometric_mean,
    quadratic_inconsistency,
)
from ._ilc_patchwork import CLAIMED, PATCHWORK, environments, network, refined, target
from ._numbers import markdown
from ._study import Cell, Log, Record, Rounds, Study

Kind = Literal["basins", "means", "proposition", "speed", "patchwork"]
Rule = Literal["mean", "A alone", "B alone", "AND-mask", "geometric mean"]
RULES: dict[Rule, Callable[[Tensor], Tensor]] = {
    "mean": lambda grads: grads.mean(0),
    "A alone": lambda grads: grads[0],
    "B alone": lambda grads: grads[1],
    "AND-mask": and_mask,
    "geometric mean": geometric_mean,
}
MINIMA = {"top right": 1.0, "bottom left": -1.0}
"""Both coordinates of each."""
STARTS = ((0.5, 0.5), (0.3, 1.3), (1.3, -0.6), (-0.4, 0.2), (-1.3, 0.4), (0.1, -1.4))
RATE, NEAR = 0.1, 0.1


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one cell."""

    kind: Kind
    """basins: 3.1, 3.2; means: 3.3, B.3; speed: B.2; patchwork: B.1; proposition: its bound."""
    what: str = ""
    """A rule of descent; or which environments the patchwork is judged in."""
    curvature: float = 0.0
    """The smaller one of each Hessian, the other being 1."""
    steps: int = 0
    """Of a descent or climb."""
    points: int = 0
    """Starts along each side; pairs of Hessians; inputs of the patchwork."""


@dataclass(frozen=True)
class Config:
    """Loss surfaces of two environments, and what descends them: figures 3.1 to 3.3."""

    steps: int = 2000
    """Of a descent."""
    climbs: int = 300
    """Steps of a climb away from the patchwork."""
    points: int = 61
    """Starts along each side of the square."""
    pairs: int = 20_000
    """Random pairs of Hessians for proposition 3."""
    inputs: int = 1000
    """Of the patchwork's data."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every picture."""
    yield [
        *(
            Run(kind="basins", what=rule, steps=config.steps, points=config.points)
            for rule in RULES
        ),
        *(Run(kind="means", curvature=small) for small in (0.05, 0.01)),
        *(
            Run(kind="speed", what=rule, curvature=0.05, steps=config.steps)
            for rule in ("mean", "geometric mean")
        ),
        Run(kind="proposition", points=config.pairs),
        *(
            Run(kind="patchwork", what=split, steps=config.climbs, points=config.inputs)
            for split in ("halves", "every other")
        ),
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell."""
    began = time.process_time()
    made = {
        "basins": _basins, "means": _means, "proposition": _proposition, "speed": _speed,
        "patchwork": _patchwork,
    }[run.kind]  # fmt: skip
    return {**made(run), "seconds": round(time.process_time() - began, 1)}


def surfaces(theta: Tensor) -> Tensor:
    """Losses ``[2, …]`` of A and B at ``[…, 2]``: 0 at both minima.

    ``1/L_e = 1/q + 1/q_e``: around the bottom left one q is the same for both; at the top right A
    has a valley ``q_A = (θ_1 − 1)²/2``, B one across it.
    """
    shared = (theta + 1).square().sum(-1) / 2
    own = (theta - 1).square().movedim(-1, 0) / 2
    return shared * own / (shared + own).clamp_min(1e-12)


def gradients(theta: Tensor) -> Tensor:
    """``[2, …, 2]``, of A and B at ``[…, 2]``."""
    theta = theta.detach().requires_grad_()
    losses = surfaces(theta)
    grads = [torch.autograd.grad(loss.sum(), theta, retain_graph=True)[0] for loss in losses]
    return torch.stack(grads)


def _descent(rule: Rule, start: Tensor, steps: int) -> list[Tensor]:
    path = [start]
    for _ in range(steps):
        path.append(path[-1] - RATE * RULES[rule](gradients(path[-1])))
    return path


def _basins(run: Run) -> Record:
    """``ends``: for each start of a grid the minimum that descent finds; ``paths`` of a few."""
    rule: Any = run.what
    side = torch.linspace(-1.5, 1.5, run.points, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    end = _descent(rule, grid, run.steps)[-1]
    found = torch.zeros(len(grid), dtype=torch.int64)
    for k, place in enumerate(MINIMA.values(), 1):
        found[(end - place).norm(dim=-1) < NEAR] = k
    paths = torch.stack(_descent(rule, torch.tensor(STARTS, dtype=torch.float64), run.steps))
    kept = [k for k in range(len(paths)) if k < 20 or k % 20 == 0]
    return {
        "ends": "".join(map(str, found.tolist())),
        "paths": [_rounded(path) for path in paths[kept].transpose(0, 1)],
        "at_half": _rounded(gradients(torch.tensor([0.5, 0.5], dtype=torch.float64))),
    }


def _rounded(values: Tensor) -> Any:
    return [[round(v, 4) for v in row] for row in values.tolist()]


def hessians(curvature: float) -> Tensor:
    """Diagonals of figure 3.3's H_A and H_B, ``[2, 2]``."""
    return torch.tensor([[curvature, 1.0], [1.0, curvature]], dtype=torch.float64)


def _means(run: Run) -> Record:
    """Arithmetic against geometric mean of two Hessians, with ε = 1."""
    pair = hessians(run.curvature)
    ratio = float((pair.mean(0).log() - pair.log().mean(0)).sum().exp())
    return {
        "determinants": ratio,
        "areas": math.sqrt(ratio),
        "inconsistency": quadratic_inconsistency(pair, 1.0).value,
        "printed": 2 * ratio**2,
        "bound": bound_of_means(pair, 1.0),
    }


def _proposition(run: Run) -> Record:
    """How often proposition 3 breaks, as printed and with 4ε; curvatures ∼ U(0, 1)."""
    broken, proven, dimensions = [], [], [1, 2, 3, 5, 10]
    for n in dimensions:
        generator = torch.Generator().manual_seed(n)
        a, b = torch.rand(2, run.points, n, generator=generator, dtype=torch.float64)
        exact = torch.maximum(a / b, b / a).amax(1)
        ratio = (((a + b) / 2).log() - (a * b).log() / 2).sum(1).exp()
        broken.append(float((exact > 2 * ratio**2 * (1 + 1e-12)).double().mean()))
        proven.append(float((exact > 4 * ratio**2 * (1 + 1e-12)).double().mean()))
    return {"dimensions": dimensions, "printed_breaks": broken, "bound_breaks": proven}


def _speed(run: Run) -> Record:
    """Descent where environments have one curvature in common: contraction of each coordinate."""
    pair = torch.tensor([[1.0, run.curvature], [1.0, 1.0]], dtype=torch.float64)
    rule: Any = run.what
    theta = torch.ones(2, dtype=torch.float64)
    path = [theta]
    for _ in range(min(run.steps, 60)):
        path.append(path[-1] - RATE * RULES[rule](pair * path[-1]))
    shrinks = path[-1] / path[-2]
    mean = pair.mean(0) if rule == "mean" else pair.log().mean(0).exp()
    return {
        "path": _rounded(torch.stack(path)),
        "shrinks": shrinks.tolist(),
        "expected": (1 - RATE * mean).tolist(),
    }


def _patchwork(run: Run) -> Record:
    """Inconsistency of B.1.1's weights, as printed and at the minimum beside them; ε = 0.001."""
    losses = environments(run.what, run.points)
    places = {"printed": PATCHWORK, "minimum": refined(losses)}
    found: Record = {
        "varied": [float(loss(CLAIMED)) for loss in losses],
        "varied_by": max(
            abs(float(losses[1](CLAIMED)) - float(losses[0](PATCHWORK))),
            abs(float(losses[0](CLAIMED)) - float(losses[1](PATCHWORK))),
        ),
    }
    for name, place in places.items():
        climbed = climbed_inconsistency(
            losses, place, epsilon=1e-3, generator=torch.Generator().manual_seed(0),
            steps=run.steps, restarts=2,
        )  # fmt: skip
        assert climbed.direction is not None
        found[name] = {
            "weights": place.tolist(),
            "losses": [float(loss(place)) for loss in losses],
            "inconsistency": climbed.value,
            "pair": list(climbed.pair),
            "worst": (place + climbed.direction).tolist(),
        }
    return found


def _of(cells: Sequence[Cell], kind: Kind) -> list[Cell]:
    """Those of the largest size, in the order of the plan."""
    same = [cell for cell in cells if cell.run.kind == kind]
    size = max(((cell.run.steps, cell.run.points) for cell in same), default=None)
    kept = [cell for cell in same if (cell.run.steps, cell.run.points) == size]
    places = [*RULES, "halves", "every other", ""]
    return sorted(kept, key=lambda cell: (places.index(cell.run.what), -cell.run.curvature))


def table(cells: Sequence[Cell]) -> str:
    """Where descent ends, ratios of means, the patchwork's inconsistency."""
    rows = []
    basins = {cell.run.what: cell for cell in _of(cells, "basins")}
    for rule, cell in basins.items():
        ends = cell.record["ends"]
        shares = [f"{ends.count(str(k)) / len(ends):.1%} {m}" for k, m in enumerate(MINIMA, 1)]
        rows.append(["3.1", f"minimum found by {rule}", ", ".join(shares)])
    if {"A alone", "B alone"} <= set(basins):
        pairs = list(
            zip(*(basins[name].record["ends"] for name in ("A alone", "B alone")), strict=True)
        )
        both = [
            f"{pairs.count((str(k), str(k))) / len(pairs):.1%} {m}" for k, m in enumerate(MINIMA, 1)
        ]
        rows.append(["3.1", "found by A alone and by B alone from one start", ", ".join(both)])
        a, b = (torch.tensor(g) for g in basins["A alone"].record["at_half"])
        angle = math.degrees(math.acos(float(a @ b / (a.norm() * b.norm()))))
        rows.append(["3.2", "angle between the gradients at (0.5, 0.5)", f"{angle:.0f}°"])
    for cell in _of(cells, "means"):
        found = cell.record
        figure = {0.05: "3.3", 0.01: "B.3"}.get(cell.run.curvature, "")
        setting = f"curvatures {cell.run.curvature:g} and 1"
        rows += [
            [
                figure, f"{setting}: arithmetic to geometric mean",
                f"determinants {found['determinants']:.2f}, areas {found['areas']:.2f}",
            ],
            [
                figure, f"{setting}: inconsistency / ε",
                f"{found['inconsistency']:.0f}; bound printed {found['printed']:.0f}, "
                f"with 4ε {found['bound']:.0f}",
            ],
        ]  # fmt: skip
    for cell in _of(cells, "proposition"):
        names = ("dimensions", "printed_breaks", "bound_breaks")
        for n, printed, proven in zip(*(cell.record[name] for name in names), strict=True):
            rows.append(
                [
                    "prop. 3", f"random pairs of {n} curvatures that break it",
                    f"{printed:.1%} as printed (2ε), {proven:.1%} with 4ε",
                ]
            )  # fmt: skip
    for cell in _of(cells, "speed"):
        numbers = ", ".join(
            f"{s:.4f} ({e:.4f})"
            for s, e in zip(cell.record["shrinks"], cell.record["expected"], strict=True)
        )
        rows.append(["B.2", f"contraction of a step, {cell.run.what} (expected)", numbers])
    for cell in _of(cells, "patchwork"):
        split = {"halves": "[0, ½) and [½, 1]", "every other": "every other input"}[cell.run.what]
        for name in ("printed", "minimum"):
            found = cell.record[name]
            a, b = found["losses"]
            rows.append(
                [
                    "B.1", f"patchwork, {name}, environments {split}",
                    f"losses {a:.2g}, {b:.2g}; inconsistency at ε = 0.001 at least "
                    f"{found['inconsistency']:.2g}",
                ]
            )  # fmt: skip
        a, b = cell.record["varied"]
        rows.append(
            ["B.1", f"its last weight −0.5, environments {split}", f"losses {a:.2g}, {b:.2g}"]
        )
    return markdown(["figure", "what", "found"], rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 3.1 to 3.3 and B.1 to B.3."""
    basins = {cell.run.what: cell for cell in _of(cells, "basins")}
    drawn: dict[str, tuple[Callable[[Any], Any], Any]] = {
        "figure-3.1": (_draw_basins, basins),
        "figure-3.2": (_draw_gradients, basins),
        "figure-3.3-b.3": (_draw_ellipses, _of(cells, "means")),
        "figure-b.2": (_draw_speed, _of(cells, "speed")),
        "figure-b.1": (_draw_patchwork, _of(cells, "patchwork")),
    }
    return {name: draw(of) for name, (draw, of) in drawn.items() if of}


def _landscape(axes: Any, theta: Tensor, losses: Tensor) -> None:
    side = theta[0, :, 1].numpy()
    axes.contourf(side, side, losses.T.sqrt().numpy(), 24, cmap="viridis_r")
    axes.set(aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))


def _square(least: float, most: float, points: int = 81) -> tuple[Tensor, Tensor]:
    side = torch.linspace(least, most, points, dtype=torch.float64)
    theta = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1)
    return theta, surfaces(theta)


def _draw_basins(basins: dict[str, Cell]) -> Any:
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


def _draw_gradients(basins: dict[str, Cell]) -> Any:
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


def _draw_ellipses(cells: Sequence[Cell]) -> Any:
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


def _draw_speed(cells: Sequence[Cell]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3.4), layout="constrained")
    axes = figure.subplots()
    for color, cell in zip(("C3", "C0"), cells, strict=False):
        x, y = zip(*cell.record["path"], strict=True)
        axes.plot(x, y, ".-", color=color, label=cell.run.what, markersize=4, linewidth=1)
    axes.set(xlabel="curvature 1 for both", ylabel=f"curvature {cells[0].run.curvature:g} and 1")
    axes.legend(frameon=False, fontsize="small")
    return figure


def _draw_patchwork(cells: Sequence[Cell]) -> Any:
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


study = Study(
    name="ilc-surfaces",
    claim="Neitz' thesis, figures 3.1 to 3.3 and B.1 to B.3, proposition 3: after averaging, a "
    "minimum that only both environments together have looks like one that each has; signs and "
    "geometric means tell them apart.",
    version=1,
    config=Config,
    run=Run,
    full=Config(points=151, pairs=100_000),
    smoke=Config(steps=3, climbs=2, points=5, pairs=10, inputs=20),
    plan=plan,
    train=train,
    value=lambda record: 0.0,
    table=table,
    plot=plot,
)
