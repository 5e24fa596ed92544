"""Train one candidate with one choice of settings."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import Diverged
from ._courses import (
    INNER_MOMENTUM,
    INNER_STEPS_PER_STUDENT_STEP,
    MOST_INNER_BATCH,
    MOST_INNER_LEARNING_RATE,
    MOST_META_VALIDATION,
    course,
)
from ._metrics import PATIENCE
from ._network import TEACHER_CHANNELS, TEACHER_WIDTH, Student
from ._output import Output
from ._rows import Rows

MOST_STEPS_PER_EPOCH = 100
LEAST_IMPROVEMENT = 1e-3
FIXED = {
    "teacher_width": TEACHER_WIDTH,
    "teacher_channels": TEACHER_CHANNELS,
    "inner_momentum": INNER_MOMENTUM,
    "inner_steps_per_student_step": INNER_STEPS_PER_STUDENT_STEP,
    "most_inner_batch": MOST_INNER_BATCH,
    "most_inner_learning_rate": MOST_INNER_LEARNING_RATE,
    "most_meta_validation": MOST_META_VALIDATION,
    "most_steps_per_epoch": MOST_STEPS_PER_EPOCH,
    "least_improvement": LEAST_IMPROVEMENT,
}
"""What no search changes, but decides the numbers."""


@dataclass(frozen=True)
class Budget:
    """When training ends: after ``epochs``, or ``patience`` epochs without improvement."""

    epochs: int
    patience: int


@dataclass(frozen=True)
class Curve:
    """How a descent went: losses by epoch, the best of validation, and why it ended.

    ``cut_short``: the budget ran out before so many epochs as patience asks had brought no gain.
    """

    best: float
    training: list[float]
    validation: list[float]
    cut_short: bool


@dataclass(frozen=True)
class Trained:
    """The student at its best validation loss, and how it came there."""

    student: Student
    curve: Curve
    cut_short: bool
    skipped: int
    teacher: nn.Module | None


def train(
    candidate: str,
    settings: dict[str, Any],
    training: Rows,
    validation: Rows,
    output: Output,
    *,
    groups: Tensor | None,
    budget: Budget,
    seed: int,
    log: Callable[[int, float, float], None] | None = None,
) -> Trained:
    """Train until the validation loss stops improving; return the best student.

    An epoch is as many student steps as the training rows have batches, for every candidate, and
    at most 100. A network of x* that is trained first (generalised distillation) has the same
    budget, and is judged on the same validation rows.

    Args:
        candidate: a key of ``SPACES`` that is a network.
        settings: one point of its space.
        training, validation: examples; the oracle's have ``hindsight``.
        output: what the student's last layer means.
        groups: of each training row; LDT then splits by group. ``None`` for none.
        budget: when to stop.
        seed: of every random draw.
        log: called with (epoch, training loss, validation loss).

    Raises:
        Diverged: naming the epoch, where a loss is not finite.
    """
    device = training.y.device
    generator = torch.Generator().manual_seed(seed)
    per_epoch = min(math.ceil(len(training) / settings["batch_size"]), MOST_STEPS_PER_EPOCH)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        found = course(candidate, settings, training, output, groups, generator)

        def descend(
            name: str,
            module: nn.Module,
            parameters: list[nn.Parameter],
            loss: Callable[[int], Tensor],
            judged: Callable[[], float],
            log: Callable[[int, float, float], None] | None = None,
        ) -> Curve:
            optimizer = torch.optim.AdamW(
                parameters,
                settings["learning_rate"],
                weight_decay=settings["weight_decay"],
                fused=True,
            )
            try:
                return _descend(module, optimizer, loss, judged, per_epoch, budget, log)
            except Diverged as error:
                raise Diverged(f"{name} {error}, settings {settings}.") from None

        early = False
        if found.before is not None:
            guide = found.teacher
            assert guide is not None
            early = descend(
                f"The teacher of candidate `{candidate}`",
                guide,
                list(guide.parameters()),
                found.before,
                lambda: _judge(
                    guide,
                    lambda examples: guide(validation.privileged(examples)),
                    validation,
                    output,
                ),
            ).cut_short
        curve = descend(
            f"Candidate `{candidate}`",
            found.student,
            found.parameters,
            found.loss,
            lambda: judge(found.student, validation, output),
            log,
        )
    found.student.eval()
    skipped = 0 if found.ldt is None else found.ldt.skipped
    return Trained(found.student, curve, curve.cut_short or early, skipped, found.teacher)


def _descend(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[int], Tensor],
    judged: Callable[[], float],
    per_epoch: int,
    budget: Budget,
    log: Callable[[int, float, float], None] | None,
) -> Curve:
    """Descend until ``judged`` stops improving, and leave ``module`` as it was at its best."""
    best, kept = math.inf, copy.deepcopy(module.state_dict())
    # The best is kept however small its lead, but only a lead that matters earns more epochs.
    mark, last = math.inf, 0
    training: list[float] = []
    validation: list[float] = []
    for epoch in range(1, budget.epochs + 1):
        module.train()
        total: Tensor | float = 0.0
        for step in range((epoch - 1) * per_epoch, epoch * per_epoch):
            value = loss(step)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total = total + value.detach()
        now, mean = judged(), float(total) / per_epoch
        if not math.isfinite(now) or not math.isfinite(mean):
            raise Diverged(
                f"diverged in epoch {epoch}: training loss {mean:g}, validation loss {now:g}"
            )
        training.append(mean)
        validation.append(now)
        if log is not None:
            log(epoch, mean, now)
        if now < best:
            best, kept = now, copy.deepcopy(module.state_dict())
        if now < mark * (1 - LEAST_IMPROVEMENT):
            mark, last = now, epoch
        if epoch - last >= budget.patience:
            break
    module.load_state_dict(kept)
    return Curve(best, training, validation, epoch - last < min(budget.patience, PATIENCE))


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread for a while: small nets are slower with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def judge(student: nn.Module, rows: Rows, output: Output) -> float:
    """The loss by which candidates are chosen and compared: log loss, or mean squared error."""
    return _judge(student, lambda examples: student(rows.features(examples))[0], rows, output)


def _judge(
    module: nn.Module, found: Callable[[Tensor], Tensor], rows: Rows, output: Output
) -> float:
    module.eval()
    total = 0.0
    with torch.no_grad():
        for examples in rows.chunks():
            y, label = rows.y[examples], rows.label[examples]
            total += float(output.judge(found(examples), y, label).sum())
    return total / len(rows)
