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
Source = Literal["mechanism", "shortcut"]
SHOWN = 300
"""Components of a scatter plot."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one cell."""

    seed: int
    """Of data and weights."""
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
            seed=seed, environments=config.environments, batch=config.batch, width=config.width,
            shortcut_scale=config.shortcut_scale,
        )
        for seed in range(config.seeds)
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """Gradients of an untrained network.

    By mask, source and τ: ``correlation`` of the components that the mask leaves with those of the
    source alone, and ``slope`` of the regression line, both in units of their deviations at τ = 0;
    ``kept``: the share that is left. ``shown``: some components for a picture.
    """
    began = time.process_time()
    generator = torch.Generator().manual_seed(run.seed)
    data = spirals(
        run.batch, run.environments, shortcut=run.shortcut, shortcut_scale=run.shortcut_scale,
        generator=generator,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        net = leaky_perceptron(data.x.shape[1], run.width, run.depth)
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

    def shuffled(columns: slice) -> Tensor:
        """Data in which these columns belong to another example."""
        x = data.x.clone()
        x[:, columns] = x[torch.randperm(len(x), generator=generator)][:, columns]
        return x

    both = gradients(data.x)
    alone: dict[Source, Tensor] = {
        "mechanism": _flat([g.mean(0) for g in gradients(shuffled(slice(2, None)))]),
        "shortcut": _flat([g.mean(0) for g in gradients(shuffled(slice(2)))]),
    }
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
            if run.seed == 0 and tau in (0.5, 1.0):
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
    cells = _largest(cells)
    rows = []
    for k, tau in enumerate(cells[0].record["thresholds"] if cells else []):
        row = [f"{tau:g}"]
        for mask in get_args(Mask):
            row.append(f"{mean([cell.record['kept'][mask][k] for cell in cells]).value:.2%}")
            row += [
                f"{_means(cells, 'correlation', mask, source, k):.2f}"
                for source in get_args(Source)
            ]
        rows.append(row)
    header = ["τ"]
    for mask in get_args(Mask):
        name = f"{mask.upper()}-mask"
        header += [f"{name} keeps", f"{name}: mechanism", f"{name}: shortcut"]
    return markdown(header, rows)


def _largest(cells: Sequence[Cell]) -> list[Cell]:
    """Those of the largest batches, at one scale of the shortcuts, in the order of seeds."""
    size = max(((c.run.environments, c.run.batch, c.run.width) for c in cells), default=None)
    same = [c for c in cells if (c.run.environments, c.run.batch, c.run.width) == size]
    scale = max((c.run.shortcut_scale for c in same), default=None)
    return sorted(
        (c for c in same if c.run.shortcut_scale == scale), key=lambda cell: cell.run.seed
    )


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 3.7: correlations against τ, and the regressions behind them."""
    from matplotlib.figure import Figure

    cells = _largest(cells)
    styles: dict[Source, tuple[str, str]] = {"mechanism": ("C0", "-"), "shortcut": ("C3", "--")}
    curves = Figure(figsize=(7.5, 3), layout="constrained")
    for axes, mask in zip(curves.subplots(1, 2, sharey=True), get_args(Mask), strict=True):
        thresholds = cells[0].record["thresholds"]
        for source, (color, style) in styles.items():
            means = [_means(cells, "correlation", mask, source, k) for k in range(len(thresholds))]
            drawn = [(tau, m) for tau, m in zip(thresholds, means, strict=True) if m.n]
            axes.plot(
                [tau for tau, _ in drawn], [m.value for _, m in drawn], style, color=color,
                label=source,
            )  # fmt: skip
            axes.fill_between(
                [tau for tau, _ in drawn], [m.low for _, m in drawn], [m.high for _, m in drawn],
                color=color, alpha=0.2, linewidth=0,
            )  # fmt: skip
        axes.set(title=f"{mask.upper()}-mask", xlabel="τ", ylim=(-0.1, 1.05))
        if mask == "xor":
            axes.invert_xaxis()
    curves.axes[0].set_ylabel("correlation with the masked gradient")
    curves.axes[1].legend(frameon=False, fontsize="small")
    return {"figure-3.7": curves, "regressions": _regressions(cells, styles)}


def _regressions(cells: Sequence[Cell], styles: dict[Source, tuple[str, str]]) -> Any:
    from matplotlib.figure import Figure

    panels: list[tuple[Mask, float]] = [("xor", 0.5), ("and", 0.0), ("and", 0.5), ("and", 1.0)]
    figure = Figure(figsize=(11, 3), layout="constrained")
    for axes, (mask, tau) in zip(figure.subplots(1, 4, sharey=True), panels, strict=True):
        if tau not in cells[0].record["thresholds"]:
            continue
        k = cells[0].record["thresholds"].index(tau)
        for source, (color, style) in styles.items():
            points = cells[0].record["shown"][mask].get(f"{tau:g}")
            if points:
                axes.plot(points["update"], points[source], ".", color=color, alpha=0.2)
            for cell in cells:
                slope = cell.record["slope"][mask][source][k]
                if slope is not None:
                    axes.plot([-3, 3], [-3 * slope, 3 * slope], style, color=color, linewidth=1)
        title = "all components" if tau == 0 else f"{mask.upper()}-mask, τ = {tau:g}"
        axes.set(title=title, xlabel="masked gradient", xlim=(-4, 4), ylim=(-4, 4))
    figure.axes[0].set_ylabel("mechanism (—), shortcut (- -)")
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
    value=lambda record: 0.0,
    table=table,
    plot=plot,
)
