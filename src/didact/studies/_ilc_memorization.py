"""Random labels are not memorized, true ones still learned: figures 3.8 and B.7."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._memory import Data, Labels, Run, figure_name, final, named_data, prepare, train_pictures
from ._numbers import markdown, mean
from ._study import Cell, Rounds, Study

THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
LABELS: tuple[Labels, ...] = ("true", "random")


@dataclass(frozen=True)
class Config:
    """Random labels are not memorized, true ones still learned: figures 3.8 and B.7."""

    data: Data = "digits"
    """digits come with scikit-learn (1,297 to train on); the paper's are cifar10, for a GPU."""
    folder: str = ""
    """Where the published files of mnist or cifar10 are; of ``file``, an .npz of x_train, y_train,
    x_test, y_test, which of colours go into the ResNet."""
    thresholds: tuple[float, ...] = THRESHOLDS
    """τ; 0 is plain training. 0.3 is not in the paper."""
    seeds: int = 5
    """Repetitions; the paper has two."""
    epochs: int = 80
    """The rate is a tenth from one half of them on, a hundredth from three quarters on."""
    learning_rate: float = 2e-3
    """Of Adam; the paper's 5e-4 is for CIFAR-10 and 39 times as many steps."""
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
    """Every τ with both kinds of labels."""
    data = prepare(config.data, config.folder, shared)
    yield [
        Run(
            data=data, labels=labels, threshold=tau, seed=seed,
            learning_rate=config.learning_rate, decays=[0.5, 0.75], epochs=config.epochs,
            batch=config.batch, width=config.width, rescale=config.rescale, rows=config.rows,
            device=config.device,
        )
        for seed in range(config.seeds)
        for labels in LABELS
        for tau in config.thresholds
    ]  # fmt: skip


def _groups(cells: Sequence[Cell]) -> dict[str, dict[tuple[Labels, float], list[Cell]]]:
    """By data, of the longest training with the settings that most cells have."""
    by_data: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_data[named_data(cell.run)].append(cell)
    found: dict[str, dict[tuple[Labels, float], list[Cell]]] = {}
    for data, same in by_data.items():
        longest = max(cell.run.epochs for cell in same)
        by_setting: dict[Any, list[Cell]] = defaultdict(list)
        for cell in same:
            if cell.run.epochs == longest:
                run = cell.run
                by_setting[run.learning_rate, run.width, run.rescale].append(cell)
        groups: dict[tuple[Labels, float], list[Cell]] = defaultdict(list)
        for cell in max(by_setting.values(), key=len):
            groups[cell.run.labels, cell.run.threshold].append(cell)
        found[data] = dict(sorted(groups.items()))
    return found


def table(cells: Sequence[Cell]) -> str:
    """Accuracies at the end of training, in per cent."""
    rows = []
    for data, groups in _groups(cells).items():
        for tau in sorted({tau for _, tau in groups}):
            true, random = groups.get(("true", tau), []), groups.get(("random", tau), [])

            def told(of: Sequence[Cell], name: str) -> str:
                return f"{mean([100 * final(cell.record, name) for cell in of]):.1f}"

            before = groups.get(("true", 0.0), [])
            lost = {cell.run.seed: final(cell.record, "test") for cell in before}
            gaps = [
                100 * (lost[cell.run.seed] - final(cell.record, "test"))
                for cell in true
                if cell.run.seed in lost
            ]
            rows.append(
                [
                    data, f"{tau:g}", told(random, "training"), told(true, "training"),
                    told(true, "test"), f"{mean(gaps):.1f}",
                ]
            )  # fmt: skip
    header = [
        "data", "τ", "random labels: training", "true labels: training", "true labels: test",
        "points lost to τ = 0",
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Figure 3.8, with the test curves of B.7."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    drawn = {}
    for data, groups in _groups(cells).items():
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        thresholds = sorted({tau for _, tau in groups})
        for axes, labels in zip(figure.subplots(1, 2, sharey=True), LABELS, strict=True):
            for place, tau in enumerate(thresholds):
                color = colormaps["viridis"](0.95 * place / max(1, len(thresholds) - 1))
                runs = groups.get((labels, tau), [])
                for name, style in (("training", "-"), ("test", "--")):
                    if not runs or (labels, name) == ("random", "test"):
                        continue
                    curves = [cell.record[name] for cell in runs if not cell.record["diverged"]]
                    means = [100 * sum(v) / len(v) for v in zip(*curves, strict=True)]
                    epochs = [runs[0].record["every"] * (k + 1) for k in range(len(means))]
                    label = f"τ = {tau:g}" if name == "training" else None
                    axes.plot(epochs, means, style, color=color, label=label, linewidth=1.3)
            axes.set(title=f"{labels} labels", xlabel="epoch", ylim=(0, 101))
        figure.axes[0].set_ylabel("accuracy in %: training (—), test (- -)")
        handles = figure.axes[1].get_legend_handles_labels()
        figure.legend(*handles, loc="outside right center", frameon=False, fontsize="small")
        drawn[figure_name("figure-3.8", data)] = figure
    return drawn


study = Study(
    name="ilc-memorization",
    claim="Neitz' thesis, figure 3.8: with every example an "
    "environment, random labels are the less memorized, the higher τ; true ones are still learned.",
    version=1,
    config=Config,
    run=Run,
    full=Config(
        data="cifar10", thresholds=(0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8), seeds=2,
        learning_rate=5e-4, device="cuda",
    ),
    smoke=Config(thresholds=(0.0, 0.4), seeds=1, epochs=1, width=8, rows=160),
    plan=plan,
    train=train_pictures,
    value=lambda record: final(record, "test"),
    table=table,
    plot=plot,
    highest=True,
)  # fmt: skip
