"""What the studies of adaptive skip intervals compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .._checks import invalid
from ._asi_learners import Method
from ._asi_nets import Architecture
from ._asi_training import Run, World
from ._study import Cell, Record

GREEDY = "ASI, no exploration"
TINY: dict[str, Any] = {
    "worlds": ("room-runner",), "seeds": 1, "room_trajectories": 2, "board_trajectories": 2,
    "validation": 2, "room_epochs": 1, "board_epochs": 1, "looks": 1, "filters": 2,
}  # fmt: skip
"""What takes seconds."""
LARGE: dict[str, Any] = {
    "seeds": 8, "side": 16, "rows": 6, "room_trajectories": 500, "board_trajectories": 500,
    "validation": 500, "room_epochs": 100, "board_epochs": 100, "looks": 400, "unit_pixels": 6,
    "filters": 48,
    "room_horizons": (20,), "board_horizons": (20,), "board_clip": 0.0, "residual": False,
    "trials": 9, "device": "cuda",
}  # fmt: skip
"""The paper's size."""
METHODS: dict[str, Method] = {
    "ASI": "asi", GREEDY: "asi", "global alignment": "aligned", "latent ASI": "latent",
    "ASI with actions": "actions",
}  # fmt: skip
"""By label; besides, there are fixed steps, "Δ = 2" and "Δ = 2 with actions"."""


@dataclass(frozen=True)
class Config:
    """Numbers that all of these studies have."""

    worlds: tuple[World, ...] = ("room-runner", "funnel-board")
    """Which worlds."""
    side: int = 8
    """Cells along Room runner's building; the paper has 16."""
    rows: int = 2
    """Of Funnel board, above the last; the paper has 6."""
    seeds: int = 3
    """Repetitions, with other training data, initial weights and draws; the paper has 8."""
    room_trajectories: int = 2000
    """To train on in Room runner; the paper has 500, which it sees twelve times as often."""
    board_trajectories: int = 500
    """To train on in Funnel board, as in the paper."""
    validation: int = 200
    """To judge by; the paper has 500."""
    room_epochs: int = 8
    """Passes over Room runner's, two trajectories an update; the paper has 100."""
    board_epochs: int = 8
    """Passes over Funnel board's; the paper has 100."""
    looks: int = 10
    """At validation trajectories, evenly spaced; the paper has four per epoch."""
    cell_pixels: int = 4
    """Along a cell of Room runner, as in the paper."""
    unit_pixels: int = 4
    """Along a unit of Funnel board, which is 12.5 wide; the paper has 6."""
    architecture: Architecture = "f-strided"
    """Of the model; the cheapest of the paper's three."""
    filters: int = 32
    """n_f, maps of its layers."""
    residual: bool = True
    """The model predicts how the frame changes; the paper's predicts all of it."""
    room_rates: tuple[float, ...] = (1e-3,)
    """Learning rates of Adam on Room runner, of which each method has the best; the paper's search
    chose 0.0005 most often, for three times as many updates."""
    board_rates: tuple[float, ...] = (5e-4,)
    """The same on Funnel board."""
    room_clip: float = 0.0
    """Norm to which gradients are clipped on Room runner; 0 clips none, as the paper."""
    board_clip: float = 0.05
    """The same on Funnel board, where rare gradients are a hundred times the usual ones."""
    decay: float = 0.6
    """Share of the updates after which, again and again, the learning rate is a fifth of before."""
    room_horizons: tuple[int, ...] = (5,)
    """H of ASI on Room runner, in frames, of which the best is taken; the paper has 15 to 25, for
    ways that are three times as long."""
    board_horizons: tuple[int, ...] = (10,)
    """The same on Funnel board."""
    trials: int = 0
    """Settings tried at random for each method, as in appendix A, in place of those above; 0 tries
    the rates and horizons above, and nothing else."""
    exploration: float = 0.3
    """Share of the updates over which ASI's exploration fades."""
    teacher_forcing: float = 0.6
    """Share of the updates after which true frames are fed back with probability 1/6; 0 feeds none
    back."""
    device: str = "cpu"
    """Where to train."""


def named(world: World, name: str) -> str:
    """What a number of a config is called that each world has its own of."""
    return f"{'room' if world == 'room-runner' else 'board'}_{name}"


def tried_of(
    config: Config, world: World, name: Literal["rates", "horizons"]
) -> tuple[Any, ...]:  # fmt: skip
    """What is tried in a world; where nothing is, the first is taken."""
    full = named(world, name)
    values: tuple[Any, ...] = getattr(config, full)
    if not values:
        raise invalid(full, "one value or more", values)
    return values


def run_of(
    config: Config, world: World, label: str, seed: int, *, switch: int = 0, **found: Any
) -> Run:  # fmt: skip
    """A run of a config, by the label of its method, with settings that a search found."""
    rooms = world == "room-runner"
    shares: dict[str, Any] = {
        "architecture": config.architecture, "filters": config.filters,
        "residual": config.residual,
        "learning_rate": tried_of(config, world, "rates")[0],
        "decay": config.decay, "horizon": tried_of(config, world, "horizons")[0],
        "exploration": config.exploration, "teacher_forcing": config.teacher_forcing,
    }  # fmt: skip
    clip: float = getattr(config, named(world, "clip"))
    if not clip >= 0:
        raise invalid(named(world, "clip"), "a norm, or 0 for no clipping", clip)
    if clip:
        shares["clip"] = clip
    shares.update(found)
    method = METHODS.get(label, "fixed_actions" if "actions" in label else "fixed")
    if method.startswith("fixed"):
        shares["horizon"] = int(label.split()[2])
    if method in ("fixed", "fixed_actions", "aligned") or label == GREEDY:
        shares["exploration"] = 0.0
    epochs: int = getattr(config, named(world, "epochs"))
    trajectories: int = getattr(config, named(world, "trajectories"))
    updates = epochs * -(-trajectories // 2)
    if shares["decay"] <= 0:
        raise invalid("decay", "a share of the updates above 0", shares["decay"])
    for name in ("decay", "exploration", "teacher_forcing"):
        shares[name] = max(1, round(shares[name] * updates)) if shares[name] else 0
    return Run(
        world=world, method=method, settings=shares, seed=seed,
        pixels=config.cell_pixels if rooms else config.unit_pixels,
        extent=config.side if rooms else config.rows,
        trajectories=trajectories, validation=config.validation, epochs=epochs,
        looks=config.looks, switch=switch, device=config.device,
    )  # fmt: skip


def label_of(run: Run) -> str:
    """The method's name in tables and figures."""
    if run.method == "asi":
        return "ASI" if run.settings["exploration"] else GREEDY
    if run.method.startswith("fixed"):
        told = " with actions" if run.method == "fixed_actions" else ""
        return f"Δ = {run.settings['horizon']}{told}"
    return next(label for label, method in METHODS.items() if method == run.method)


def highest(record: Record) -> float:
    """ψ of the true label at the best look: the paper's accuracy, by which it chooses settings."""
    return max(record["probability"], default=0.0)


def ended(same: Sequence[Cell]) -> list[Cell]:
    """Of seeds those that did not diverge."""
    return [cell for cell in same if not cell.record["diverged"]]


def seeds_of(same: Sequence[Cell]) -> str:
    """How many seeds the numbers are of."""
    left = len(ended(same))
    return str(left) if left == len(same) else f"{left} of {len(same)}"


def size_of(cell: Cell) -> str:
    """What the numbers were measured on, briefly."""
    run = cell.run
    extent, unit = ("cells", "cell") if run.world == "room-runner" else ("rows", "unit")
    horizon = "" if run.method.startswith("fixed") else f", H = {run.settings['horizon']}"
    clip = f", gradients clipped to {run.settings['clip']:g}" if "clip" in run.settings else ""
    return (
        f"{run.extent} {extent}, {run.trajectories} trajectories, {run.epochs} epochs, "
        f"{run.pixels} pixels a {unit}, n_f = {run.settings['filters']}, "
        f"learning rate {run.settings['learning_rate']:g}{clip}{horizon}"
    )
