"""On-policy distillation with rewards circles: figure 2 of Distilling policy distillation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..policies import dense, expected_update
from ..tasks import oscillation_mdp
from ._grids import named
from ._numbers import markdown
from ._study import Cell, Log, Record, Rounds, Study

RULES = ("on_policy_distill+R", "n_distill+R")
STARTS = ((0.3, -1.0), (1.2, 0.4), (-0.7, 2.0), (0.0, 0.5))
KEPT = 400


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one cell."""

    rule: str
    """As ``didact rules`` names it."""
    start: list[float]
    """(θx, θy), the logits of going right in the first state and in both second states."""
    steps: int = 4000
    """Of the integration, Runge–Kutta of order 4."""
    length: float = 0.05
    """Of one step in time."""


@dataclass(frozen=True)
class Config:
    """On-policy distillation with rewards circles: figure 2."""

    steps: int = 4000
    """Of the integration, Runge–Kutta of order 4."""


def plan(config: Config, shared: Path) -> Rounds:
    """Both rules from every start."""
    yield [
        Run(rule=named(rule).name, start=list(start), steps=config.steps)
        for rule in RULES
        for start in STARTS
    ]


def train(run: Run, shared: Path, log: Log) -> Record:
    """Follow the exact expected update: ``path`` of (P(R | s_0), P(R | s_1)), ``kept`` of H."""
    began = time.process_time()
    world, rule = dense(oscillation_mdp()), named(run.rule)
    teacher = torch.full((3, 2), 0.5, dtype=torch.float64)
    in_right = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)

    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        return -4 * student.softmax(-1)[:, 1] * in_right

    def field(at: Tensor) -> Tensor:
        theta = torch.stack([torch.zeros_like(at), at], 1)
        return -expected_update(rule, world, theta, teacher, loss=loss)[:, 1]

    at = torch.tensor(run.start, dtype=torch.float64)
    h = run.length
    path, integral = [at], []
    for _ in range(run.steps):
        k1 = field(at)
        k2 = field(at + h / 2 * k1)
        k3 = field(at + h / 2 * k2)
        k4 = field(at + h * k3)
        at = at + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(at)
        integral.append(float((at.exp() + (-at).exp()).sum()))
    every = max(1, run.steps // KEPT)
    return {
        "path": [[round(v, 5) for v in p.sigmoid().tolist()] for p in path[::every]],
        "drift": max(integral) - min(integral),
        "seconds": round(time.process_time() - began, 1),
    }


def table(cells: Sequence[Cell]) -> str:
    """Where every path ends, and how much e^x + e^−x + e^y + e^−y changed on the way."""
    longest = max((cell.run.steps for cell in cells), default=0)
    rows = [
        [
            cell.run.rule, ", ".join(f"{v:g}" for v in cell.run.start),
            ", ".join(f"{v:.3f}" for v in cell.record["path"][-1]), f"{cell.record['drift']:.1e}",
        ]
        for cell in sorted(cells, key=lambda c: (c.run.rule, c.run.start))
        if cell.run.steps == longest
    ]  # fmt: skip
    return markdown(["rule", "θ at first", "P(R) at the end", "change of the integral"], rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 2."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    longest = max((cell.run.steps for cell in cells), default=0)
    for axes, rule in zip(figure.subplots(1, 2, sharey=True), RULES, strict=True):
        for cell in cells:
            if cell.run.rule == rule and cell.run.steps == longest:
                x, y = zip(*cell.record["path"], strict=True)
                (line,) = axes.plot(x, y, linewidth=1.2)
                axes.plot(x[0], y[0], "o", color=line.get_color(), markersize=4)
        axes.set(title=rule, xlabel="P(R) in s_0", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    figure.axes[0].set_ylabel("P(R) in s_L and s_R")
    return {"figure-2": figure}


study = Study(
    name="pd-oscillation",
    claim="Czarnecki et al. 2019, figure 2: with rewards on-policy distillation circles for ever, "
    "n-distill converges.",
    version=1,
    config=Config,
    run=Run,
    full=Config(),
    smoke=Config(steps=5),
    plan=plan,
    train=train,
    value=lambda record: float(record["drift"]),
    table=table,
    plot=plot,
)
