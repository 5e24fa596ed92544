"""How each candidate learns: the student, what is trained with it, and the loss of a step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ..privileged import (
    LDT,
    TRAM,
    Auxiliary,
    FixedTeacher,
    GeneralisedDistillation,
    NoTeacher,
)
from ..unroll import SGD
from ._network import Features, Head, PrivilegedHead, Student, teacher
from ._output import Output
from ._rows import Rows, some

INNER_MOMENTUM = 0.75
INNER_STEPS_PER_STUDENT_STEP = 2
MOST_INNER_BATCH = 32
MOST_INNER_LEARNING_RATE = 0.1
MOST_META_VALIDATION = 512


@dataclass(frozen=True)
class Course:
    """One candidate's training.

    Attributes:
        student: what is kept.
        parameters: what the optimizer trains.
        loss: the loss of the k-th step, k = 0, 1, …; called once for each.
        teacher: the network of x*, if there is one, for a look at what it uses.
        ldt: the method, if it is LDT.
        before: a network of x* to train first, with the loss of its k-th step.
    """

    student: Student
    parameters: list[nn.Parameter]
    loss: Callable[[int], Tensor]
    teacher: nn.Module | None = None
    ldt: LDT | None = None
    before: Callable[[int], Tensor] | None = None


def course(
    candidate: str,
    settings: dict[str, Any],
    training: Rows,
    output: Output,
    groups: Tensor | None,
    generator: torch.Generator,
) -> Course:
    """The course of a candidate: a key of ``SPACES`` with one point of its space.

    Args:
        candidate, settings: which, and how.
        training: the rows it learns from.
        output: of the student.
        groups: of each training row; LDT then splits by group. None for none.
        generator: of batches and splits; networks are drawn from torch's own.
    """
    device = training.y.device
    student = Student(
        training.n_features,
        output.size,
        width=settings["width"],
        depth=settings["depth"],
        dropout=settings["dropout"],
    ).to(device)
    draws = batches_of(torch.arange(len(training)), settings["batch_size"], generator)

    def batch() -> tuple[Tensor, Tensor, Tensor]:
        return _batch(training, output, next(draws))

    steps, width = training.steps, settings["width"]
    later = training.x_star.shape[1]
    match candidate:
        case "no_teacher" | "oracle":
            alone = NoTeacher(student, label_loss=output.loss)
            return _simple(student, alone, batch)
        case "auxiliary":
            head = Head(width, training.n_privileged).to(device)
            auxiliary = Auxiliary(
                student, head, label_loss=output.loss, weight=settings["weight"],
                auxiliary_loss=_flat_mse,
            )  # fmt: skip
            return _simple(student, auxiliary, batch)
        case "generalised_distillation":
            guide = teacher(steps, later, output.size).to(device)
            distilled = GeneralisedDistillation(
                student, guide, label_loss=output.loss, imitation=settings["imitation"],
                temperature=1.0 if output.plain else settings["temperature"],
                imitation_loss=output.imitation if output.plain else None,
            )  # fmt: skip
            simple = _simple(student, distilled, batch)
            return Course(
                student, simple.parameters, simple.loss, guide,
                before=lambda step: distilled.teacher_loss(batch()),
            )  # fmt: skip
        case "tram":
            head_of_both = PrivilegedHead(width, training.n_privileged, output.size).to(device)
            tram = TRAM(
                Features(student.body), student.output, head_of_both, label_loss=output.loss
            )
            return _simple(student, tram, batch)
        case _:
            asked = teacher(steps, later, 2 * student.neurons).to(device)
    if candidate == "fixed_teacher":
        fixed = FixedTeacher(student, asked, label_loss=output.loss, alpha=settings["alpha"])
        return _simple(student, fixed, batch)
    return _ldt(student, asked, settings, training, output, groups, generator, batch)


def _simple(student: Student, method: Any, batch: Callable[[], Any]) -> Course:
    return Course(student, list(method.parameters()), lambda step: method.loss(batch()))


def _ldt(
    student: Student,
    asked: nn.Module,
    settings: dict[str, Any],
    training: Rows,
    output: Output,
    groups: Tensor | None,
    generator: torch.Generator,
    batch: Callable[[], Any],
) -> Course:
    inner_rate = _inner_learning_rate(student, settings, training)
    ldt = LDT(
        student,
        asked,
        label_loss=output.loss,
        inner=SGD(inner_rate, INNER_MOMENTUM),
        alpha=settings["alpha"],
    )
    pool, held = _split_once(len(training), settings["validation_split"], groups, generator)
    meta = torch.optim.Adam(asked.parameters(), settings["meta_learning_rate"])
    n = settings["inner_steps"]
    inner = batches_of(pool, min(settings["batch_size"], MOST_INNER_BATCH), generator)
    judges = batches_of(held, MOST_META_VALIDATION, generator)
    own = batches_of(pool, settings["batch_size"], generator)

    def teach(step: int) -> None:
        if step % (n // INNER_STEPS_PER_STUDENT_STEP) == 0:
            batches = _batch(training, output, torch.stack([next(inner) for _ in range(n)]))
            x, _, y = _batch(training, output, next(judges))
            if ldt.meta_step(meta, batches, (x, y)).skipped:
                # The limit was that of the first layer; targets that grew have lowered another's.
                ldt.inner = SGD(inner_rate / 2**ldt.skipped, INNER_MOMENTUM)

    # The teacher is judged on rows that its student has not seen. A second student, which the
    # teacher's meta-gradient does not know, learns from all rows: it is the one that is kept.
    kept = copy.deepcopy(student)
    whole = FixedTeacher(kept, asked, label_loss=output.loss, alpha=settings["alpha"])

    def both(step: int) -> Tensor:
        teach(step)
        return ldt.loss(_batch(training, output, next(own))) + whole.loss(batch())

    def alone(step: int) -> Tensor:
        teach(step)
        return ldt.loss(_batch(training, output, next(own)))

    if not settings["all_rows"]:
        return Course(student, list(ldt.parameters()), alone, asked, ldt)
    return Course(kept, list(chain(ldt.parameters(), whole.parameters())), both, asked, ldt)


def _inner_learning_rate(student: Student, settings: dict[str, Any], training: Rows) -> float:
    """A share of the learning rate from which on the first layer's steps would grow.

    The teaching loss α·mean_k σ_k (h_k − h*_k)², σ_k ≤ 1, has in a row of the first layer the
    Hessian (2α/K) E[x xᵀ] for K neurons, and gradient descent with momentum β is stable below
    2(1 + β) / λ_max of it. So one range of the setting serves tables of any width and any α.
    """
    x = training.features(some(training, 2000)).double()
    v = torch.ones(x.shape[1], dtype=x.dtype, device=x.device)
    for _ in range(30):  # power iteration: from E[x xᵀ] v to its largest eigenvalue
        v = x.T @ (x @ (v / v.norm().clamp(min=1e-30))) / len(x)
    curvature = 2 * settings["alpha"] / student.neurons * float(v.norm())
    limit: float = 2 * (1 + INNER_MOMENTUM) / max(curvature, 1e-12)
    share: float = settings["inner_learning_rate"]
    return min(share * limit, MOST_INNER_LEARNING_RATE)


def _batch(rows: Rows, output: Output, examples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(x, x*, target) of some examples, with the axes of ``examples`` in front."""
    target = output.target(rows.y, rows.label)
    return rows.features(examples), rows.privileged(examples), target[examples]


def _flat_mse(found: Tensor, x_star: Tensor) -> Tensor:
    return nn.functional.mse_loss(found, x_star.flatten(found.dim() - 1))


def _split_once(
    n: int, fraction: float, groups: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Training rows in two, once and for all: for the student, and to judge it for the teacher."""
    of_row = torch.arange(n) if groups is None else torch.unique(groups, return_inverse=True)[1]
    count = int(of_row.max()) + 1
    order = torch.randperm(count, generator=generator)
    if count == 1 and n > 1:  # one group only: no split by group is possible
        return _split_once(n, fraction, None, generator)
    if n == 1:
        return order, order
    judged = torch.isin(of_row, order[: min(max(1, round(fraction * count)), count - 1)])
    return (~judged).nonzero().flatten(), judged.nonzero().flatten()


def batches_of(rows: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of ``size`` rows for ever; every row once before any comes again."""
    size = min(size, len(rows))
    while True:
        order = rows[torch.randperm(len(rows), generator=generator)]
        for start in range(0, len(rows) - size + 1, size):
            yield order[start : start + size]
