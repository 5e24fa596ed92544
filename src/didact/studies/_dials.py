"""When does hindsight help: by what x* knows of the label's luck, and x of x*."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

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
from ._numbers import markdown, mean
from ._study import Cell, Log, Record, Rounds, Study, alike
from ._toy import perceptron, stacked

Candidate = Literal["no_teacher", "auxiliary", "generalised_distillation", "tram", "ldt"]
WEIGHTS: dict[Candidate, tuple[float, ...]] = {
    "no_teacher": (0.0,),
    "auxiliary": (0.1, 1.0, 10.0),
    "generalised_distillation": (0.25, 0.5, 0.75, 1.0),
    "tram": (1.0,),
    "ldt": (1.0, 10.0, 100.0),
}
"""What each method may choose from by validation: auxiliary weight, imitation, α."""
LABELS: dict[Candidate, str] = {
    "no_teacher": "no teacher",
    "auxiliary": "auxiliary",
    "generalised_distillation": "generalised distillation",
    "tram": "TRAM",
    "ldt": "LDT",
}
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


@dataclass(frozen=True)
class Config:
    """When does hindsight help: by what x* knows of the label's luck, and x of x*."""

    stars: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """p: share of each privileged column that x determines."""
    lucks: tuple[float, ...] = (0.0, 0.5, 1.0)
    """r: share of the rest that is the label's own luck."""
    methods: tuple[Candidate, ...] = get_args(Candidate)
    """Which methods to run."""
    seeds: int = 8
    """Repetitions, with data of their own."""
    rows: int = 512
    """Training examples."""
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


def plan(config: Config, shared: Path) -> Rounds:
    """Every method, weight and place of the dials, all seeds in one cell."""
    yield [
        Run(
            method, weight, star, luck, list(range(config.seeds)), rows=config.rows,
            epochs=config.epochs, device=config.device,
        )
        for method in reversed(config.methods)
        for weight in WEIGHTS[method]
        for star in config.stars
        # Where x determines all of x*, there is no rest.
        for luck in (config.lucks if star < 1 else config.lucks[:1])
    ]  # fmt: skip


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


def _chosen(cells: Sequence[Cell]) -> dict[tuple[str, float, float], list[float]]:
    """Test errors by method and dials, of the weight that was best on validation rows."""
    tried: dict[tuple[str, float, float], list[Cell]] = defaultdict(list)
    for cell in alike(cells, "method", "weight", "star_from_x", "luck_in_star"):
        tried[cell.run.method, cell.run.star_from_x, cell.run.luck_in_star].append(cell)
    return {
        place: min(found, key=lambda cell: sum(cell.record["validation"])).record["test"]
        for place, found in tried.items()
    }


def gains(cells: Sequence[Cell]) -> dict[tuple[str, float, float], list[float]]:
    """By seed: the share of no teacher's avoidable error that a method avoids.

    Avoidable is what exceeds the label's luck, half of its variance.
    """
    found = _chosen(cells)
    luck = 0.5
    return {
        (method, star, r): [
            (alone - error) / (alone - luck)
            for alone, error in zip(found["no_teacher", star, r], errors, strict=True)
        ]
        for (method, star, r), errors in sorted(found.items())
        if method != "no_teacher" and ("no_teacher", star, r) in found
    }


def table(cells: Sequence[Cell]) -> str:
    """Shares of the avoidable error that methods avoid, by the dials."""
    found = gains(cells)
    places = sorted({(star, luck) for _, star, luck in found})
    methods = [m for m in LABELS if m != "no_teacher"]
    rows = [
        [
            f"{star:g}", f"{luck:g}",
            *(f"{mean(found.get((method, star, luck), [])):z.2f}" for method in methods),
        ]
        for star, luck in places
    ]  # fmt: skip
    return markdown(["x* from x (p)", "luck in the rest (r)", *(LABELS[m] for m in methods)], rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """One map per method."""
    from matplotlib.figure import Figure

    found = gains(cells)
    stars = sorted({star for _, star, _ in found})
    lucks = sorted({luck for _, _, luck in found})
    methods = [m for m in LABELS if any(name == m for name, _, _ in found)]
    figure = Figure(figsize=(3 * max(1, len(methods)) + 1, 2.8), layout="constrained")
    if not methods:
        return {}
    every = figure.subplots(1, len(methods), squeeze=False, sharey=True)[0]
    for axes, method in zip(every, methods, strict=True):
        image = [
            # Where x determines all of x*, the rest's dial turns nothing.
            [mean(found.get((method, p, r if p < 1 else lucks[0]), [])).value for p in stars]
            for r in lucks
        ]
        drawn = axes.imshow(image, vmin=-1, vmax=1, cmap="RdBu", origin="lower", aspect="auto")
        for i, row in enumerate(image):
            for j, value in enumerate(row):
                axes.text(j, i, f"{value:z.2f}", ha="center", va="center", fontsize="small")
        axes.set_xticks(range(len(stars)), [f"{p:g}" for p in stars])
        axes.set_yticks(range(len(lucks)), [f"{r:g}" for r in lucks])
        axes.set(title=LABELS[method], xlabel="share of x* that x determines")
    every[0].set_ylabel("luck in the rest of x*")
    figure.colorbar(drawn, ax=every, label="avoidable error avoided")
    return {"gains": figure}


study = Study(
    name="hindsight-dials",
    claim="Not in the papers: how much of the avoidable error hindsight avoids, by how well x "
    "predicts x*, and how much of the label's luck x* knows.",
    version=2,
    config=Config,
    run=Run,
    full=Config(
        stars=tuple(k / 8 for k in range(9)), lucks=tuple(k / 4 for k in range(5)), seeds=16
    ),
    smoke=Config(stars=(0.5,), lucks=(0.5,), seeds=2, rows=64, epochs=1),
    plan=plan,
    train=train,
    value=lambda record: min(record["validation"]),
    table=table,
    plot=plot,
)  # fmt: skip
