"""What masked gradients have in common with mechanism and shortcut: figure 3.7."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ..agreement import and_mask, xor_mask
from ..tasks import spirals
from ._ilc_nets import leaky_perceptron
from ._numbers import Mean, markdown, mean
from ._study import Cell, Log, Record, Rounds, Study

Mask = Literal["xor", "and"]
Start = Literal["torch", "kaiming"]
Source = Literal["mechanism", "shortcut", "neither", "mechanism − neither", "shortcut − neither"]
SHOWN = 300
"""Components of a scatter plot."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one cell."""

    seed: int
    """Of data and weights."""
    start: Start = "torch"
    """torch: its own initial weights; kaiming: those of the authors' training, with which outputs
    are large at first."""
    environments: int = 16
    """d."""
    batch: int = 1024
    """Examples of each environment."""
    width: int = 256
    """Of hidden layers."""
    depth: int = 3
    """Hidden layers."""
    shortcut: int = 32
    """Size of the shortcuts."""
    shortcut_scale: float = 1.0
    """Their standard deviation, the mechanism's being 1."""


@dataclass(frozen=True)
class Config:
    """What masked gradients have in common with mechanism and shortcut: figure 3.7."""

    seeds: int = 10
    """Networks, with data of their own."""
    starts: tuple[Start, ...] = get_args(Start)
    """Initial weights: torch's own, or those of the authors' training; the paper does not say."""
    environments: int = 16
    """d."""
    batch: int = 1024
    """Examples of each environment."""
    width: int = 256
    """Of hidden layers."""
    shortcut_scale: float = 1.0
    """Standard deviation of the shortcuts, the mechanism's being 1."""


def plan(config: Config, shared: Path) -> Rounds:
    """A network for each seed."""
    yield [
        Run(
            seed=seed, start=start, environments=config.environments, batch=config.batch,
            width=config.width, shortcut_scale=config.shortcut_scale,
        )
        for start in config.starts
        for seed in range(config.seeds)
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """Gradients of an untrained network.

    By mask, source and τ: ``correlation`` of the components that the mask leaves with those of the
    source alone (``neither``: of data that say nothing of the label), and ``slope`` of the
    regression line, both in units of their deviations at τ = 0; ``kept``: the share that is left.
    ``shown``: some components for a picture.
    """
    began = time.process_time()
    generator = torch.Generator().manual_seed(run.seed)
    data = spirals(
        run.batch, run.environments, shortcut=run.shortcut, shortcut_scale=run.shortcut_scale,
        generator=generator,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        net = leaky_perceptron(
            data.x.shape[1], run.width, run.depth, kaiming=run.start == "kaiming"
        )
    parameters = list(net.parameters())

    def gradients(x: Tensor) -> list[Tensor]:
        """``[env, *param]`` of each parameter."""
        rows = zip(torch.split(x, run.batch), torch.split(data.y.to(x), run.batch), strict=True)
        each = [
            torch.autograd.grad(
                F.binary_cross_entropy_with_logits(net(x_e).squeeze(1), y_e), parameters
            )
            for x_e, y_e in rows
        ]
        return [torch.stack(same) for same in zip(*each, strict=True)]

    def without(*columns: slice) -> Tensor:
        """The mean gradient of data in which these columns belong to other examples."""
        x = data.x.clone()
        for part in columns:
            x[:, part] = x[torch.randperm(len(x), generator=generator)][:, part]
        return _flat([g.mean(0) for g in gradients(x)])

    both = gradients(data.x)
    of_mechanism, of_shortcut = slice(2), slice(2, None)
    mechanism, shortcut = without(of_shortcut), without(of_mechanism)
    neither = without(of_mechanism, of_shortcut)
    alone: dict[Source, Tensor] = {
        "mechanism": mechanism, "shortcut": shortcut, "neither": neither,
        "mechanism − neither": mechanism - neither, "shortcut − neither": shortcut - neither,
    }  # fmt: skip
    unit = float(_flat([g.mean(0) for g in both]).std())
    thresholds = [2 * k / run.environments for k in range(run.environments // 2 + 1)]
    found: dict[str, Any] = {
        name: {mask: {source: [] for source in alone} for mask in get_args(Mask)}
        for name in ("correlation", "slope")
    }
    kept: dict[str, list[float]] = {mask: [] for mask in get_args(Mask)}
    shown: dict[str, Any] = {mask: {} for mask in get_args(Mask)}
    for mask in get_args(Mask):
        masked = and_mask if mask == "and" else xor_mask
        for tau in thresholds:
            update = _flat([masked(g, tau) for g in both])
            left = update != 0
            kept[mask].append(float(left.double().mean()))
            for source, other in alone.items():
                pair = update[left] / unit, other[left] / other.std()
                correlation, slope = regression(*pair)
                found["correlation"][mask][source].append(correlation)
                found["slope"][mask][source].append(slope)
            if run.seed == 0 and tau == 0.5:
                places = left.nonzero()[:, 0]
                order = torch.randperm(len(places), generator=generator)[:SHOWN]
                some = places[order]
                values = (update[some] / unit).tolist()
                shown[mask][f"{tau:g}"] = {"update": [round(v, 3) for v in values]}
                for source, other in alone.items():
                    values = (other[some] / other.std()).tolist()
                    shown[mask][f"{tau:g}"][source] = [round(v, 3) for v in values]
    return {
        "thresholds": thresholds, **found, "kept": kept, "shown": shown,
        "seconds": round(time.process_time() - began, 1),
    }  # fmt: skip


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def regression(x: Tensor, y: Tensor) -> tuple[float | None, float | None]:
    """Pearson's correlation and the slope of y on x; None where x does not vary.

    Example:
        >>> regression(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0, 5.0]))
        (1.0, 2.0)
    """
    x, y = x.double(), y.double()
    if len(x) < 3 or not float(x.std()) > 0 or not float(y.std()) > 0:
        return None, None
    both = torch.cov(torch.stack([x, y]))
    correlation = both[0, 1] / (both[0, 0] * both[1, 1]).sqrt()
    return round(float(correlation), 5), round(float(both[0, 1] / both[0, 0]), 5)


def _means(cells: Sequence[Cell], name: str, mask: Mask, source: Source, k: int) -> Mean:
    values = [cell.record[name][mask][source][k] for cell in cells]
    return mean([value for value in values if value is not None])


def table(cells: Sequence[Cell]) -> str:
    """Correlations at every τ."""
    rows = []
    for start, same in _largest(cells).items():
        for mask in ("and", "xor"):
            for k, tau in enumerate(same[0].record["thresholds"]):
                kept = mean([cell.record["kept"][mask][k] for cell in same]).value
                correlations = [
                    f"{_means(same, 'correlation', mask, source, k):.2f}"
                    for source in get_args(Source)
                ]
                rows.append([start, mask.upper(), f"{tau:g}", f"{kept:.2%}", *correlations])
    return markdown(["start", "mask", "τ", "left", *get_args(Source)], rows)


def _largest(cells: Sequence[Cell]) -> dict[Start, list[Cell]]:
    """Those of the largest batches, at one scale of the shortcuts, by their initial weights."""
    sizes = {(c.run.environments, c.run.batch, c.run.width, c.run.shortcut_scale): c for c in cells}
    size = max(sizes, default=None)
    found: dict[Start, list[Cell]] = {}
    for cell in sorted(
        cells, key=lambda cell: (-get_args(Start).index(cell.run.start), cell.run.seed)
    ):
        run = cell.run
        if (run.environments, run.batch, run.width, run.shortcut_scale) == size:
            found.setdefault(run.start, []).append(cell)
    return dict(reversed(found.items()))


STYLES: dict[Source, tuple[str, str]] = {
    "mechanism": ("C0", "-"), "shortcut": ("C3", "--"), "neither": ("0.5", ":")
}  # fmt: skip


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 3.7: correlations against τ, and the regressions behind them."""
    from matplotlib.figure import Figure

    groups = _largest(cells)
    figure = Figure(figsize=(7.5, 2.7 * len(groups)), layout="constrained")
    grid = figure.subplots(len(groups), 2, squeeze=False, sharey=True)
    for row, (start, same) in zip(grid, groups.items(), strict=True):
        for axes, mask in zip(row, get_args(Mask), strict=True):
            thresholds = same[0].record["thresholds"]
            for source, (color, style) in STYLES.items():
                means = [
                    _means(same, "correlation", mask, source, k) for k in range(len(thresholds))
                ]
                drawn = [(tau, m) for tau, m in zip(thresholds, means, strict=True) if m.n]
                places = [tau for tau, _ in drawn]
                axes.plot(places, [m.value for _, m in drawn], style, color=color, label=source)
                axes.fill_between(
                    places, [m.low for _, m in drawn], [m.high for _, m in drawn],
                    color=color, alpha=0.2, linewidth=0,
                )  # fmt: skip
            axes.set(title=f"{mask.upper()}-mask, {start} weights", xlabel="τ", ylim=(-0.3, 1.1))
            if mask == "xor":
                axes.invert_xaxis()
    figure.supylabel("correlation with the masked gradient", fontsize="medium")
    grid[0][1].legend(frameon=False, fontsize="small")
    first = next(iter(groups.values()))
    return {"figure-3.7": figure, "regressions": _regressions(first)}


def _regressions(cells: Sequence[Cell]) -> Any:
    from matplotlib.figure import Figure

    panels: list[tuple[Mask, float]] = [("xor", 0.5), ("and", 0.0), ("and", 0.5), ("and", 0.75)]
    figure = Figure(figsize=(11, 3), layout="constrained")
    for axes, (mask, tau) in zip(figure.subplots(1, 4, sharey=True), panels, strict=True):
        if tau not in cells[0].record["thresholds"]:
            continue
        k = cells[0].record["thresholds"].index(tau)
        for source, (color, style) in STYLES.items():
            points = cells[0].record["shown"][mask].get(f"{tau:g}")
            if points and source != "neither":
                axes.plot(points["update"], points[source], ".", color=color, alpha=0.2)
            for cell in cells:
                slope = cell.record["slope"][mask][source][k]
                if slope is not None:
                    axes.plot([-3, 3], [-3 * slope, 3 * slope], style, color=color, linewidth=1)
        title = "all components" if tau == 0 else f"{mask.upper()}-mask, τ = {tau:g}"
        axes.set(title=title, xlabel="masked gradient", xlim=(-4, 4), ylim=(-4, 4))
    figure.axes[0].set_ylabel("mechanism —, shortcut - -, neither ···")
    return figure


study = Study(
    name="ilc-correlations",
    claim="Neitz' thesis, figure 3.7: in an untrained network the mean gradient is mostly the "
    "shortcuts'; what the AND-mask leaves is the more the mechanism's, the higher τ, what the "
    "XOR-mask leaves the less.",
    version=1,
    config=Config,
    run=Run,
    full=Config(),
    smoke=Config(seeds=2, environments=4, batch=16, width=8),
    plan=plan,
    train=train,
    value=lambda record: None,
    table=table,
    plot=plot,
)
