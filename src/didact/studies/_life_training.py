"""How the study of the Game of Life trains."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from .._checks import Diverged
from ..privileged import LDT, FixedTeacher, NoTeacher
from ..tasks import Life, game_of_life
from ..unroll import Adam
from ._life_nets import (
    LAYERS_PER_STEP,
    STEPS,
    Mixtures,
    Student,
    mixed_mse,
    oracle_logits,
    third_layers_mse,
)
from ._loop import Method, Split, initial_weights, meta_steps, steps
from ._study import Log, Record

Candidate = Literal["no_teacher", "fixed_random", "fixed_oracle", "ldt"]
STUDENT_STEPS = 24
APART_SEED = 10**6
"""Of held-out and test boards; a run's seed is smaller."""


@dataclass(frozen=True)
class Run:
    """All that decides the numbers of one run."""

    method: Candidate
    rows: int
    settings: dict[str, Any]
    """One point of the method's space."""
    seed: int
    """Of data, initial weights, split and batches; the test boards are the same for all."""
    board: int = 17
    """Cells along a side."""
    epochs: int = 200
    """Passes of the student over the rows it trains on."""
    judged_every: int = 5
    """Epochs between two looks at held-out and test boards."""
    test_rows: int = 2048
    """Test boards, which choose nothing."""
    held_out_rows: int = 1024
    """Boards that choose settings and epochs."""
    compile: bool = False
    """Compile LDT's inner steps."""
    device: str = "cpu"
    """Where to train."""


def train(run: Run, shared: Path, log: Log) -> Record:
    """One run; accuracies by epoch on held-out and test boards."""
    began = time.process_time()
    settings, device = run.settings, torch.device(run.device)
    generator = torch.Generator().manual_seed(run.seed)
    order = torch.randperm(STEPS, generator=torch.Generator().manual_seed(0))
    data = game_of_life(run.rows, generator=generator, size=run.board, order=order)
    apart = torch.Generator().manual_seed(APART_SEED)
    sets = {
        "training": data,
        "held_out": game_of_life(run.held_out_rows, generator=apart, size=run.board, order=order),
        "test": game_of_life(run.test_rows, generator=apart, size=run.board, order=order),
    }
    sets = {name: Life(*(t.to(device) for t in part)) for name, part in sets.items()}
    data = sets["training"]
    with initial_weights(run.seed):
        method, before, split = _method(run, data, generator)
    adam = torch.optim.Adam(
        method.parameters(), settings["learning_rate"],
        (1.0 - settings["one_minus_beta1"], 0.999), weight_decay=settings["weight_decay"],
        fused=True,
    )  # fmt: skip
    rows = (data.x, data.x_star, data.y)
    batch = min(settings["batch"], len(split.pool))
    walk = steps(method, adam, rows, split.batches(batch), before)
    per_epoch = max(1, len(split.pool) // batch)
    accuracies: dict[str, list[float]] = {name: [] for name in sets}
    attention: list[float] = []
    diverged = None
    try:
        for epoch in range(1, run.epochs + 1):
            loss = float(torch.stack(list(islice(walk, per_epoch))).mean())
            if not math.isfinite(loss):
                raise Diverged(f"The loss of epoch {epoch} is {loss}.")
            if epoch % run.judged_every and epoch < run.epochs:
                continue
            now = {name: _accuracy(method.student, part) for name, part in sets.items()}
            for name, value in now.items():
                accuracies[name].append(round(value, 4))
            if isinstance(method, LDT) and isinstance(method.teacher, Mixtures):
                attention.append(round(method.teacher.attention(), 4))
            log(epoch, {"loss": loss, **now})
    except Diverged as error:
        diverged = str(error)
    return {
        **accuracies,
        "attention": attention,
        "skipped": method.skipped if isinstance(method, LDT) else 0,
        "diverged": diverged,
        "seconds": round(time.process_time() - began, 1),
    }


def _method(run: Run, data: Life, generator: torch.Generator) -> tuple[Method, Any, Split]:
    settings, device = run.settings, run.device
    filters = settings["filters"]
    student = Student(filters, settings["weight_scale"]).to(device)
    loss = F.binary_cross_entropy_with_logits
    held = settings["validation_split"] if run.method == "ldt" else 0.0
    # At least one row on each side, whatever the share.
    held = min(max(held, 1 / run.rows), 1 - 1 / run.rows) if held else 0.0
    split = Split(run.rows, held, generator, device)
    if run.method == "no_teacher":
        return NoTeacher(student, label_loss=loss), None, split
    if run.method == "fixed_oracle":
        phi, teaching = oracle_logits(data.order, filters), third_layers_mse
        temperature = 1.0
    else:
        temperature = settings["attention_scale"]
        shape = (STEPS, LAYERS_PER_STEP * STEPS, filters)
        phi = settings["teacher_weight_scale"] * torch.randn(shape, generator=generator)
        teaching = mixed_mse
    teacher = Mixtures(phi, temperature).to(device)
    alpha = settings["teaching"]
    if run.method != "ldt":
        return (
            FixedTeacher(student, teacher, label_loss=loss, teaching_loss=teaching, alpha=alpha),
            None,
            split,
        )
    ldt = LDT(
        student, teacher, label_loss=loss, teaching_loss=teaching, alpha=alpha,
        inner=Adam(
            settings["learning_rate"], (1.0 - settings["one_minus_beta1"], 0.999),
            weight_decay=settings["weight_decay"],
        ),
        compile=run.compile,
    )  # fmt: skip
    meta = torch.optim.SGD(
        teacher.parameters(), settings["meta_learning_rate"], settings["meta_momentum"]
    )
    before = meta_steps(
        ldt, meta, (data.x, data.x_star, data.y), split, inner_steps=settings["inner_steps"],
        batch=min(settings["batch"], len(split.pool)), every=STUDENT_STEPS,
    )  # fmt: skip
    return ldt, before, split


def _accuracy(student: nn.Module, part: Life) -> float:
    right = 0
    with torch.no_grad():
        for rows in torch.arange(len(part.y), device=part.y.device).tensor_split(
            max(1, len(part.y) // 256)
        ):
            right += int(((student(part.x[rows])[0] > 0) == (part.y[rows] > 0.5)).sum())
    return right / len(part.y)
