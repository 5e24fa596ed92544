"""A model of the dynamics in the student's place: appendix B.2.3 of the LDT paper."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import cached

from ..tasks import Environment, RewardScale, Rollouts
from ._ldt_mujoco import PAPER, errors_of
from ._loop import Split, initial_weights
from ._nets import RewardStudent
from ._numbers import markdown, mean
from ._robots import BINS, DEPTH, HELD_OUT_SEED, TEST_SEED, TRAINING_SEED, WIDTH, rollouts_of
from ._study import Cell, Log, Record, Rounds, Study, alike

Form = Literal["trajectories", "pairs"]


@dataclass(frozen=True)
class Run:
    """All that decides the numbers of one run."""

    environment: Environment
    form: Form
    """``trajectories``: the student stacked on itself 16 times, fed the first state alone, every
    step's output supervised. ``pairs``: each step from the true state before it."""
    seed: int
    epochs: int = 100
    rollouts: int = 4000
    test_rollouts: int = 10000
    held_out_rollouts: int = 4000
    learning_rate: float = 1e-3
    batch: int = 24
    device: str = "cpu"


@dataclass(frozen=True)
class Config:
    """A model of the dynamics in the student's place: appendix B.2.3 of the LDT paper."""

    environments: tuple[Environment, ...] = ("HalfCheetah", "Hopper", "Swimmer", "Walker2d")
    """Gymnasium's -v4."""
    forms: tuple[Form, ...] = ("trajectories", "pairs")
    """How the model is trained."""
    seeds: int = 3
    """Runs of each."""
    epochs: int = 100
    """Passes over the training rollouts."""
    rollouts: int = 4000
    """Training examples."""
    test_rollouts: int = 10000
    """Test examples, which choose nothing."""
    held_out_rollouts: int = 4000
    """Examples that choose the epoch."""
    device: str = "cpu"
    """Where to train."""


def plan(config: Config, shared: Path) -> Rounds:
    """Every environment, form and seed."""
    yield [
        Run(
            environment, form, seed, epochs=config.epochs, rollouts=config.rollouts,
            test_rollouts=config.test_rollouts, held_out_rollouts=config.held_out_rollouts,
            device=config.device,
        )
        for seed in range(config.seeds)
        for environment in config.environments
        for form in config.forms
    ]  # fmt: skip


def train(run: Run, shared: Path, log: Log) -> Record:
    """One run; squared errors of the predicted return's bin, by epoch, as in ldt-mujoco."""
    began = time.process_time()
    parts = {
        name: rollouts_of(run.environment, n, seed, shared)
        for name, n, seed in (
            ("training", run.rollouts, TRAINING_SEED),
            ("held_out", run.held_out_rollouts, HELD_OUT_SEED),
            ("test", run.test_rollouts, TEST_SEED),
        )
    }
    scale = RewardScale(parts["training"], BINS)
    sets = {name: _Steps.of(part, scale, run.device) for name, part in parts.items()}
    data = sets["training"]
    generator = torch.Generator().manual_seed(run.seed)
    with initial_weights(run.seed):
        channels = data.later.shape[-1]
        inputs = data.state.shape[-1] + data.actions.shape[-1]
        model = RewardStudent(inputs, channels, WIDTH, DEPTH).to(run.device)
    batches = Split(len(data.state), 0.0, generator, run.device).batches(run.batch)
    adam = torch.optim.Adam(model.parameters(), run.learning_rate, fused=True)
    walk = _steps(model, adam, data, batches, run.form)
    errors: dict[str, list[float]] = {name: [] for name in sets}
    diverged = None
    per_epoch = max(1, len(data.state) // run.batch)
    for epoch in range(1, run.epochs + 1):
        loss = float(torch.stack(list(islice(walk, per_epoch))).mean())
        now = {name: _error(model, part, scale) for name, part in sets.items()}
        if not math.isfinite(loss + sum(now.values())):
            diverged = (
                f"epoch {epoch}: the training loss is {loss:g}, the test error {now['test']:g}"
            )
            break
        for name, value in now.items():
            errors[name].append(float(f"{value:.5g}"))
        log(epoch, {"loss": loss, **now})
    return {**errors, "diverged": diverged, "seconds": round(time.process_time() - began, 1)}


@dataclass(frozen=True)
class _Steps:
    """state ``[n, S]``, actions ``[n, steps, A]``, later ``[n, steps, S + 1]``, y ``[n]``."""

    state: Tensor
    actions: Tensor
    later: Tensor
    y: Tensor

    @classmethod
    def of(cls, rollouts: Rollouts, scale: RewardScale, device: str) -> _Steps:
        """Standardised, as the other studies have them."""
        data = scale(rollouts)
        states, (steps, actions) = rollouts.state.shape[1], rollouts.actions.shape[1:]
        return cls(
            data.x[:, :states].to(device),
            data.x[:, states:].view(-1, steps, actions).to(device),
            data.x_star.transpose(1, 2).contiguous().to(device),
            data.y.to(device),
        )


def _steps(
    model: nn.Module,
    adam: torch.optim.Optimizer,
    data: _Steps,
    batches: Iterator[Tensor],
    form: Form,
) -> Iterator[Tensor]:
    for rows in batches:
        state, actions, later = data.state[rows], data.actions[rows], data.later[rows]
        if form == "trajectories":
            # Weight norm once, not 16 times.
            with cached():
                found = _rollout(model, state, actions)
        else:
            before = torch.cat([state[:, None], later[:, :-1, :-1]], 1)
            found = model(torch.cat([before, actions], -1))[0]
        loss = F.mse_loss(found, later)
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        yield loss.detach()


def _rollout(model: nn.Module, state: Tensor, actions: Tensor) -> Tensor:
    """The model fed its own states: predictions of (state, reward), ``[n, steps, S + 1]``."""
    found = []
    for t in range(actions.shape[1]):
        out = model(torch.cat([state, actions[:, t]], -1))[0]
        found.append(out)
        state = out[:, :-1]
    return torch.stack(found, 1)


def _error(model: nn.Module, part: _Steps, scale: RewardScale) -> float:
    with torch.no_grad(), cached():
        rewards = _rollout(model, part.state, part.actions)[..., -1]
    if not bool(rewards.isfinite().all()):
        return math.inf
    found = scale.label(scale.total(rewards)).to(part.y.device)
    return float((scale.values(found) - scale.values(part.y)).square().mean())


def _found(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    found: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in alike(cells, "environment", "form", "seed"):
        found[cell.run.environment, cell.run.form].append(cell)
    return found


def table(cells: Sequence[Cell]) -> str:
    """Least test errors beside table 7's; the paper has no numbers for these."""
    found = _found(cells)
    rows = []
    for environment, paper in PAPER.items():
        for form in get_args(Form):
            runs = found.get((environment, form), [])
            honest, least = errors_of(runs)
            ends = mean([cell.record["test"][-1] for cell in runs if cell.record["test"]])
            stopped = sum(cell.record["diverged"] is not None for cell in runs)
            rows.append(
                [
                    environment, form, str(len(runs)), str(stopped),
                    f"{honest:.3g}", f"{least:.3g}", f"{ends:.3g}",
                    f"{paper['no_teacher']:.3g}", f"{paper['ldt']:.3g}",
                ]
            )  # fmt: skip
    header = [
        "environment", "trained on", "seeds", "diverged", "test error, epoch by held-out data",
        "least test error", "last test error", "paper: no teacher", "paper: LDT",
    ]  # fmt: skip
    return markdown(header, rows)


def plot(cells: Sequence[Cell]) -> dict[str, Any]:
    """Test errors by epoch."""
    from matplotlib.figure import Figure

    found = _found(cells)
    names = [name for name in PAPER if any(environment == name for environment, _ in found)]
    figure = Figure(figsize=(3 * max(1, len(names)), 3.2), layout="constrained")
    if not names:
        return {}
    for axes, environment in zip(
        figure.subplots(1, len(names), squeeze=False)[0], names, strict=True
    ):
        for k, form in enumerate(get_args(Form)):
            for cell in found.get((environment, form), []):
                test = cell.record["test"]
                axes.plot(range(1, len(test) + 1), test, color=f"C{k}", alpha=0.6, linewidth=1)
            axes.plot([], [], color=f"C{k}", label=form)
        axes.set(title=environment, xlabel="epoch", yscale="log")
    figure.axes[0].set_ylabel("test error")
    figure.axes[0].legend(frameon=False, fontsize="small")
    return {"errors": figure}


FULL = Config(seeds=8)

study = Study(
    name="ldt-model-based",
    claim="Neitz et al. 2021, appendix B.2.3: a student stacked on itself and trained on "
    "trajectories is unstable; on independent transitions it works much better. It computes 16 "
    "times as much as the others, and stands outside their comparison.",
    version=1,
    config=Config,
    run=Run,
    full=FULL,
    smoke=Config(
        environments=("Hopper",), seeds=1, epochs=1, rollouts=120, test_rollouts=50,
        held_out_rollouts=50,
    ),
    plan=plan,
    train=train,
    value=lambda record: min(record["held_out"], default=math.inf),
    table=table,
    plot=plot,
)  # fmt: skip
