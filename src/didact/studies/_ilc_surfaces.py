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
from ._ilc_drawn import (
    draw_basins,
    draw_ellipses,
    draw_gradients,
    draw_patchwork,
    draw_speed,
)
from ._ilc_losses import gradients, hessians
from ._ilc_patchwork import CLAIMED, PATCHWORK, environments, refined
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
        "figure-3.1": (draw_basins, basins),
        "figure-3.2": (draw_gradients, basins),
        "figure-3.3-b.3": (draw_ellipses, _of(cells, "means")),
        "figure-b.2": (draw_speed, _of(cells, "speed")),
        "figure-b.1": (draw_patchwork, _of(cells, "patchwork")),
    }
    return {name: draw(of) for name, (draw, of) in drawn.items() if of}


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
    value=lambda record: None,
    table=table,
    plot=plot,
)
