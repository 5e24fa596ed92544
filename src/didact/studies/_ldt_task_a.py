"""A parity that privileged information makes easy: figure 3b of the LDT paper."""

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

from .._checks import invalid
from ..privileged import mse
from ..tasks import TaskA, task_a
from ._numbers import markdown, mean
from ._study import Cell, Log, Record, Rounds, Study, alike
from ._toy import Candidate, Problem, Toy, divided, perceptron, stacked, told, train_toy


@dataclass(frozen=True, kw_only=True)
class Run(Toy):
    """All that decides the numbers of one cell: several seeds that train side by side."""

    dimension: int
    rows: int
    alpha: float = 1e3
    batch: int = 16
    inner_steps: int = 32
    validation_split: float = 0.25
    beta1: float = 0.5
    meta_learning_rate: float = 3e-4
    teacher_width: int = 512
    resample: bool = True
    """As the authors' code does for this task; the text does not say so."""


@dataclass(frozen=True)
class Config:
    """A parity that privileged information makes easy: figure 3b of the LDT paper."""

    dimensions: tuple[int, ...] = (64, 128, 256, 512)
    """D, the sizes of x."""
    sizes: int = 16
    """Numbers of training examples, spaced exponentially."""
    least: int = 128
    """The smallest of them."""
    most: int = 1024
    """The largest of them."""
    seeds: int = 5
    """Repetitions, with data of their own."""
    meta_steps: int = 200
    """Of 24 student steps each."""
    methods: tuple[Candidate, ...] = ("ldt", "no_teacher")
    """Which methods to run."""
    resample: tuple[bool, ...] = (True,)
    """Whether LDT's split is drawn anew at every meta-step, as the authors' code does."""
    compile: bool = True
    """Compile the inner steps."""
    device: str = "cpu"
    """Where to train."""


class Student(nn.Module):
    """D → 32 → 128 → 1; taught is the first hidden layer, which has no activation function."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, 32), nn.Linear(32, 128)
        self.output = nn.Linear(128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.first(x)
        return self.output(self.second(h).relu()).squeeze(-1), h


def plan(config: Config, shared: Path) -> Rounds:
    """Every dimension, size and method, all seeds in one cell."""
    if config.least > config.most:
        raise invalid("least", f"at most `most` = {config.most}", config.least)
    sizes = np.geomspace(config.least, config.most, config.sizes).round().astype(int)
    yield [
        Run(
            method=method, seeds=list(range(config.seeds)), meta_steps=config.meta_steps,
            dimension=dimension, rows=int(rows), compile=config.compile and method == "ldt",
            resample=resample, device=config.device,
        )
        for method in config.methods
        for resample in (config.resample if method == "ldt" else (True,))
        for dimension in config.dimensions
        for rows in sizes
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell; scores are test accuracies."""

    def draw(seed: int) -> tuple[TaskA, TaskA]:
        generator = torch.Generator().manual_seed(seed)
        data = task_a(run.rows, run.dimension, generator=generator)
        return data, task_a(run.test_rows, run.dimension, generator=generator, weight=data.weight)

    def make() -> Problem:
        draws = [draw(seed) for seed in run.seeds]
        return Problem(
            student=lambda: Student(run.dimension),
            teacher=lambda: perceptron(4, run.teacher_width, 32),
            data=stacked([data for data, _ in draws]),
            test=stacked([test for _, test in draws]),
            label_loss=F.binary_cross_entropy_with_logits,
            teaching_loss=mse,
            score=lambda prediction, y: ((prediction > 0) == (y > 0.5)).float().mean(),
        )

    return train_toy(run, make, log)


def _named(run: Run) -> tuple[str, int, int]:
    return run.method if run.resample else "kept", run.dimension, run.rows


def _grid(cells: Sequence[Cell]) -> tuple[dict[tuple[str, int, int], list[float]], list[Cell]]:
    """Highest accuracies by place, and the cells that diverged."""
    ended, lost = divided(alike(cells, "method", "dimension", "rows", "resample"))
    found: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for cell in ended:
        found[_named(cell.run)] += cell.record["highest"]
    return found, lost


def table(cells: Sequence[Cell]) -> str:
    """Highest test accuracies at a few sizes of figure 3b; the grid's split is drawn anew."""
    found, lost = _grid(cells)
    places = {*found, *(_named(cell.run) for cell in lost)}
    rows = []
    for dimension in sorted({dimension for _, dimension, _ in places}):
        sizes = sorted({rows for _, d, rows in places if d == dimension})
        for size in sizes[:: max(1, len(sizes) // 3)]:
            ldt = mean(found.get(("ldt", dimension, size), []))
            alone = mean(found.get(("no_teacher", dimension, size), []))
            gain = f"{ldt.value - alone.value:+.2f}" if ldt.n and alone.n else ""
            kept = mean(found.get(("kept", dimension, size), []))
            rows.append(
                [
                    str(dimension), str(size), str(ldt.n), f"{alone:.2f}", f"{ldt:.2f}", gain,
                    f"{kept:.2f}" if kept.n else "",
                ]
            )  # fmt: skip
    header = ["D", "examples", "seeds", "no teacher", "LDT", "LDT − no teacher", "LDT, split kept"]
    return markdown(header, rows) + told(
        lost, lambda run: "{}, D = {}, {} rows".format(*_named(run))
    )


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 3b: accuracy by dimension and number of examples."""
    from matplotlib.figure import Figure

    found, _ = _grid(cells)
    dimensions = sorted({dimension for _, dimension, _ in found})
    sizes = sorted({rows for _, _, rows in found})
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (method, label) in zip(
        axes, [("no_teacher", "no teacher"), ("ldt", "LDT")], strict=True
    ):
        image = [
            [mean(found.get((method, dimension, size), [])).value for size in sizes]
            for dimension in dimensions
        ]
        drawn = ax.imshow(image, vmin=0.5, vmax=1.0, aspect="auto", cmap="viridis")
        ax.set(title=label, xlabel="training examples")
        marks = range(0, len(sizes), max(1, len(sizes) // 5))
        ax.set_xticks(list(marks), [str(sizes[k]) for k in marks])
        ax.set_yticks(range(len(dimensions)), [str(d) for d in dimensions])
    axes[0].set_ylabel("D")
    figure.colorbar(drawn, ax=axes, label="test accuracy")
    return {"figure-3b": figure}


study = Study(
    name="ldt-task-a",
    claim="Neitz et al. 2021, figure 3b: on a parity whose inputs privileged information reveals, "
    "LDT needs far fewer examples than no teacher; the more, the larger D.",
    version=2,
    config=Config,
    run=Run,
    full=Config(),
    smoke=Config(
        dimensions=(16,), sizes=1, least=64, seeds=2, meta_steps=2, compile=False
    ),
    plan=plan,
    train=train,
    value=lambda record: max(record["highest"], default=-math.inf),
    table=table,
    plot=plot,
    highest=True,
)  # fmt: skip
