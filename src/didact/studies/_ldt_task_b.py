"""Noisy labels whose logits privileged information holds: figure 3d of the LDT paper."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..privileged import kl
from ..tasks import TaskB, task_b
from ._numbers import markdown, mean
from ._study import Cell, Log, Record, Rounds, Study, alike
from ._toy import (
    KEPT_EVERY,
    Candidate,
    Problem,
    Toy,
    divided,
    perceptron,
    stacked,
    told,
    train_toy,
)


@dataclass(frozen=True, kw_only=True)
class Run(Toy):
    """All that decides the numbers of one cell: several seeds that train side by side."""

    rows: int
    logit_scale: float
    """c of h = c A x: 1 in the paper's text, 3 in the authors' code."""
    alpha: float = 1e4
    batch: int = 32
    inner_steps: int = 64
    validation_split: float = 0.5
    beta1: float = 0.9
    meta_learning_rate: float = 1e-3
    teacher_width: int = 256
    resample: bool = False


@dataclass(frozen=True)
class Config:
    """Noisy labels whose logits privileged information holds: figure 3d of the LDT paper."""

    rows: int = 1000
    """Training examples."""
    logit_scales: tuple[float, ...] = (1.0, 3.0)
    """c of h = c A x: 1 in the paper's text, 3 in the authors' code."""
    entropies: tuple[float, ...] = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
    """β of no teacher."""
    methods: tuple[Candidate, ...] = ("ldt", "fixed_teacher", "no_teacher")
    """Which methods to run."""
    resample: tuple[bool, ...] = (False, True)
    """Whether LDT's split is drawn anew at every meta-step; the paper keeps it."""
    seeds: int = 5
    """Repetitions, with data of their own."""
    meta_steps: int = 200
    """Of 24 student steps each."""
    compile: bool = True
    """Compile the inner steps."""
    device: str = "cpu"
    """Where to train."""


class Student(nn.Module):
    """128 → 256 → 256 → 4; taught are the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = perceptron(128, 256, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.net(x)
        return logits, logits


def plan(config: Config, shared: Path) -> Rounds:
    """LDT and the fixed teacher once, no teacher with every β; all seeds in one cell."""
    yield [
        Run(
            method=method, seeds=list(range(config.seeds)), meta_steps=config.meta_steps,
            rows=config.rows, logit_scale=scale, entropy=entropy,
            compile=config.compile and method == "ldt", device=config.device, resample=resample,
        )
        for method in config.methods
        for resample in (config.resample if method == "ldt" else (False,))
        for scale in config.logit_scales
        for entropy in (config.entropies if method == "no_teacher" else (0.0,))
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell; scores are test losses, ``floor`` that of the true logits."""
    floor: list[float] = []

    def draw(seed: int) -> tuple[TaskB, TaskB]:
        generator = torch.Generator().manual_seed(seed)
        data = task_b(run.rows, logit_scale=run.logit_scale, generator=generator)
        test = task_b(
            run.test_rows, logit_scale=run.logit_scale, generator=generator,
            weights=(data.weight, data.mixing),
        )  # fmt: skip
        floor.append(float(f"{float(F.cross_entropy(test.h, test.y)):.5g}"))
        return data, test

    def make() -> Problem:
        draws = [draw(seed) for seed in run.seeds]
        return Problem(
            student=Student,
            teacher=lambda: perceptron(32, run.teacher_width, 4),
            data=stacked([data for data, _ in draws]),
            test=stacked([test for _, test in draws]),
            label_loss=F.cross_entropy,
            teaching_loss=kl,
            score=F.cross_entropy,
        )

    return {**train_toy(run, make, log), "floor": floor}


def _curves(cells: Sequence[Cell]) -> tuple[dict[tuple[float, str], list[Cell]], list[Cell]]:
    """Cells by scale and label, and those that diverged."""
    ended, lost = divided(alike(cells, "method", "logit_scale", "entropy", "resample"))
    found: dict[tuple[float, str], list[Cell]] = defaultdict(list)
    for cell in ended:
        found[cell.run.logit_scale, _label(cell.run)].append(cell)
    return dict(sorted(found.items())), lost


def _label(run: Any) -> str:
    if run.method == "no_teacher":
        return f"no teacher, β = {run.entropy:g}"
    if run.resample:
        return "LDT, split drawn anew"
    return {"ldt": "LDT", "fixed_teacher": "fixed teacher"}[run.method]


def table(cells: Sequence[Cell]) -> str:
    """Test losses at their lowest and at the end of training."""
    rows = []
    curves, lost = _curves(cells)
    for (scale, label), found in curves.items():
        lowest = mean([value for cell in found for value in cell.record["lowest"]])
        last = mean([value for cell in found for value in cell.record["last"]])
        floor = mean([value for cell in found for value in cell.record["floor"]])
        rows.append(
            [
                f"{scale:g}", label, str(lowest.n), f"{lowest:.3f}",
                f"{last:.3f}", f"{floor.value:.3f}",
            ]
        )  # fmt: skip
    header = ["c", "method", "seeds", "lowest test loss", "last test loss", "the true logits'"]
    return markdown(header, rows) + told(
        lost, lambda run: f"{_label(run)}, c = {run.logit_scale:g}"
    )


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 3d: test loss over training."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    curves, _ = _curves(cells)
    scales = sorted({scale for scale, _ in curves})
    figure = Figure(figsize=(4.2 * len(scales) + 1.6, 3.4), layout="constrained")
    entropies = sorted({run.entropy for found in curves.values() for run in [found[0].run]})
    colours = {"LDT": "C3", "LDT, split drawn anew": "C1", "fixed teacher": "C0"}
    for axes, scale in zip(figure.subplots(1, len(scales), squeeze=False)[0], scales, strict=True):
        for (c, label), found in curves.items():
            if c != scale:
                continue
            run = found[0].run
            runs = np.array([curve for cell in found for curve in cell.record["score"]])
            steps = run.student_steps * (1 + KEPT_EVERY * np.arange(runs.shape[1]))
            among = entropies.index(run.entropy) / max(1, len(entropies) - 1)
            colour = colours.get(label, colormaps["viridis"](among))
            width = 2.0 if label in colours else 1.2
            axes.plot(steps, runs.mean(0), label=label, color=colour, linewidth=width)
            if label in colours:
                axes.fill_between(steps, runs.min(0), runs.max(0), color=colour, alpha=0.15)
        floors = [
            v for (c, _), found in curves.items() if c == scale for v in found[0].record["floor"]
        ]
        axes.axhline(mean(floors).value, color="k", linestyle=":", label="the true logits")
        axes.set(title=f"c = {scale:g}", xlabel="student steps", ylim=(None, 2.5))
    figure.axes[0].set_ylabel("test loss, mean and range over seeds")
    figure.legend(
        *figure.axes[-1].get_legend_handles_labels(), loc="outside right center", frameon=False,
        fontsize="small",
    )  # fmt: skip
    return {"figure-3d": figure}


study = Study(
    name="ldt-task-b",
    claim="Neitz et al. 2021, figure 3d: where labels are noisy and privileged information holds "
    "their logits, LDT's test loss is below that of no teacher with any entropy bonus β.",
    version=2,
    config=Config,
    run=Run,
    full=Config(),
    smoke=Config(
        rows=128, logit_scales=(1.0,), entropies=(0.0,), seeds=2, meta_steps=2, compile=False,
    ),
    plan=plan,
    train=train,
    value=lambda record: min(record["lowest"], default=math.inf),
    table=table,
    plot=plot,
)  # fmt: skip
