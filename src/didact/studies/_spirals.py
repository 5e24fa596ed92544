"""Training on spirals with shortcuts, by every method of the ILC paper and its rivals."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from .._checks import Diverged
from ..agreement import (
    agreement,
    environment_backward,
    irm_penalty,
    reverse_gradient,
    variance_of_losses,
)
from ..tasks import Spirals, spirals
from ._ilc_nets import leaky_perceptron
from ._study import Log, Record

Method = Literal["plain", "and_mask", "irm", "v_rex", "dann"]
LOOKS = 30
FITTED, FAILED = 0.97, 0.6
"""Training accuracy above, test accuracy below which a run is given up."""

losses_of = partial(F.binary_cross_entropy_with_logits, reduction="none")


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one run."""

    method: Method
    settings: dict[str, Any]
    """One point of the method's space, see :data:`USUAL`."""
    seed: int
    """Of data, initial weights and batches."""
    environments: int = 32
    """D."""
    at_once: int = 32
    """Environments of a step, at most; they take turns."""
    rows: int = 1280
    """Training examples of each environment."""
    passes: int = 3000
    """Epochs are passes/D."""
    shortcut: int = 32
    """Size of the shortcuts."""
    shortcut_scale: float = 1.0
    """Their standard deviation, the mechanism's being 1."""
    test_rows: int = 2000
    """Test examples, and as many that choose settings."""
    give_up: bool = True
    """End runs that have learned the shortcuts."""
    device: str = "cpu"
    """Where to train."""


USUAL: dict[str, Any] = {
    "width": 256, "depth": 3, "batch": 128, "optimizer": "adam", "learning_rate": 1e-2,
    "batch_norm": False, "dropout": 0.0, "l1": 0.0, "l2": 0.0, "threshold": 1.0,
    "rescale": False, "penalty": 0.0, "annealing": 0, "reversal": 1.0,
}  # fmt: skip
"""Stands in for what a run's settings leave out. ``batch`` is of each environment."""


class Adversary(nn.Module):
    """Domain-adversarial network: features, classifier and discriminator of two layers each."""

    def __init__(self, inputs: int, width: int, environments: int, reversal: float) -> None:
        super().__init__()
        self.features = leaky_perceptron(inputs, width, 1, width)
        self.classifier = leaky_perceptron(width, width, 1)
        self.discriminator = leaky_perceptron(width, width, 1, environments)
        self.reversal = reversal

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(F.leaky_relu(self.features(x)))
        return out

    def loss(self, batch: Spirals) -> Tensor:
        """Of the label, and of the environment as the discriminator sees it."""
        features = F.leaky_relu(self.features(batch.x))
        told = self.discriminator(reverse_gradient(features, self.reversal))
        label = losses_of(self.classifier(features).squeeze(1), batch.y.to(features)).mean()
        return label + F.cross_entropy(told, batch.environment)


def train_spirals(run: Run, shared: Path, log: Log) -> Record:
    """One run; accuracies by look on training, held-out and test examples.

    The two latter have shortcuts drawn anew for each example. ``stopped``: whether it was given up;
    ``steps``: how many it took ``of`` how many.
    """
    began = time.process_time()
    settings = {**USUAL, **run.settings}
    generator = torch.Generator().manual_seed(run.seed)
    draw = partial(
        spirals, shortcut=run.shortcut, shortcut_scale=run.shortcut_scale, generator=generator
    )
    data = _moved(draw(run.rows, run.environments), run.device)
    seen = torch.randperm(len(data.x), generator=generator)[: run.test_rows].to(run.device)
    sets = {
        "training": Spirals(*(t[seen] for t in data)),
        "held_out": _moved(draw(1, run.test_rows), run.device),
        "test": _moved(draw(1, run.test_rows), run.device),
    }
    with torch.random.fork_rng(devices=[run.device] if run.device != "cpu" else []):
        torch.manual_seed(run.seed)
        found = _walk(run, settings, data, sets, generator, log)
    return {**found, "seconds": round(time.process_time() - began, 1)}


def _walk(
    run: Run,
    settings: dict[str, Any],
    data: Spirals,
    sets: dict[str, Spirals],
    generator: Generator,
    log: Log,
) -> Record:
    inputs, width = data.x.shape[1], settings["width"]
    net: nn.Module
    if run.method == "dann":
        net = Adversary(inputs, width, run.environments, settings["reversal"])
    else:
        net = leaky_perceptron(
            inputs, width, settings["depth"], batch_norm=settings["batch_norm"],
            dropout=settings["dropout"],
        )  # fmt: skip
    net.to(run.device)
    rate, decay = settings["learning_rate"], settings["l2"]
    optimizer: torch.optim.Optimizer
    if settings["optimizer"] == "adam":
        optimizer = torch.optim.Adam(net.parameters(), rate, weight_decay=decay, fused=True)
    else:
        optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=decay)
    size = min(settings["batch"], run.rows)
    total = max(1, run.passes // run.environments) * _turns(run) * (run.rows // size)
    rates = torch.optim.lr_scheduler.MultiStepLR(optimizer, [total // 2, 3 * total // 4], 0.1)
    every = max(1, total // LOOKS)
    found: dict[str, list[float]] = {name: [] for name in sets}
    batches = _batches(data, run, size, generator)
    stopped, diverged = False, None
    for step in range(1, total + 1):
        optimizer.zero_grad()
        try:
            _backward(run, settings, net, next(batches), step)
        except Diverged as error:
            diverged = str(error)
        if settings["l1"]:
            for parameter in net.parameters():
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach().sign(), alpha=settings["l1"])
        if not diverged:
            optimizer.step()
            rates.step()
        if step % every and step < total and not diverged:
            continue
        now = {name: _accuracy(net, part) for name, part in sets.items()}
        for name, value in now.items():
            found[name].append(round(value, 4))
        log(step, now)
        stopped = run.give_up and now["training"] > FITTED and now["held_out"] < FAILED
        if stopped or diverged:
            break
    return {**found, "stopped": stopped, "diverged": diverged, "steps": step, "of": total}


def _backward(
    run: Run,
    settings: dict[str, Any],
    net: nn.Module,
    batch: Spirals,
    step: int,
) -> None:
    """Fill the gradients by the run's method."""
    x, y, environment = batch.x, batch.y.to(batch.x), batch.environment
    if run.method == "dann":
        assert isinstance(net, Adversary)
        _finite(net.loss(batch), step).backward()  # type: ignore[no-untyped-call]
    elif run.method == "and_mask":
        options = {name: settings[name] for name in ("threshold", "rescale")}
        if settings["batch_norm"]:
            # Each environment by its own statistics: one backward pass through all of them for each
            # environment would take as many times as long.
            parts = [environment == e for e in torch.unique(environment)]
            each = (
                _finite(losses_of(net(x[rows]).squeeze(1), y[rows]).mean(), step) for rows in parts
            )
            environment_backward(each, net, **options)
        else:
            with agreement(net, environments=environment, **options):
                _finite(losses_of(net(x).squeeze(1), y).mean(), step).backward()  # type: ignore[no-untyped-call]
    else:
        logits = net(x).squeeze(1)
        losses = losses_of(logits, y)
        loss = losses.mean()
        if run.method != "plain":
            weight = settings["penalty"] if step > settings["annealing"] else 1.0
            if run.method == "irm":
                penalty = irm_penalty(logits, y, environment, loss=losses_of)
            else:
                penalty = variance_of_losses(losses, environment)
            # As the authors of IRM do: a large weight should not make large steps.
            loss = (loss + weight * penalty) / max(weight, 1.0)
        _finite(loss, step).backward()  # type: ignore[no-untyped-call]


def _finite(loss: Tensor, step: int) -> Tensor:
    if not math.isfinite(float(loss.detach())):
        raise Diverged(f"The loss of step {step} is {float(loss.detach())}.")
    return loss


def _turns(run: Run) -> int:
    """Steps that it takes to see all environments."""
    return math.ceil(run.environments / run.at_once)


def _batches(data: Spirals, run: Run, size: int, generator: Generator) -> Iterator[Spirals]:
    """For ever: ``size`` examples each of some environments, all of which take turns."""
    while True:
        order = torch.rand(run.environments, run.rows, generator=generator).argsort(1)
        order = order + run.rows * torch.arange(run.environments)[:, None]
        for start in range(0, run.rows - size + 1, size):
            mixed = torch.randperm(run.environments, generator=generator)
            for turn in mixed.chunk(_turns(run)):
                rows = order[turn, start : start + size].flatten().to(data.x.device)
                yield Spirals(*(t[rows] for t in data))


def _moved(data: Spirals, device: str) -> Spirals:
    return Spirals(*(t.to(device) for t in data))


def _accuracy(net: nn.Module, data: Spirals) -> float:
    net.eval()
    with torch.no_grad():
        right = (net(data.x).squeeze(1) > 0) == (data.y > 0)
    net.train()
    return float(right.double().mean())


class Reached(NamedTuple):
    """Accuracies at the end of a run."""

    training: float
    held_out: float
    test: float


def reached(record: Record) -> Reached:
    """The last look."""
    return Reached(*(record[name][-1] for name in Reached._fields))
