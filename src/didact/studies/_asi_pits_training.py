"""How the study of pits trains a model of states and what it looks at."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from .._checks import Diverged
from ..skips import (
    aligned_loss,
    latent_skip_loss,
    linear,
    reciprocal,
    rollout,
    skip_loss,
    squared_error,
)
from ..tasks import pits
from ._study import Log, Record

Method = Literal["asi", "fixed", "aligned", "asi, then aligned", "latent"]
JUDGED_SEED = 10**6
"""Of falls that nobody trains on."""
LATENT = 8
FADED = 0.5
"""Share of the updates over which exploration fades, and true states come to be fed seldom."""
NEAR = 0.25
"""How far from where the ball lies a prediction may be."""


@dataclass(frozen=True)
class Run:
    """All that decides the numbers of one run."""

    method: Method
    horizon: int
    """H, or Δ of fixed steps."""
    exploring: bool
    """Whether the skips are explored at first."""
    temperature: float
    """Of global alignment."""
    both_ways: bool
    """Whether falls turn to both sides."""
    told: bool
    """Whether the model sees to which."""
    seed: int
    """Of training data, initial weights, batches and what the matching draws."""
    falls: int
    levels: int
    epochs: int
    looks: int
    learning_rate: float = 2e-3
    width: int = 128
    batch: int = 32


class Step(nn.Module):
    """What comes next is near what is: ``f(x) = x + net(x)``, told of an action or not."""

    def __init__(self, size: int, actions: int, width: int) -> None:
        super().__init__()
        self.net = mlp(size + actions, size, width)

    def forward(self, x: Tensor, ahead: Tensor | None = None, _: Tensor | None = None) -> Tensor:
        """``[n, size]``, with the actions to come ``[n, H, A]``, of which the next is seen."""
        seen = x if ahead is None else torch.cat([x, ahead[:, 0]], 1)
        found: Tensor = x + self.net(seen)
        return found


def mlp(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
        nn.Linear(width, outputs),
    )  # fmt: skip


class Model(nn.Module):
    """The step, and for a latent space what leads there and back."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        latent = run.method == "latent"
        self.f = Step(LATENT if latent else 3, int(run.told), run.width)
        self.encoder = mlp(3, LATENT, run.width) if latent else nn.Identity()
        self.decoder = mlp(LATENT, 3, run.width) if latent else nn.Identity()

    def predict(self, first: Tensor, actions: Tensor | None, steps: int) -> Tensor:
        """``[n, 3]`` → ``[n, steps, 3]``; the action stays."""
        f = self.f if actions is None else partial(self.f, ahead=actions)
        found: Tensor = self.decoder(rollout(f, self.encoder(first), steps)[:, 1:])
        return found


def train(run: Run, shared: Any, log: Log) -> Record:
    """One run; at every look how many falls end where the model says."""
    began = time.process_time()
    training, judged = data_of(run, run.seed), data_of(run, JUDGED_SEED)
    generator = Generator().manual_seed(run.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        model = Model(run)
    parameters = list(model.parameters())
    adam = torch.optim.Adam(parameters, run.learning_rate)
    updates = run.epochs * -(-run.falls // run.batch)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, updates)
    looks = {round((k + 1) * run.epochs / run.looks) for k in range(run.looks)}
    record: Record = {"updates": [], "evaluations": [], "right": [], "skip": []}
    record["diverged"] = None
    i = evaluations = 0
    try:
        for epoch in range(1, run.epochs + 1):
            steps = frames = 0
            order = torch.randperm(run.falls, generator=generator)
            for rows in torch.split(order, run.batch):
                states, lengths = training[0][rows], training[1][rows]
                if run.method == "fixed":
                    states, lengths = cut(states, lengths, run.horizon, generator)
                actions = training[2][rows] if run.told else None
                loss, calls, matched = loss_of(
                    run, model, states, lengths, actions, i / updates, generator
                )
                if not bool(loss.isfinite()):
                    raise Diverged(f"The loss of update {i} is {float(loss.detach())}.")
                adam.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(parameters, 1.0)
                adam.step()
                decay.step()
                i, evaluations = i + 1, evaluations + calls
                steps, frames = steps + matched, frames + int((lengths - 1).sum())
            if epoch in looks:
                found = right(model, *judged[:2], judged[2] if run.told else None, run.levels)
                now = {"evaluations": evaluations, "right": found, "skip": round(frames / steps, 2)}
                record["updates"].append(i)
                for name, value in now.items():
                    record[name].append(value)
                log(i, now)
    except Diverged as error:
        record["diverged"] = str(error)
    return {**record, "seconds": round(time.process_time() - began, 1)}


def data_of(run: Run, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """States with levels in [−1, 1], lengths, and the turn as an action ``[n, 1, 1]``."""
    found = pits(run.falls, seed=seed, levels=run.levels, both_ways=run.both_ways)
    states = found.states * torch.tensor([1, 1, 2 / run.levels]) - torch.tensor([0, 0, 1])
    return states, found.lengths, found.turns.float()[:, None, None]


def cut(
    states: Tensor, lengths: Tensor, horizon: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Falls from one of their first Δ states on, so that fixed steps meet all of them.

    Only for these: a fall that begins in its middle has fewer pits, and global alignment, which
    has all its predictions from the first state on, then may find none of them.
    """
    start = torch.rand(len(states), generator=generator) * (lengths - 1).clamp_max(horizon)
    lengths = lengths - start.long()
    places = start.long()[:, None] + torch.arange(int(lengths.max()))
    rows = torch.arange(len(states))[:, None]
    return states[rows, places.clamp_max(states.shape[1] - 1)], lengths


def loss_of(
    run: Run, model: Model, states: Tensor, lengths: Tensor, actions: Tensor | None, done: float,
    generator: Generator,
) -> tuple[Tensor, int, int]:  # fmt: skip
    """Loss, calls of the model, and how many of them were matched, of all falls together."""
    method, length = run.method, 1.0
    if method == "asi, then aligned":
        method, length = ("asi", 0.5) if done < 0.5 else ("aligned", 1.0)
    if method == "aligned":
        fewest = -(-states.shape[1] // run.horizon)
        found = aligned_loss(
            model.f, states, lengths, horizon=run.horizon, steps=fewest + 2 * run.levels,
            temperature=run.temperature, loss=squared_error,
        )  # fmt: skip
        return found.loss, found.evaluations, int((found.matched >= 0).sum())
    options: dict[str, Any] = {
        "horizon": run.horizon, "shortest": run.horizon if method == "fixed" else 1,
        "exploration": linear(round(1000 * done), 1000 * FADED * length) if run.exploring else 0.0,
        "teacher_forcing": reciprocal(round(1000 * done), 1000 * FADED * length),
        "generator": generator, "loss": squared_error,
    }  # fmt: skip
    if actions is not None:
        options["actions"] = actions.expand(-1, states.shape[1], -1)
    if method == "latent":
        latent = latent_skip_loss(model.encoder, model.f, states, lengths, **options)
        inside = torch.arange(states.shape[1]) < lengths[:, None]
        seen = states[inside]
        again = squared_error(model.decoder(model.encoder(seen)), seen).mean()
        found = latent.found
        return latent.loss + again, found.evaluations, found.evaluations
    found = skip_loss(model.f, states, lengths, **options)
    return found.loss, found.evaluations, found.evaluations


def right(
    model: Model, states: Tensor, lengths: Tensor, actions: Tensor | None, levels: int
) -> float:
    """The share of falls of which the first prediction at the bottom is where the ball lies.

    At the bottom is what is nearer to it than to the last pit; the model is called as often as
    the longest fall has states.
    """
    with torch.no_grad():
        made = model.predict(states[:, 0], actions, states.shape[1])
    rows = torch.arange(len(states))
    there = made[:, :, 2] > 1 - 1 / levels
    place = made[rows, there.int().argmax(1), :2]
    near = (place - states[rows, lengths - 1, :2]).norm(dim=1) < NEAR
    return round(float((near & there.any(1)).double().mean()), 4)
