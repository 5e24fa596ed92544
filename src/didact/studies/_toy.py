"""The training that tasks A and B of the LDT paper share: seeds side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from .._checks import Diverged
from ..privileged import LDT, FixedTeacher, NoTeacher, Seeds, each
from ..unroll import Adam
from ._loop import Method, Split, initial_weights, meta_steps, steps
from ._study import Cell, Log, Record

Candidate = Literal["no_teacher", "fixed_teacher", "ldt"]
KEPT_EVERY = 4


def divided(cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Cells that came to their end, and those that diverged, which no mean is of."""
    parts: tuple[list[Cell], list[Cell]] = [], []
    for cell in cells:
        parts[bool(cell.record.get("diverged"))].append(cell)
    return parts


def told(lost: Sequence[Cell], name: Callable[[Any], str]) -> str:
    """A line below a table: which cells diverged; nothing where none did."""
    if not lost:
        return ""
    named = "; ".join(f"{name(cell.run)} ({cell.record['diverged']})" for cell in lost)
    return f"\n\nDiverged, and in no mean: {named}"


@dataclass(frozen=True, kw_only=True)
class Toy:
    """What decides the numbers of a cell, beside its task."""

    method: Candidate
    seeds: list[int]
    """Each draws its own task, data and initial weights; batches are drawn alike."""
    meta_steps: int
    """Each followed by ``student_steps``; the others train for as many steps."""
    alpha: float
    """Teaching coefficient."""
    batch: int
    """Rows per inner and student step."""
    inner_steps: int
    """n."""
    validation_split: float
    """Share of the rows that judge the teacher; the others train on all rows."""
    beta1: float
    """Of every Adam."""
    meta_learning_rate: float
    """Of the teacher."""
    teacher_width: int
    """Of its two hidden layers."""
    resample: bool
    """Draw the split anew at every meta-step."""
    student_steps: int = 24
    """Of each meta-step."""
    entropy: float = 0.0
    """β: bonus for the entropy of no teacher's predictions."""
    test_rows: int = 5000
    """Test examples."""
    compile: bool = False
    """Compile the inner steps."""
    device: str = "cpu"
    """Where to train."""


class Problem(NamedTuple):
    """A task, stacked over seeds.

    Args:
        student, teacher: make one, with initial weights from global random draws.
        data: (x, x*, y), tensors ``[rows, S, ...]``.
        test: the same.
        label_loss, teaching_loss: of one seed.
        score: ``score(prediction, y)`` of one seed's test rows → scalar.
    """

    student: Callable[[], nn.Module]
    teacher: Callable[[], nn.Module]
    data: tuple[Tensor, Tensor, Tensor]
    test: tuple[Tensor, Tensor, Tensor]
    label_loss: Callable[[Any, Any], Tensor]
    teaching_loss: Callable[[Any, Any], Tensor]
    score: Callable[[Tensor, Tensor], Tensor]


def stacked(draws: Sequence[NamedTuple]) -> tuple[Tensor, Tensor, Tensor]:
    """(x, x*, y) of one draw per seed → ``[rows, S, ...]``."""
    x, x_star, y = (
        torch.stack([getattr(draw, name) for draw in draws], 1) for name in ("x", "x_star", "y")
    )
    return x, x_star, y


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Two hidden layers with ReLU."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, outputs),
    )  # fmt: skip


def train_toy(run: Toy, make: Callable[[], Problem], log: Log) -> Record:
    """Train all seeds of a cell at once.

    Args:
        run: the numbers.
        make: draws the problem.
        log: called after every meta-step.

    Returns:
        ``score``: by seed, after the first of ``meta_steps`` and every fourth from there;
        ``last``, ``highest`` and ``lowest``: by seed, after the last and after any of them;
        ``diverged``: how one of the seeds ended them all, or None; CPU ``seconds``.
    """
    began = time.process_time()
    problem = make()
    device = run.device
    with initial_weights(run.seeds[0]):
        student = Seeds([problem.student() for _ in run.seeds]).to(device)
        teacher = Seeds([problem.teacher() for _ in run.seeds]).to(device)
    x, x_star, y = (t.to(device) for t in problem.data)
    data = x, x_star, y
    x_test, _, y_test = (t.to(device) for t in problem.test)
    generator = torch.Generator().manual_seed(run.seeds[0])
    taught = run.method == "ldt"
    split = Split(len(x), run.validation_split if taught else 0.0, generator, device)
    betas = (run.beta1, 0.999)
    label_loss, teaching_loss = each(problem.label_loss), each(problem.teaching_loss)
    before = None
    method: Method
    if run.method == "no_teacher":
        # NoTeacher takes the mean of entropies over seeds, where losses are summed.
        entropy = run.entropy * len(run.seeds)
        method = NoTeacher(student, label_loss=label_loss, entropy=entropy)
    elif run.method == "fixed_teacher":
        method = FixedTeacher(
            student, teacher, label_loss=label_loss, teaching_loss=teaching_loss, alpha=run.alpha
        )
    else:
        method = ldt = LDT(
            student, teacher, label_loss=label_loss, inner=Adam(1e-3, betas),
            teaching_loss=teaching_loss, alpha=run.alpha, compile=run.compile,
        )  # fmt: skip
        meta = torch.optim.Adam(teacher.parameters(), run.meta_learning_rate, betas, fused=True)
        before = meta_steps(
            ldt, meta, data, split, inner_steps=run.inner_steps, batch=run.batch,
            every=run.student_steps, resample=run.resample,
        )  # fmt: skip
    adam = torch.optim.Adam(method.parameters(), 1e-3, betas, fused=True)
    walk = steps(method, adam, data, split.batches(run.batch), before)
    scores: list[list[float]] = []
    diverged = None
    try:
        for k in range(1, run.meta_steps + 1):
            loss = float(torch.stack(list(islice(walk, run.student_steps))).mean())
            if not math.isfinite(loss):
                raise Diverged(f"The loss after meta-step {k} is {loss}.")
            with torch.no_grad():
                found = torch.vmap(problem.score, in_dims=1)(student(x_test)[0], y_test)
            scores.append([float(f"{value:.5g}") for value in found.tolist()])
            log(k, {"loss": loss, "score": float(found.mean())})
    except Diverged as error:
        diverged = str(error)
    curves = list(zip(*scores, strict=True))
    return {
        "highest": [max(curve) for curve in curves],
        "lowest": [min(curve) for curve in curves],
        "last": [curve[-1] for curve in curves],
        "score": [curve[::KEPT_EVERY] for curve in curves],
        "diverged": diverged,
        "seconds": round(time.process_time() - began, 1),
    }
