"""How the study of two dials trains: every method, several seeds side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._checks import Diverged
from ..privileged import (
    LDT,
    TRAM,
    Auxiliary,
    GeneralisedDistillation,
    NoTeacher,
    Seeds,
    each,
    gated_mse,
    mse,
)
from ..tasks import Dials, dials
from ..unroll import SGD
from ._loop import Split, initial_weights, meta_steps, steps, take
from ._study import Log, Record
from ._toy import perceptron, stacked

Candidate = Literal["no_teacher", "auxiliary", "generalised_distillation", "tram", "ldt"]
WIDTH, DIMENSION, BATCH, PER_EPOCH = 64, 32, 32, 16
TEACHER_STEPS = 600


@dataclass(frozen=True)
class Run:
    """All that decides the numbers of one cell: several seeds that train side by side."""

    method: Candidate
    weight: float
    """Of hindsight: auxiliary weight, imitation λ, or α."""
    star_from_x: float
    """p: share of each privileged column that x determines."""
    luck_in_star: float
    """r: share of the rest that is the label's own luck."""
    seeds: list[int]
    """Each draws its own task, data and initial weights."""
    rows: int = 512
    """Training examples."""
    validation_rows: int = 512
    """Examples that choose the weight and when to stop."""
    test_rows: int = 4096
    """Test examples."""
    epochs: int = 100
    """Of 16 student steps each."""
    device: str = "cpu"
    """Where to train."""


class Body(nn.Sequential):
    """x → 64 → 64."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(DIMENSION, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())


class Student(nn.Module):
    """x → 64 → 64 → 1; taught are the pre-activations of both hidden layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(DIMENSION, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.output = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(x)
        second = self.second(first.relu())
        return self.output(second.relu()).squeeze(-1), torch.cat([first, second], -1)


class Scalar(nn.Module):
    """A network whose one output is a number."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> Tensor:
        out: Tensor = self.net(torch.cat(inputs, -1))
        return out.squeeze(-1)


class AuxiliaryHead(nn.Linear):
    """Second hidden layer, after its ReLU → x*."""

    def forward(self, activations: Tensor) -> Tensor:
        return super().forward(activations[..., WIDTH:].relu())


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell.

    Returns:
        ``validation`` and ``test``: by seed, squared errors of the student that was best on
        validation rows, before it ``diverged``; the label has variance 1, of which half is luck.
        CPU ``seconds``.
    """
    began = time.process_time()

    def draw(seed: int) -> list[Dials]:
        generator = torch.Generator().manual_seed(seed)
        parts: list[Dials] = []
        for n in (run.rows, run.validation_rows, run.test_rows):
            parts.append(
                dials(
                    n, DIMENSION, star_from_x=run.star_from_x, luck_in_star=run.luck_in_star,
                    generator=generator, weight=parts[0].weight if parts else None,
                )
            )  # fmt: skip
        return parts

    draws = [draw(seed) for seed in run.seeds]
    data, validation, test = (
        tuple(t.to(run.device) for t in stacked([parts[k] for parts in draws])) for k in range(3)
    )
    copies = data[1].shape[-1]
    generator = torch.Generator().manual_seed(run.seeds[0])
    with initial_weights(run.seeds[0]):
        deployed, walk = _course(run, data, copies, generator)
    best = torch.full((len(run.seeds),), float("inf"), device=run.device)
    tested = best.clone()
    diverged = None
    for epoch in range(1, run.epochs + 1):
        try:
            loss = float(torch.stack(list(islice(walk, PER_EPOCH))).mean())
        except Diverged as error:
            diverged = f"Epoch {epoch}: {error}"
            break
        with torch.no_grad():
            judged, now = ((deployed(x) - y).square().mean(0) for x, _, y in (validation, test))
        better = judged < best
        best, tested = torch.where(better, judged, best), torch.where(better, now, tested)
        log(epoch, {"loss": loss, "validation": float(judged.mean())})
    return {
        "validation": [float(f"{value:.5g}") for value in best.tolist()],
        "test": [float(f"{value:.5g}") for value in tested.tolist()],
        "diverged": diverged,
        "seconds": round(time.process_time() - began, 1),
    }


def _course(
    run: Run, data: Any, copies: int, generator: torch.Generator
) -> tuple[Callable[[Tensor], Tensor], Iterator[Tensor]]:
    """What is deployed, and the endless walk of its training."""

    def seeds(make: Callable[[], nn.Module]) -> Seeds:
        return Seeds([make() for _ in run.seeds]).to(run.device)

    loss = each(F.mse_loss)
    split = Split(run.rows, 0.3 if run.method == "ldt" else 0.0, generator, run.device)
    batches = split.batches(BATCH)
    student = seeds(Student)

    def walk(method: Any, before: Callable[[int], None] | None = None) -> Iterator[Tensor]:
        adam = torch.optim.Adam(method.parameters(), 1e-3, fused=True)
        return steps(method, adam, data, batches, before)

    def predicted(x: Tensor) -> Tensor:
        out: Tensor = student(x)[0]
        return out

    match run.method:
        case "no_teacher":
            return predicted, walk(NoTeacher(student, label_loss=loss))
        case "auxiliary":
            head = seeds(lambda: AuxiliaryHead(WIDTH, copies))
            return predicted, walk(
                Auxiliary(
                    student, head, label_loss=loss, weight=run.weight,
                    auxiliary_loss=each(mse),
                )
            )  # fmt: skip
        case "generalised_distillation":
            teacher = seeds(lambda: Scalar(perceptron(copies, WIDTH, 1)))
            distilled = GeneralisedDistillation(
                student, teacher, label_loss=loss, imitation=run.weight, imitation_loss=loss
            )
            adam = torch.optim.Adam(distilled.teacher_parameters(), 1e-3, weight_decay=1e-3)
            for rows in islice(batches, TEACHER_STEPS):
                value = distilled.teacher_loss(take(data, rows))
                adam.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                adam.step()
            return predicted, walk(distilled)
        case "tram":
            body, output = seeds(Body), seeds(lambda: Scalar(nn.Linear(WIDTH, 1)))
            both = seeds(lambda: Scalar(perceptron(WIDTH + copies, WIDTH, 1)))
            tram = TRAM(body, output, both, label_loss=loss, weight=run.weight)
            return tram.deployed, walk(tram)
        case "ldt":
            teacher = seeds(lambda: perceptron(copies, 4 * WIDTH, 4 * WIDTH))
            ldt = LDT(
                student, teacher, label_loss=loss, inner=SGD(0.05, 0.75),
                teaching_loss=each(gated_mse), alpha=run.weight,
            )  # fmt: skip
            meta = torch.optim.Adam(teacher.parameters(), 1e-3, fused=True)
            before = meta_steps(
                ldt, meta, data, split, inner_steps=16, batch=BATCH, every=PER_EPOCH // 2
            )
            return predicted, walk(ldt, before)
