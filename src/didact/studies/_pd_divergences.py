"""What the two cross-entropies and KL divergences prefer: figures 11 to 13."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..policies import Loss, state_loss
from ._numbers import markdown
from ._study import Cell, Log, Record, Rounds, Study

Kind = Literal["actions", "mixture", "surface"]
Direction = Literal["forward", "reverse"]
LABELS: dict[Direction, str] = {
    "forward": "π ‖ πθ, mean-seeking",
    "reverse": "πθ ‖ π, mode-seeking",
}
COLORS: dict[Direction, str] = {"forward": "C3", "reverse": "C2"}
MEANS, SCALE = (-1.5, -0.5, 0.5, 1.5), 0.1
"""Of the mixture of four Gaussians, all as likely. From a width of 0.12 on a single one over all of
them has a smaller KL(πθ‖π) than one on a mode."""
PROBABILITIES = (0.35, 0.05, 0.3, 0.2, 0.1)
"""Of the five actions of figure 11."""
GRID = torch.linspace(-4, 4, 2001, dtype=torch.float64)
STEPS, STARTS = 3000, 16


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one cell."""

    kind: Kind
    """actions: figure 11; mixture: figure 12; surface: figure 13."""
    direction: Direction
    """forward: expectation under the teacher; reverse: under the student."""
    components: int = 0
    """Gaussians of the student in figure 12."""
    steps: int = STEPS
    """Of Adam."""
    points: int = 61
    """Along each side of the surface."""


@dataclass(frozen=True)
class Config:
    """What the two cross-entropies and KL divergences prefer: figures 11 to 13."""

    steps: int = STEPS
    """Of Adam."""
    points: int = 61
    """Along each side of the surface."""


def plan(config: Config, shared: Path) -> Rounds:
    """Both directions of every picture."""
    kinds: list[tuple[Kind, int]] = [
        ("actions", 0), *(("mixture", k) for k in (1, 2, 3, 4)), ("surface", 0)
    ]  # fmt: skip
    yield [
        Run(
            kind=kind, direction=direction, components=count, steps=config.steps,
            points=config.points,
        )
        for kind, count in kinds
        for direction in get_args(Direction)
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell: ``probabilities``, or ``means``, ``scales``, ``weights`` and ``kl``, or ``kl``."""
    began = time.process_time()
    found = {"actions": _actions, "mixture": _mixture, "surface": _surface}[run.kind](run)
    return {**found, "seconds": round(time.process_time() - began, 1)}


def _actions(run: Run) -> Record:
    """Minimise a cross-entropy over all distributions of five actions."""
    teacher = torch.tensor([PROBABILITIES], dtype=torch.float64)
    logits = torch.zeros_like(teacher, requires_grad=True)
    loss = Loss.CROSS_ENTROPY if run.direction == "forward" else Loss.REVERSE_CROSS_ENTROPY
    adam = torch.optim.Adam([logits], 0.05)
    for _ in range(run.steps):
        value = state_loss(loss, logits, teacher).sum()
        adam.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        adam.step()
    p = logits.detach().softmax(-1)[0]
    return {"probabilities": [round(v, 4) for v in p.tolist()]}


def _log_mixture(means: Tensor, scales: Tensor, log_weights: Tensor) -> Tensor:
    """Log density on the grid, of mixtures ``[..., K]`` → ``[..., points]``."""
    z = (GRID - means[..., None]) / scales[..., None]
    log_density = -0.5 * z**2 - scales.log()[..., None] - 0.5 * math.log(2 * math.pi)
    return (log_density + log_weights[..., None]).logsumexp(-2)


def _teacher() -> Tensor:
    means = torch.tensor(MEANS, dtype=torch.float64)
    return _log_mixture(
        means, torch.full_like(means, SCALE), torch.full_like(means, -math.log(len(MEANS)))
    )


def _divergence(direction: Direction, student: Tensor, teacher: Tensor) -> Tensor:
    """KL by the trapezoidal rule, of log densities ``[..., points]``."""
    p, q = (teacher, student) if direction == "forward" else (student, teacher)
    return torch.trapezoid(p.exp() * (p - q), GRID)


def _mixture(run: Run) -> Record:
    """Fit K Gaussians, means, widths and weights; the best of several starts."""
    generator = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(STARTS, run.components, generator=generator, dtype=torch.float64)
    free = [means, torch.zeros_like(means) - 0.5, torch.zeros_like(means)]
    for tensor in free:
        tensor.requires_grad_()
    means, log_scales, weights = free
    adam, teacher = torch.optim.Adam(free, 0.02), _teacher()

    def divergences() -> Tensor:
        # Narrower than this, a Gaussian falls between the points of the grid.
        student = _log_mixture(means, log_scales.exp() + 0.02, weights.log_softmax(-1))
        # What lies beside the grid would cost nothing.
        student = student - torch.trapezoid(student.exp(), GRID).log()[..., None]
        return _divergence(run.direction, student, teacher)

    for _ in range(run.steps):
        adam.zero_grad()
        divergences().sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        values = divergences()
    best = int(values.argmin())
    order = means[best].argsort()

    def listed(tensor: Tensor) -> list[float]:
        return [round(v, 4) for v in tensor.detach()[best][order].tolist()]

    return {
        "means": listed(means), "scales": listed(log_scales.exp() + 0.02),
        "weights": listed(weights.softmax(-1)), "kl": round(float(values[best]), 5),
    }  # fmt: skip


def _surface(run: Run) -> Record:
    """KL as a function of the two means of a student with the teacher's widths."""
    places = torch.linspace(-2, 2, run.points, dtype=torch.float64)
    first, second = torch.meshgrid(places, places, indexing="ij")
    teacher, rows = _teacher(), []
    for a, b in zip(first, second, strict=True):
        means = torch.stack([a, b], -1)
        halves = torch.full_like(means, math.log(0.5))
        student = _log_mixture(means, torch.full_like(means, SCALE), halves)
        rows.append([round(v, 4) for v in _divergence(run.direction, student, teacher).tolist()])
    return {"places": [round(v, 4) for v in places.tolist()], "kl": rows}


def _of(cells: Sequence[Cell], kind: Kind) -> dict[tuple[Direction, int], Cell]:
    longest = max((cell.run.steps for cell in cells), default=0)
    return {
        (cell.run.direction, cell.run.components): cell
        for cell in sorted(cells, key=lambda cell: cell.run.points)
        if cell.run.kind == kind and cell.run.steps == longest
    }


def table(cells: Sequence[Cell]) -> str:
    """The minimisers."""
    rows = []
    for (direction, _), cell in sorted(_of(cells, "actions").items()):
        found = ", ".join(f"{v:.2f}" for v in cell.record["probabilities"])
        given = ", ".join(f"{v:.2f}" for v in PROBABILITIES)
        rows.append(["11", LABELS[direction], f"probabilities {given}", f"probabilities {found}"])
    for (direction, count), cell in sorted(_of(cells, "mixture").items()):
        found = ", ".join(f"{v:.2f}" for v in cell.record["means"])
        widths = ", ".join(f"{v:.2f}" for v in cell.record["scales"])
        wanted = f"{len(MEANS)} Gaussians at ±0.5, ±1.5, width {SCALE}"
        rows.append(["12", LABELS[direction], wanted, f"{count} at {found}; widths {widths}"])
    for (direction, _), cell in sorted(_of(cells, "surface").items()):
        kl = torch.tensor(cell.record["kl"])
        k = int(kl.argmin())
        places = cell.record["places"]
        pair = sorted((places[k // len(places)], places[k % len(places)]))
        rows.append(
            ["13", LABELS[direction], "the same, by two of that width",
             f"{pair[0]:.2f}, {pair[1]:.2f}"]
        )  # fmt: skip
    return markdown(["figure", "direction", "teacher", "minimiser"], rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures 11 to 13."""
    return {"figure-11": _bars(cells), "figure-12": _fits(cells), "figure-13": _maps(cells)}


def _bars(cells: Sequence[Cell]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.8), layout="constrained")
    axes = figure.subplots()
    every: list[tuple[str, Sequence[float]]] = [("π", PROBABILITIES)]
    for (direction, _), cell in sorted(_of(cells, "actions").items()):
        every.append((f"minimiser of {LABELS[direction]}", cell.record["probabilities"]))
    for k, (label, heights) in enumerate(every):
        color = ["0.7", *COLORS.values()][k]
        axes.bar([i + 0.27 * (k - 1) for i in range(5)], heights, 0.25, label=label, color=color)
    axes.set(xlabel="action", ylabel="probability")
    axes.legend(frameon=False, fontsize="small")
    return figure


def _fits(cells: Sequence[Cell]) -> Any:
    from matplotlib.figure import Figure

    found = _of(cells, "mixture")
    counts = sorted({count for _, count in found})
    figure = Figure(figsize=(3 * max(1, len(counts)), 2.6), layout="constrained")
    x, inside = GRID.numpy(), (GRID.abs() < 2.5).numpy()
    for axes, count in zip(
        figure.subplots(1, max(1, len(counts)), squeeze=False, sharey=True)[0], counts, strict=False
    ):
        axes.fill_between(x[inside], _teacher().exp().numpy()[inside], color="0.85", label="π")
        for (direction, k), cell in sorted(found.items()):
            if k == count:
                means, scales, weights = (
                    torch.tensor(cell.record[name], dtype=torch.float64)
                    for name in ("means", "scales", "weights")
                )
                density = _log_mixture(means, scales, weights.clamp_min(1e-12).log()).exp().numpy()
                axes.plot(
                    x[inside], density[inside], label=LABELS[direction], linewidth=1.2,
                    color=COLORS[direction],
                )  # fmt: skip
        axes.set_title(f"{count} Gaussian{'s' if count > 1 else ''}", fontsize="medium")
        axes.set_ylim(0, 2)
    figure.axes[0].legend(frameon=False, fontsize="x-small")
    return figure


def _maps(cells: Sequence[Cell]) -> Any:
    from matplotlib.figure import Figure

    found = _of(cells, "surface")
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for axes, direction in zip(figure.subplots(1, 2), get_args(Direction), strict=True):
        cell = found.get((direction, 0))
        if cell is None:
            continue
        drawn = axes.contourf(
            cell.record["places"], cell.record["places"], cell.record["kl"], 30, cmap="viridis"
        )
        axes.set(title=f"KL({LABELS[direction].split(',')[0]})", xlabel="mean", ylabel="mean")
        figure.colorbar(drawn, ax=axes)
    return figure


study = Study(
    name="pd-divergences",
    claim="Czarnecki et al. 2019, figures 11 to 13: H×(π‖πθ) is least at π, H×(πθ‖π) at π's most "
    "probable action; with too few Gaussians KL(π‖πθ) lies between modes, KL(πθ‖π) on "
    "some of them.",
    version=3,
    config=Config,
    run=Run,
    full=Config(),
    smoke=Config(steps=5, points=5),
    plan=plan,
    train=train,
    value=lambda record: None,
    table=table,
    plot=plot,
)
