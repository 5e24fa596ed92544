"""A parity that privileged information makes easy: figure 3b of the LDT paper."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..privileged import LDT, NoTeacher, Seeds, each, mse
from ..tasks import task_a
from ..unroll import Adam
from ._loop import Method, Split, meta_steps, steps
from ._numbers import markdown, mean
from ._study import Cell, Log, Record, Rounds, Study

Candidate = Literal["no_teacher", "ldt"]
INNER_STEPS, STUDENT_STEPS = 32, 24


@dataclass(frozen=True)
class Run:
    """All that decides the numbers of one cell: several seeds that train side by side."""

    method: Candidate
    dimension: int
    rows: int
    seeds: list[int]
    """Each draws its own A, data and initial weights; batches are drawn alike."""
    meta_steps: int
    """Of 24 student steps each; no teacher trains for as many steps."""
    test_rows: int = 5000
    """Test examples."""
    alpha: float = 1e3
    """Teaching coefficient."""
    batch: int = 16
    """Rows per inner and student step."""
    validation_split: float = 0.25
    """Share of the rows that judge the teacher."""
    beta1: float = 0.5
    """Of every Adam."""
    meta_learning_rate: float = 3e-4
    """Of the teacher."""
    teacher_width: int = 512
    """Of its two hidden layers."""
    resample: bool = True
    """Draw the split anew at every meta-step, as the authors' code does for this task."""
    compile: bool = False
    """Compile the inner steps."""
    device: str = "cpu"
    """Where to train."""


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


def plan(config: Config) -> Rounds:
    """Every dimension, size and method, all seeds in one cell."""
    sizes = np.geomspace(config.least, config.most, config.sizes).round().astype(int)
    yield [
        Run(
            method, dimension, int(rows), list(range(config.seeds)), config.meta_steps,
            compile=config.compile and method == "ldt", device=config.device,
        )
        for method in config.methods
        for dimension in config.dimensions
        for rows in sizes
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell.

    Returns:
        ``best``: the paper's number, the highest test accuracy of each seed after any 24 student
        steps; ``accuracy``: by seed, after every tenth of these; CPU ``seconds``.
    """
    began = time.process_time()
    draws = []
    for seed in run.seeds:
        generator = torch.Generator().manual_seed(seed)
        data = task_a(run.rows, run.dimension, generator=generator)
        test = task_a(run.test_rows, run.dimension, generator=generator, weight=data.weight)
        draws.append((data, test))

    def stacked(part: int, name: str) -> Tensor:
        return torch.stack([getattr(draw[part], name) for draw in draws], 1).to(run.device)

    x, x_star, y = (stacked(0, name) for name in ("x", "x_star", "y"))
    x_test, y_test = stacked(1, "x"), stacked(1, "y")
    generator = torch.Generator().manual_seed(run.seeds[0])
    taught = run.method == "ldt"
    split = Split(run.rows, run.validation_split if taught else 0.0, generator, run.device)
    betas = (run.beta1, 0.999)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seeds[0])
        student = Seeds([Student(run.dimension) for _ in run.seeds]).to(run.device)
        width = run.teacher_width
        teachers = [
            nn.Sequential(
                nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                nn.Linear(width, 32),
            )
            for _ in run.seeds
        ]  # fmt: skip
    loss = each(F.binary_cross_entropy_with_logits)
    before = None
    method: Method = NoTeacher(student, label_loss=loss)
    if taught:
        teacher = Seeds(teachers).to(run.device)
        method = ldt = LDT(
            student, teacher, label_loss=loss, inner=Adam(1e-3, betas), teaching_loss=each(mse),
            alpha=run.alpha, compile=run.compile,
        )  # fmt: skip
        meta = torch.optim.Adam(teacher.parameters(), run.meta_learning_rate, betas, fused=True)
        before = meta_steps(
            ldt, meta, (x, x_star, y), split, inner_steps=INNER_STEPS, batch=run.batch,
            every=STUDENT_STEPS, resample=run.resample,
        )  # fmt: skip
    adam = torch.optim.Adam(method.parameters(), 1e-3, betas, fused=True)
    walk = steps(method, adam, (x, x_star, y), split.batches(run.batch), before)
    accuracies: list[list[float]] = []
    for k in range(1, run.meta_steps + 1):
        value = torch.stack(list(islice(walk, STUDENT_STEPS))).mean()
        with torch.no_grad():
            right = (student(x_test)[0] > 0) == (y_test > 0.5)
        accuracies.append([round(a, 4) for a in right.float().mean(0).tolist()])
        log(k, {"loss": float(value), "accuracy": sum(accuracies[-1]) / len(run.seeds)})
    curves = list(zip(*accuracies, strict=True))
    return {
        "best": [max(curve) for curve in curves],
        "accuracy": [curve[9::10] for curve in curves],
        "seconds": round(time.process_time() - began, 1),
    }


def _grid(cells: Sequence[Cell]) -> dict[tuple[str, int, int], list[float]]:
    found: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    longest = max((cell.run.meta_steps for cell in cells), default=0)
    for cell in cells:
        if cell.run.meta_steps == longest:
            found[cell.run.method, cell.run.dimension, cell.run.rows] += cell.record["best"]
    return found


def table(cells: Sequence[Cell]) -> str:
    """Highest test accuracies at a few sizes of figure 3b."""
    found = _grid(cells)
    rows = []
    for dimension in sorted({dimension for _, dimension, _ in found}):
        sizes = sorted({rows for _, d, rows in found if d == dimension})
        for size in sizes[:: max(1, len(sizes) // 5)]:
            ldt = mean(found.get(("ldt", dimension, size), []))
            alone = mean(found.get(("no_teacher", dimension, size), []))
            gain = f"{ldt.value - alone.value:+.2f}" if ldt.n and alone.n else ""
            rows.append([str(dimension), str(size), str(ldt.n), f"{alone:.2f}", f"{ldt:.2f}", gain])
    return markdown(["D", "examples", "seeds", "no teacher", "LDT", "LDT − no teacher"], rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 3b: accuracy by dimension and number of examples."""
    from matplotlib.figure import Figure

    found = _grid(cells)
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
    version=1,
    config=Config,
    run=Run,
    full=Config(),
    smoke=Config(
        dimensions=(16,), sizes=1, least=64, seeds=2, meta_steps=2, compile=False
    ),
    plan=plan,
    train=train,
    value=lambda record: -max(record["best"]),
    table=table,
    plot=plot,
)  # fmt: skip
