"""Train one candidate with one choice of settings."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._checks import Diverged
from ..privileged import LDT, Auxiliary, FixedTeacher, NoTeacher
from ..unroll import SGD
from ._network import Head, Student, Teacher

TEACHER_WIDTH = 256
INNER_MOMENTUM = 0.75
INNER_STEPS_PER_STUDENT_STEP = 2
MOST_META_VALIDATION = 512
FIXED = {
    "teacher_width": TEACHER_WIDTH,
    "inner_momentum": INNER_MOMENTUM,
    "inner_steps_per_student_step": INNER_STEPS_PER_STUDENT_STEP,
    "most_meta_validation": MOST_META_VALIDATION,
}
"""What no search changes, but decides the numbers."""


@dataclass(frozen=True)
class Rows:
    """Encoded rows: features of x and x*, the class or bin, and the label as it is measured."""

    x: Tensor
    x_star: Tensor
    y: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(x, x*, y) of some rows, with the axes of ``rows`` in front."""
        return self.x[rows], self.x_star[rows], self.y[rows]


@dataclass(frozen=True)
class Budget:
    """When training ends: after ``epochs``, or ``patience`` epochs without improvement."""

    epochs: int
    patience: int


@dataclass(frozen=True)
class Trained:
    """The student at its best validation loss, and how it came there."""

    student: Student
    validation: float
    epochs: int
    train_curve: list[float]
    validation_curve: list[float]
    skipped: int


def train(
    candidate: str,
    settings: dict[str, Any],
    training: Rows,
    validation: Rows,
    *,
    outputs: int,
    values: Tensor | None,
    groups: Tensor | None,
    budget: Budget,
    seed: int,
    log: Callable[[int, float, float], None] | None = None,
) -> Trained:
    """Train until the validation loss stops improving; return the best student.

    An epoch is as many student steps as the training rows have batches, for every candidate: LDT,
    whose student sees only its part of them, takes as many steps as the others.

    Args:
        candidate: a key of ``SPACES``.
        settings: one point of its space.
        training, validation: encoded rows. The oracle's x must already hold x*.
        outputs: classes or bins.
        values: the bins' values for a regression, judged by squared error; ``None`` for classes,
            judged by log loss.
        groups: of each training row; LDT then splits by group. ``None`` for none.
        budget: when to stop.
        seed: of every random draw.
        log: called with (epoch, training loss, validation loss).

    Raises:
        Diverged: naming the epoch, where a loss is not finite.
    """
    device = training.y.device
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        student = Student(
            training.x.shape[1],
            outputs,
            width=settings["width"],
            depth=settings["depth"],
            dropout=settings["dropout"],
        ).to(device)
        method = _method(candidate, student, training.x_star.shape[1], settings, device)
        optimizer = torch.optim.AdamW(
            method.parameters(), settings["learning_rate"], weight_decay=settings["weight_decay"]
        )
        teach, pool = _teaching(method, settings, training, groups, generator)
        size = min(settings["batch_size"], len(pool))
        draws = _batches(pool, size, generator)
        per_epoch = math.ceil(len(training) / settings["batch_size"])
        best, best_epoch, kept = math.inf, 0, copy.deepcopy(student.state_dict())
        curves: tuple[list[float], list[float]] = ([], [])
        for epoch in range(1, budget.epochs + 1):
            student.train()
            total = torch.zeros((), device=device)
            for step in range((epoch - 1) * per_epoch, epoch * per_epoch):
                teach(step)
                optimizer.zero_grad(set_to_none=True)
                loss = method.loss(training.batch(next(draws)))
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.detach()
            now = judge(student, validation, values)
            found = float(total) / per_epoch
            if not math.isfinite(now) or not math.isfinite(found):
                raise Diverged(
                    f"Candidate `{candidate}` diverged in epoch {epoch}: training loss {found:g}, "
                    f"validation loss {now:g}, settings {settings}."
                )
            curves[0].append(found)
            curves[1].append(now)
            if log is not None:
                log(epoch, found, now)
            if now < best:
                best, best_epoch, kept = now, epoch, copy.deepcopy(student.state_dict())
            if epoch - best_epoch >= budget.patience:
                break
    student.load_state_dict(kept)
    student.eval()
    skipped = method.skipped if isinstance(method, LDT) else 0
    return Trained(student, best, best_epoch, *curves, skipped)


def judge(student: nn.Module, rows: Rows, values: Tensor | None) -> float:
    """The loss by which candidates are chosen and compared: log loss, or mean squared error."""
    student.eval()
    with torch.no_grad():
        logits, _ = student(rows.x)
        if values is None:
            return float(F.cross_entropy(logits, rows.y))
        return float(F.mse_loss(logits.softmax(-1) @ values, rows.label))


Method = NoTeacher | Auxiliary | FixedTeacher | LDT


def _method(
    candidate: str, student: Student, privileged: int, settings: dict[str, Any], device: Any
) -> Method:
    if candidate in ("no_teacher", "oracle"):
        return NoTeacher(student, label_loss=F.cross_entropy)
    if candidate == "auxiliary":
        head = Head(settings["width"], privileged).to(device)
        return Auxiliary(student, head, label_loss=F.cross_entropy, weight=settings["weight"])
    teacher = Teacher(privileged, student.neurons, width=TEACHER_WIDTH).to(device)
    if candidate == "fixed_teacher":
        return FixedTeacher(student, teacher, label_loss=F.cross_entropy, alpha=settings["alpha"])
    return LDT(
        student,
        teacher,
        label_loss=F.cross_entropy,
        inner=SGD(settings["inner_learning_rate"], INNER_MOMENTUM),
        alpha=settings["alpha"],
    )


def _teaching(
    method: Method,
    settings: dict[str, Any],
    training: Rows,
    groups: Tensor | None,
    generator: torch.Generator,
) -> tuple[Callable[[int], None], Tensor]:
    """What happens before a student step, and the rows that the student may train on."""
    if not isinstance(method, LDT):
        return (lambda step: None), torch.arange(len(training))
    pool, held = _split_once(len(training), settings["validation_split"], groups, generator)
    meta = torch.optim.Adam(method.teacher.parameters(), settings["meta_learning_rate"])
    n = settings["inner_steps"]
    draws = _batches(pool, min(settings["batch_size"], len(pool)), generator)
    judges = _batches(held, min(MOST_META_VALIDATION, len(held)), generator)

    def teach(step: int) -> None:
        if step % (n // INNER_STEPS_PER_STUDENT_STEP) == 0:
            batches = training.batch(torch.stack([next(draws) for _ in range(n)]))
            x, _, y = training.batch(next(judges))
            method.meta_step(meta, batches, (x, y))

    return teach, pool


def _split_once(
    n: int, fraction: float, groups: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Training rows in two, once and for all: for the student, and to judge it for the teacher."""
    of_row = torch.arange(n) if groups is None else torch.unique(groups, return_inverse=True)[1]
    count = int(of_row.max()) + 1
    held = torch.randperm(count, generator=generator)[: max(1, round(fraction * count))]
    judged = torch.isin(of_row, held)
    if bool(judged.all()):  # one group only: no split by group is possible
        return _split_once(n, fraction, None, generator)
    return (~judged).nonzero().flatten(), judged.nonzero().flatten()


def _batches(rows: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of ``size`` rows for ever; every row once before any comes again."""
    while True:
        order = rows[torch.randperm(len(rows), generator=generator)]
        for start in range(0, len(rows) - size + 1, size):
            yield order[start : start + size]
