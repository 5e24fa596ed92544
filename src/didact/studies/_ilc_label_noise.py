"""A quarter of the labels is wrong: figure 3.9."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._memory import Data, Run, figure_name, final, named_data, prepare, train_pictures
from ._numbers import markdown, mean
from ._study import Cell, Record, Rounds, Study

TUNING_SEED = 1000


@dataclass(frozen=True)
class Config:
    """A quarter of the labels is wrong: figure 3.9."""

    data: Data = "digits"
    """digits come with scikit-learn (1,297 to train on); the paper's are cifar10, for a GPU."""
    folder: str = ""
    """Where the published files of mnist or cifar10 are; of ``file``, an .npz of x_train, y_train,
    x_test, y_test, which of colours go into the ResNet."""
    thresholds: tuple[float, ...] = (0.0, 0.2, 0.3, 0.4)
    """τ; 0 is plain training, 0.2 what worked best in the paper."""
    learning_rates: tuple[float, ...] = (5e-4, 1e-3, 2e-3, 5e-3)
    """Each τ has the one whose test accuracy is highest at the end, by a seed of its own."""
    seeds: int = 5
    """Repetitions with that rate."""
    noise: float = 0.25
    """Share of labels that are drawn anew."""
    epochs: int = 80
    """The rate is a tenth from three quarters of them on."""
    width: int = 256
    """Of the two hidden layers; of a ResNet's first layer, a quarter of it."""
    batch: int = 80
    """Examples, and so environments, of a step."""
    rescale: bool = False
    """Divide each layer's gradient by the share of components that the mask leaves."""
    rows: int = 0
    """Training examples; 0 takes all."""
    device: str = "cpu"
    """Where to train."""


def plan(config: Config, shared: Path) -> Rounds:
    """The rate of each τ, then all seeds with it."""
    data = prepare(config.data, config.folder, shared)

    def run(tau: float, rate: float, seed: int) -> Run:
        return Run(
            data=data, labels="noisy", threshold=tau, seed=seed, learning_rate=rate,
            decays=[0.75], epochs=config.epochs, batch=config.batch, width=config.width,
            rescale=config.rescale, noise=config.noise, rows=config.rows, device=config.device,
        )  # fmt: skip

    places = [(tau, rate) for tau in config.thresholds for rate in config.learning_rates]
    records = yield [run(tau, rate, TUNING_SEED) for tau, rate in places]
    best: dict[float, tuple[float, float]] = {}
    for (tau, rate), record in zip(places, records, strict=True):
        best[tau] = max(best.get(tau, (-math.inf, 0.0)), (_score(record), rate))
    yield [
        run(tau, best[tau][1], seed) for seed in range(config.seeds) for tau in config.thresholds
    ]


def _score(record: Record) -> float:
    return -math.inf if record["diverged"] else final(record, "test")


def _groups(cells: Sequence[Cell]) -> dict[tuple[str, float], list[Cell]]:
    """Final seeds by data and τ, of the longest training and the rate that most have."""
    by_rate: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        run = cell.run
        if run.seed < TUNING_SEED:
            by_rate[named_data(run), run.threshold, run.epochs, run.learning_rate].append(cell)
    found: dict[tuple[str, float], list[Cell]] = {}
    for key in sorted(by_rate, key=lambda key: (key[0], key[1], key[2], len(by_rate[key]))):
        found[key[0], key[1]] = by_rate[key]
    return found


def table(cells: Sequence[Cell]) -> str:
    """Accuracies in per cent."""
    rows = []
    for (data, tau), same in _groups(cells).items():

        def told(values: Sequence[float]) -> str:
            return f"{mean([100 * value for value in values]):.1f}"

        rows.append(
            [
                data, f"{tau:g}", f"{same[0].run.learning_rate:g}",
                told([final(cell.record, "mislabelled") for cell in same]),
                told([final(cell.record, "training") for cell in same]),
                told([max(cell.record["test"]) for cell in same]),
                told([final(cell.record, "test") for cell in same]),
            ]
        )  # fmt: skip
    header = ["data", "τ", "rate", "mislabelled, as labelled", "training", "best test", "last test"]
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 3.9: mislabelled examples on the left, test examples on the right."""
    from matplotlib.figure import Figure

    groups = _groups(cells)
    drawn = {}
    for data in sorted({data for data, _ in groups}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        panels = {"mislabelled": "mislabelled examples, as labelled", "test": "test examples"}
        for axes, (name, title) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for (of, tau), same in groups.items():
                curves = [cell.record[name] for cell in same if not cell.record["diverged"]]
                if of != data or not curves:
                    continue
                points = [mean([100 * v for v in values]) for values in zip(*curves, strict=True)]
                epochs = [same[0].record["every"] * (k + 1) for k in range(len(points))]
                (line,) = axes.plot(epochs, [p.value for p in points], label=f"τ = {tau:g}")
                if len(curves) > 1:
                    axes.fill_between(
                        epochs, [p.low for p in points], [p.high for p in points],
                        color=line.get_color(), alpha=0.2, linewidth=0,
                    )  # fmt: skip
            axes.set(title=title, xlabel="epoch")
        figure.axes[0].axhline(10, color="0.5", linewidth=0.8)
        figure.axes[0].set(ylabel="accuracy in %", ylim=(0, 101))
        figure.axes[1].legend(frameon=False, fontsize="small")
        drawn[figure_name("figure-3.9", data)] = figure
    return drawn


study = Study(
    name="ilc-label-noise",
    claim="Neitz' thesis, figure 3.9: plain training memorizes wrong "
    "labels, and its test accuracy peaks and falls; with the mask accuracy on wrong labels stays "
    "below chance, and the test accuracy does not fall.",
    version=1,
    config=Config,
    run=Run,
    full=Config(
        data="cifar10", thresholds=(0.0, 0.2), learning_rates=(5e-4, 1e-3, 5e-3), device="cuda"
    ),
    smoke=Config(
        thresholds=(0.0, 0.2), learning_rates=(1e-3,), seeds=1, epochs=1, width=8, rows=160
    ),
    plan=plan,
    train=train_pictures,
    value=lambda record: final(record, "test"),
    table=table,
    plot=plot,
    highest=True,
)
