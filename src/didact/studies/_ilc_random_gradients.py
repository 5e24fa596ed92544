"""What the AND-mask makes of random gradients, and of gradient descent: propositions 1 and 2."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..agreement import and_mask
from ._numbers import markdown, mean
from ._study import Cell, Log, Record, Rounds, Study

Kind = Literal["random", "regression", "robust"]
COUNTS = (5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150)
"""d, numbers of environments."""
LABELS = {"regression": "squared errors", "robust": "r²/(1 + r²), not convex"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one cell."""

    kind: Kind
    """random: proposition 2, figure 3.4; regression, robust: losses of proposition 1."""
    agreeing: float
    """t/d: environments that must agree; τ = 2t/d − 1."""
    seed: int = 0
    """Of every draw."""
    parameters: int = 3000
    """n, of random gradients."""
    draws: int = 20
    """Of random gradients, for each d."""
    steps: int = 10_000
    """k, of gradient descent."""


@dataclass(frozen=True)
class Config:
    """What the AND-mask makes of random gradients, and of gradient descent: figure 3.4."""

    parameters: int = 3000
    """n, of random gradients."""
    draws: int = 20
    """Of random gradients, for each number of environments."""
    steps: int = 10_000
    """k, of gradient descent."""
    seeds: int = 5
    """Repetitions of gradient descent, with data of their own."""


def plan(config: Config, shared: Path) -> Rounds:
    """Random gradients and descents, for several t/d."""
    yield [
        *(
            Run(
                kind="random", agreeing=agreeing, parameters=config.parameters,
                draws=config.draws,
            )
            for agreeing in (0.6, 0.8, 1.0)
        ),
        *(
            Run(kind=kind, agreeing=agreeing, seed=seed, steps=config.steps)
            for kind in ("regression", "robust")
            for agreeing in (0.5, 0.8, 1.0)
            for seed in range(config.seeds)
        ),
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """One cell."""
    began = time.process_time()
    found = _random(run) if run.kind == "random" else _descend(run)
    return {**found, "seconds": round(time.process_time() - began, 1)}


def _random(run: Run) -> Record:
    """``plain`` and ``masked``: squared norms, means over draws; ``kept``: surviving components."""
    generator = torch.Generator().manual_seed(run.seed)
    found: dict[str, list[float]] = {"plain": [], "masked": [], "kept": []}
    for d in COUNTS:
        plain, masked, kept = 0.0, 0.0, 0
        for _ in range(run.draws):
            grads = torch.randn(d, run.parameters, generator=generator)
            update = and_mask(grads, 2 * run.agreeing - 1)
            plain += float(grads.mean(0).square().sum())
            masked += float(update.square().sum())
            kept += int((update != 0).sum())
        found["plain"].append(plain / run.draws)
        found["masked"].append(masked / run.draws)
        found["kept"].append(kept / run.draws)
    return {"environments": list(COUNTS), **found}


def exact(parameters: int, environments: int, agreeing: float) -> float:
    """E‖m ⊙ ∇L‖² of standard normal gradients.

    Given p positive signs of d, a mean has variance (1 − 2/π)/d and expectation (2p/d − 1) √(2/π):
    sizes are half normal and independent of signs.

    Example:
        >>> round(exact(3000, 10, 0.5), 9)  # nothing is masked: n/d
        300.0
    """
    d, total = environments, 0.0
    least = math.ceil((2 * agreeing - 1) * d - 1e-6)
    for p in range(d + 1):
        if abs(2 * p - d) >= least:
            square = (1 - 2 / math.pi) / d + (2 * p / d - 1) ** 2 * 2 / math.pi
            total += math.comb(d, p) / 2**d * square
    return parameters * total


def bound(parameters: int, environments: int, agreeing: float) -> float:
    """The proof's: P(m_j = 1) ≤ 2 (d − t + 1) C(d, t) / 2ᵈ, and the square of a mean ≤ 1.

    The thesis counts d − t terms, and so none where all must agree.

    Example:
        >>> bound(1, 10, 0.8) > exact(1, 10, 0.8)
        True
    """
    d = environments
    t = math.ceil(agreeing * d - 1e-6)
    return parameters * float(min(1.0, 2 * (d - t + 1) * math.comb(d, t) / 2**d))


def rate(agreeing: float) -> float:
    """c of O(n/cᵈ): 2 rʳ (1 − r)¹⁻ʳ, r = t/d.

    Example:
        >>> rate(1.0), round(rate(0.8), 3)
        (2.0, 1.213)
    """
    r = agreeing
    return 2 * math.exp(sum(x * math.log(x) for x in (r, 1 - r) if x > 0))


def _descend(run: Run) -> Record:
    """AND-masked descent at rate 1/L, ten environments: does ‖m ⊙ ∇L‖² fall as 1/k?

    Environments share half of the weights that make their targets. ``ratio``: the least squared
    norm up to step k, over 2 L(θ_0)/(η k); ``least``: that norm; by k.
    """
    generator = torch.Generator().manual_seed(run.seed)
    d, rows, n = 10, 30, 20

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, weight = normal(d, rows, n), normal(d, n)
    weight[:, : n // 2] = weight[0, : n // 2]
    y = torch.einsum("erj,ej->er", x, weight)
    second = {"regression": 2.0, "robust": 2.0}[run.kind]  # of r² and of r²/(1 + r²), at most
    lipschitz = second * float(torch.linalg.matrix_norm(x.flatten(0, 1), 2) ** 2) / (d * rows)
    value, slope = _losses(run.kind)
    theta = normal(n)
    start = float(value(torch.einsum("erj,j->er", x, theta) - y).mean())
    least, ratios, kept = math.inf, [], []
    checked = [2**j for j in range(1 + int(math.log2(run.steps)))]
    for k in range(1, run.steps + 1):
        residual = torch.einsum("erj,j->er", x, theta) - y
        grads = torch.einsum("er,erj->ej", slope(residual), x) / rows
        update = and_mask(grads, 2 * run.agreeing - 1)
        least = min(least, float(update.square().sum()))
        if k in checked:
            ratios.append(least * k / (2 * start * lipschitz))
            kept.append(least)
        theta = theta - update / lipschitz
    plain = float(and_mask(grads, 0.0).square().sum())
    return {"steps": checked, "ratio": ratios, "least": kept, "plain_at_the_end": plain}


def _losses(kind: Kind) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    if kind == "regression":
        return torch.square, lambda r: 2 * r
    return lambda r: r**2 / (1 + r**2), lambda r: 2 * r / (1 + r**2) ** 2


def _random_cells(cells: Sequence[Cell]) -> list[Cell]:
    most = max((c.run.draws * c.run.parameters for c in cells if c.run.kind == "random"), default=0)
    found = [
        cell
        for cell in cells
        if cell.run.kind == "random" and cell.run.draws * cell.run.parameters == most
    ]
    return sorted(found, key=lambda cell: cell.run.agreeing)


def table(cells: Sequence[Cell]) -> str:
    """What is claimed, beside what was found."""
    rows = []
    for cell in _random_cells(cells):
        n, r, found = cell.run.parameters, cell.run.agreeing, cell.record
        seen = [k for k, kept in enumerate(found["kept"]) if kept * cell.run.draws >= 30]
        off = max(abs(v * d / n - 1) for d, v in zip(COUNTS, found["plain"], strict=True))
        rows.append(["2", f"t = {r:g} d", "E‖∇L‖² = n/d", f"within {off:.1%} at every d"])
        ratios = [found["masked"][k] / exact(n, COUNTS[k], r) for k in seen]
        if ratios:
            rows.append(
                [
                    "2", f"t = {r:g} d", "E‖m ⊙ ∇L‖², a sum over votes (no claim)",
                    f"{min(ratios):.3f} to {max(ratios):.3f} of it, d = 5 to {COUNTS[max(seen)]}",
                ]
            )  # fmt: skip
        within = all(exact(n, d, r) <= bound(n, d, r) for d in range(2, 401))
        rows.append(
            [
                "2", f"t = {r:g} d", "the proof's bound, with d − t + 1 terms",
                f"{'holds' if within else 'is broken'}, d = 2 to 400",
            ]
        )  # fmt: skip
        far = (exact(n, 400, r) / exact(n, 800, r)) ** (1 / 400)
        rows.append(
            [
                "2", f"t = {r:g} d", "O(n/cᵈ), c in (1, 2]",
                f"c = {far:.4f} from d = 400 to 800; in the limit {rate(r):.4f}",
            ]
        )  # fmt: skip
        last = max((d for d, v in zip(COUNTS, found["kept"], strict=True) if v), default=0)
        rows.append(
            ["2", f"t = {r:g} d", "masked gradients are 0 above d = 100", f"above d = {last}"]
        )
    for kind, label in LABELS.items():
        for agreeing in sorted({cell.run.agreeing for cell in cells if cell.run.kind == kind}):
            of = [c for c in cells if (c.run.kind, c.run.agreeing) == (kind, agreeing)]
            worst = max(max(cell.record["ratio"]) for cell in of)
            least = mean([cell.record["least"][-1] for cell in of])
            rest = mean([cell.record["plain_at_the_end"] for cell in of])
            rows.append(
                [
                    "1", f"{label}, t = {agreeing:g} d", "min ‖m ⊙ ∇L‖² ≤ 2 L(θ₀)/(η k), η = 1/L",
                    f"at most {worst:.2g} of it, at any k; at the end {least.value:.1e}, "
                    f"‖∇L‖² {rest.value:.1e}",
                ]
            )  # fmt: skip
    return markdown(["proposition", "setting", "claim", "found"], rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 3.4, and proposition 1."""
    from matplotlib.figure import Figure

    found = {}
    random = _random_cells(cells)
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    for k, cell in enumerate(random):
        n, r = cell.run.parameters, cell.run.agreeing
        if k == 0:
            axes.plot(COUNTS, cell.record["plain"], "o", color="0.2", markersize=4)
            axes.plot(COUNTS, [n / d for d in COUNTS], color="0.2", label="mean: n/d")
        (line,) = axes.plot(
            COUNTS, [exact(n, d, r) for d in COUNTS], label=f"masked, t = {r:g} d: expected"
        )
        alive = [(d, v) for d, v in zip(COUNTS, cell.record["masked"], strict=True) if v]
        if alive:
            axes.plot(*zip(*alive, strict=True), "o", color=line.get_color(), markersize=4)
        axes.plot(
            COUNTS, [bound(n, d, r) for d in COUNTS], ":", color=line.get_color(), linewidth=0.9
        )
    axes.set(
        xlabel="environments d", ylabel="squared norm of the update", yscale="log",
        ylim=(1e-6, None),
    )  # fmt: skip
    axes.legend(frameon=False, fontsize="small", title="dotted: the proof's bound")
    found["figure-3.4"] = figure
    descents = [cell for cell in cells if cell.run.kind != "random"]
    if descents:
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        for axes, (kind, label) in zip(
            figure.subplots(1, 2, sharey=True), LABELS.items(), strict=True
        ):
            for place, agreeing in enumerate(sorted({cell.run.agreeing for cell in descents})):
                for cell in descents:
                    if (cell.run.kind, cell.run.agreeing) == (kind, agreeing):
                        axes.plot(
                            cell.record["steps"], cell.record["ratio"], color=f"C{place}",
                            linewidth=1, label=f"t = {agreeing:g} d" * (cell.run.seed == 0),
                        )  # fmt: skip
            axes.axhline(1, color="0.5", linewidth=0.8)
            axes.set(title=label, xlabel="k", xscale="log", yscale="log", ylim=(1e-9, 3))
        figure.axes[0].set_ylabel("min ‖m ⊙ ∇L‖² / bound")
        figure.axes[0].legend(frameon=False, fontsize="small")
        found["proposition-1"] = figure
    return found


study = Study(
    name="ilc-random-gradients",
    claim="Neitz' thesis, propositions 1 and 2, figure 3.4: on random gradients of d environments "
    "the AND-mask's update falls exponentially in d, the mean's as 1/d; masked descent reaches "
    "‖m ⊙ ∇L‖² ≤ O(1/k).",
    version=1,
    config=Config,
    run=Run,
    full=Config(draws=100, steps=100_000, seeds=20),
    smoke=Config(parameters=50, draws=1, steps=8, seeds=1),
    plan=plan,
    train=train,
    value=lambda record: None,
    table=table,
    plot=plot,
)
