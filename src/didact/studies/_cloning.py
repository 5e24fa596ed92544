"""Behavioural cloning with a batch of one level at a time: a run of ``ilc-cloning``."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._checks import Diverged, invalid
from ..agreement import TemporalAndMaskAdam
from ..runs import write_atomic
from ..tasks import CoinRun, coinrun
from ._ilc_nets import ResNet18
from ._loop import Split
from ._study import Log, Record

Method = Literal["adam", "and_mask", "unmasked"]
STAND_IN = "stand-in"
LOOKS = 20
BETA2 = 0.999


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one run."""

    data: str
    """Start of the SHA-256 of the file of games; or the stand-in."""
    method: Method
    """Adam, the temporal AND-mask, or the latter with τ = 0."""
    settings: dict[str, float]
    """Rate, β₁, weight decay; of the AND-mask β₃ and τ."""
    seed: int
    """Of initial weights and batches."""
    states: int
    """Of each level."""
    epochs: int
    """An epoch is one batch from every level."""
    batch: int
    """States of one level in a step."""
    width: int
    """Of the ResNet-18's first stage."""
    batch_norm: bool = False
    """BatchNorm, else GroupNorm."""
    device: str = "cpu"
    """Where to train."""


def prepare(file: str, states: int, shared: Path) -> str:
    """Check the games once, put them where all runs find them, and return their name.

    Args:
        file: of `scripts/collect_coinrun.py`; the stand-in needs none.
        states: of each level that runs ask for.
        shared: of the study.

    Raises:
        InvalidInput: if the file is missing or another one, or holds too few states.
    """
    if file == STAND_IN:
        return STAND_IN
    found = coinrun(file)
    if states > found.x.shape[1]:
        raise invalid("states", f"at most {found.x.shape[1]}, which {file} has of a level", states)
    contents = Path(file).read_bytes()
    name = hashlib.sha256(contents).hexdigest()[:16]
    if not (shared / f"{name}.npz").exists():
        write_atomic(shared / f"{name}.npz", contents)
    return name


def load(run: Run, shared: Path) -> CoinRun:
    """The games of a run."""
    return stand_in() if run.data == STAND_IN else coinrun(shared / f"{run.data}.npz")


def stand_in() -> CoinRun:
    """No game: noise of a colour for each level, and where it is brighter decides what to do."""
    generator = torch.Generator().manual_seed(0)

    def states(levels: int, n: int) -> tuple[Tensor, Tensor]:
        right = torch.rand(levels, n, generator=generator).round()
        x = torch.rand(levels, n, 3, 64, 64, generator=generator)
        x *= 0.2 + 0.6 * torch.rand(levels, 1, 3, 1, 1, generator=generator)
        x[..., :32] += 0.2 * (1 - right)[..., None, None, None]
        x[..., 32:] += 0.2 * right[..., None, None, None]
        p = torch.full((levels, n, 15), 0.1 / 14)
        p.scatter_(2, (1 + 6 * right.long())[..., None], 0.9)
        return (255 * x).byte(), p

    x, p = states(4, 16)
    x_test, p_test = states(20, 1)
    return CoinRun(x, p, x_test[:, 0], p_test[:, 0], {"expert": STAND_IN})


def rounds(
    levels: int, states: int, batch: int, generator: torch.Generator
) -> Iterator[list[tuple[int, Tensor]]]:
    """Epochs for ever: every level once, in random order, with rows of a batch of its states.

    All states of a level come before any comes again.
    """
    walks = [Split(states, 0.0, generator).batches(min(batch, states)) for _ in range(levels)]
    while True:
        order = torch.randperm(levels, generator=generator).tolist()
        yield [(level, next(walks[level])) for level in order]


def optimizer(run: Run, net: nn.Module) -> torch.optim.Optimizer:
    """The method's, with decoupled weight decay."""
    given = run.settings
    rate, decay = given["learning_rate"], given["weight_decay"]
    if run.method == "adam":
        betas = given["beta1"], BETA2
        return torch.optim.AdamW(net.parameters(), rate, betas, weight_decay=decay, fused=True)
    return TemporalAndMaskAdam(
        net.parameters(), rate, (given["beta1"], BETA2, given.get("beta3", 0.0)),
        threshold=given.get("threshold", 0.0), weight_decay=decay,
    )  # fmt: skip


def train_clone(run: Run, shared: Path, log: Log) -> Record:
    """One run; KL(π* ‖ π_θ) by look on training batches, held-out and test levels.

    The first half of the levels to test on is held out, to choose settings and epochs. ``constant``
    is the test KL of the mean π* of the training states, which needs no picture.
    """
    began = time.process_time()
    data = load(run, shared)
    generator = torch.Generator().manual_seed(run.seed)
    x, p = (part[:, : run.states].to(run.device) for part in (data.x, data.p))
    half = len(data.x_test) // 2
    judged = {
        name: (data.x_test[part].to(run.device), data.p_test[part].to(run.device))
        for name, part in {"held_out": slice(half), "test": slice(half, None)}.items()
    }
    centre, scale = x.float().mean(), x.float().std()
    with torch.random.fork_rng(devices=[run.device] if run.device != "cpu" else []):
        torch.manual_seed(run.seed)
        net = ResNet18(3, run.width, p.shape[-1], batch_norm=run.batch_norm).to(run.device)
    adam = optimizer(run, net)
    drops = [round(share * run.epochs) for share in (0.5, 0.75)]
    rates = torch.optim.lr_scheduler.MultiStepLR(adam, drops, 0.1)
    found: dict[str, list[float]] = {"training": [], "held_out": [], "test": []}
    every = max(1, run.epochs // LOOKS)
    losses: list[Tensor] = []
    diverged = None
    walk = rounds(len(x), run.states, run.batch, generator)
    for epoch in range(1, run.epochs + 1):
        for level, rows in next(walk):
            rows = rows.to(run.device)
            loss = kl(net((x[level, rows].float() - centre) / scale), p[level, rows])
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            losses.append(loss.detach())
        rates.step()
        if epoch % every and epoch < run.epochs:
            continue
        now = {"training": float(torch.stack(losses).mean())}
        now |= {name: _judge(net, *part, centre, scale) for name, part in judged.items()}
        losses = []
        if not all(map(math.isfinite, now.values())):
            diverged = str(Diverged(f"Epoch {epoch}: KL {now}."))
            break
        for name, value in now.items():
            found[name].append(round(value, 6))
        log(epoch, now)
    x_test, p_test = judged["test"]
    constant = p.mean((0, 1)).log().expand(len(x_test), -1)
    return {
        **found, "every": every, "diverged": diverged,
        "constant": round(float(kl(constant, p_test)), 6), "levels": len(x), "about": data.about,
        "seconds": round(time.process_time() - began, 1),
    }  # fmt: skip


def kl(logits: Tensor, p: Tensor) -> Tensor:
    """KL(π* ‖ π_θ) in nats, the mean over states.

    Example:
        >>> bool(kl(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])) == math.log(2))
        True
    """
    return F.kl_div(logits.log_softmax(-1), p, reduction="batchmean")


def _judge(net: nn.Module, x: Tensor, p: Tensor, centre: Tensor, scale: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        parts = [net((part.float() - centre) / scale) for part in torch.split(x, 250)]
    net.train()
    return float(kl(torch.cat(parts), p))


def best(record: Record) -> int:
    """The look with the lowest held-out KL.

    Raises:
        ValueError: where there is none.
    """
    held: list[Any] = record["held_out"]
    return held.index(min(held))


def held_out(record: Record) -> float:
    """The lowest held-out KL; infinity where nothing was reached."""
    return min(record["held_out"], default=math.inf)
