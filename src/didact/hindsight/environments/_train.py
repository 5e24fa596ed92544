"""Train a network on several environments, by one of four rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..._checks import Diverged
from ...agreement import agreement, irm_penalty, variance_of_losses
from .._courses import batches_of
from .._network import Student
from .._output import Output
from .._rows import Rows
from .._train import LEAST_IMPROVEMENT, MOST_STEPS_PER_EPOCH, judge
from ._choose import ended

FIXED = {"most_steps_per_epoch": MOST_STEPS_PER_EPOCH, "least_improvement": LEAST_IMPROVEMENT}
"""What no search changes, but decides the numbers."""


@dataclass
class Trained:
    """A student, its training loss by epoch, and the loss of each part that was held out."""

    student: Student
    training: list[float] = field(default_factory=list)
    curves: dict[int, list[float | None]] = field(default_factory=dict)


def train(
    candidate: str,
    settings: dict[str, Any],
    rows: Rows,
    site: Tensor,
    output: Output,
    *,
    held_out: Mapping[int, Sequence[Rows]],
    epochs: int,
    patience: int | None,
    seed: int,
    log: Callable[[int, float, dict[int, float | None]], None] | None = None,
) -> Trained:
    """Train for so many epochs, or until the loss has stopped falling on all that is held out.

    Every batch has as many rows of one environment as of another, so that all four rules descend
    the mean of the environments' losses; they differ in what they do to its gradient, or add to it:
    plain nothing, the AND-mask takes out what environments do not agree on, V-REx adds the variance
    of their losses, IRM their slopes in the scale of the output. In one environment alone nothing
    can disagree, and all four are plain.

    Args:
        candidate: one of ``NETWORKS``.
        settings: how.
        rows: to learn from.
        site: the environment of each, ``[n]``.
        output: what the student's last layer means.
        held_out: part → the rows of each of its environments; they are judged, not learnt from.
        epochs: of at most 100 steps.
        patience: epochs without a gain after which a part is done; None: all epochs.
        seed: of every random draw.
        log: called with (epoch, training loss, loss of each part).

    Raises:
        Diverged: naming the epoch, where the training loss is not finite.
    """
    device = rows.y.device
    generator = torch.Generator().manual_seed(seed)
    members = [(site == e).nonzero().flatten().cpu() for e in sorted(set(site.tolist()))]
    each = min(settings["rows_per_environment"], *map(len, members))
    steps = min(math.ceil(len(rows) / (each * len(members))), MOST_STEPS_PER_EPOCH)
    draws = [batches_of(own, each, generator) for own in members]
    targets = output.target(rows.y, rows.label)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        student = Student(
            rows.n_features,
            output.size,
            width=settings["width"],
            depth=settings["depth"],
            dropout=settings["dropout"],
        ).to(device)
        optimizer = torch.optim.AdamW(
            student.parameters(),
            settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            fused=True,
        )
        rule = candidate if len(members) > 1 else "plain"
        made = Trained(student, curves={part: [] for part in held_out})
        for epoch in range(1, epochs + 1):
            student.train()
            total: Tensor | float = 0.0
            for _ in range(steps):
                examples = torch.cat([next(own) for own in draws]).to(device)
                optimizer.zero_grad(set_to_none=True)
                batch = rows.features(examples), targets[examples], site[examples]
                total = total + backward(rule, settings, student, *batch, output, epoch)
                optimizer.step()
            mean = float(total) / steps
            if not math.isfinite(mean):
                raise Diverged(
                    f"Candidate `{candidate}` diverged in epoch {epoch}: training loss {mean:g}, "
                    f"settings {settings}."
                )
            made.training.append(mean)
            now = {part: _judged(student, of, output) for part, of in held_out.items()}
            for part, value in now.items():
                made.curves[part].append(value)
            if log is not None:
                log(epoch, mean, now)
            if patience is not None and all(
                ended(curve, patience) is not None for curve in made.curves.values()
            ):
                break
    student.eval()
    return made


def backward(
    rule: str,
    settings: dict[str, Any],
    student: Student,
    x: Tensor,
    target: Tensor,
    site: Tensor,
    output: Output,
    epoch: int,
) -> Tensor:
    """Leave the gradient of one batch, with as many rows of each environment, in the student.

    A penalty grows to its weight in the first ``warm_up`` epochs.

    Returns:
        The mean loss, without a penalty.
    """
    if rule == "and_mask":
        masked = agreement(
            student,
            environments=site,
            threshold=settings["threshold"],
            rescale=settings["rescale"],
        )
        with masked:
            loss = output.loss(student(x)[0], target)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    found = student(x)[0]
    whole = loss = output.loss(found, target)
    if rule != "plain":
        if rule == "v_rex":
            penalty = variance_of_losses(output.each(found, target), site)
        else:
            penalty = irm_penalty(found, target, site, loss=output.each)
        share = min(1.0, epoch / settings["warm_up"]) if settings["warm_up"] else 1.0
        whole = loss + share * settings["weight"] * penalty
    whole.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def _judged(student: Student, environments: Sequence[Rows], output: Output) -> float | None:
    """The mean of the environments' losses; None where it is not finite."""
    found = sum(judge(student, rows, output) for rows in environments) / len(environments)
    return found if math.isfinite(found) else None
