"""One training run of the LDT paper's reward model (section 4.3, appendix B.2)."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import ParametrizationList

from .._checks import Diverged
from ..privileged import LDT, Auxiliary, FixedTeacher, NoTeacher
from ..runs import write_atomic
from ..tasks import Environment, RewardModel, RewardScale, Rollouts, mujoco_rollouts
from ..unroll import SGD
from ._loop import Method, Split, meta_steps, steps
from ._nets import RewardStudent, TrajectoryHead, TrajectoryTeacher

Candidate = Literal["no_teacher", "auxiliary", "ldt"]
Ablation = Literal["", "FT", "PT", "RT-8", "RT-16", "AR"]
BINS, WIDTH, DEPTH = 32, 128, 5
BATCH, INNER_STEPS, STUDENT_STEPS = 24, 96, 24
META_LEARNING_RATE, LEARNING_RATE = 5e-4, 1e-3
INNER_MOMENTUM, INNER_WEIGHT_DECAY = 0.75, 1e-8
TRAINING_SEED, TEST_SEED, HELD_OUT_SEED = 0, 1, 2
ABLATION_SEED = 10**6


@dataclass(frozen=True)
class Run:
    """All that decides the numbers of one run."""

    environment: Environment
    method: Candidate
    settings: dict[str, Any]
    """One point of the method's grid."""
    seed: int
    """Of initial weights, split and batches; the data are the same for all seeds."""
    epochs: int = 100
    """Passes of the student over the rows it trains on."""
    rollouts: int = 4000
    """Training examples."""
    test_rollouts: int = 10000
    """Test examples, which choose nothing."""
    held_out_rollouts: int = 4000
    """Examples that choose settings and epochs; the paper chose them on its test set."""
    ablation: Ablation = ""
    """FT: the teacher never learns. PT: every trajectory permuted in time. RT-n: its last n frames
    are noise. AR: the split is drawn anew at every meta-step."""
    compile: bool = False
    """Compile LDT's inner steps."""
    device: str = "cpu"
    """Where to train."""


def train(run: Run, folder: Path, log: Callable[[int, dict[str, float]], None]) -> dict[str, Any]:
    """Train for ``run.epochs``; the errors after each of them.

    Args:
        run: what to do.
        folder: where rollouts are kept between runs.
        log: called with the epoch and its numbers.

    Returns:
        ``training`` (on the student's own rows), ``held_out`` and ``test``: squared errors of the
        expected bin by epoch; ``skipped`` meta-gradients; CPU ``seconds``; ``diverged``: ``None``
        or where and how training ended early.
    """
    began = time.process_time()
    training = rollouts_of(run.environment, run.rollouts, TRAINING_SEED, folder)
    scale = RewardScale(training, BINS)
    sets = {
        "training": scale(training),
        "held_out": scale(
            rollouts_of(run.environment, run.held_out_rollouts, HELD_OUT_SEED, folder)
        ),
        "test": scale(rollouts_of(run.environment, run.test_rollouts, TEST_SEED, folder)),
    }
    sets = {name: RewardModel(*(t.to(run.device) for t in data)) for name, data in sets.items()}
    generator = torch.Generator().manual_seed(run.seed)
    # Draws of their own: the split and the batches are those of the run without ablation.
    data = _ablated(
        sets["training"], run.ablation, torch.Generator().manual_seed(ABLATION_SEED + run.seed)
    )
    errors: dict[str, list[float]] = {name: [] for name in sets}
    diverged = None
    device = torch.device(run.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(run.seed)
        method, walk, split, per_epoch = _course(run, data, generator)
        own = RewardModel(*(t[split.pool] for t in data))
        try:
            for epoch in range(1, run.epochs + 1):
                method.student.train()
                loss = torch.stack(list(islice(walk, per_epoch))).mean()
                if not math.isfinite(loss):
                    raise Diverged(f"The training loss is {float(loss)}.")
                now = {
                    name: _error(method.student, own if name == "training" else rows, scale)
                    for name, rows in sets.items()
                }
                if wrong := [name for name, value in now.items() if not math.isfinite(value)]:
                    raise Diverged(f"The {wrong[0]} error is {now[wrong[0]]}.")
                for name, value in now.items():
                    errors[name].append(float(f"{value:.5g}"))
                log(epoch, {"loss": float(loss), **now})
        except Diverged as error:
            diverged = f"epoch {len(errors['test']) + 1}: {error}"
    return {
        **errors,
        "skipped": method.skipped if isinstance(method, LDT) else 0,
        "diverged": diverged,
        "seconds": round(time.process_time() - began, 1),
    }


def _course(run: Run, data: RewardModel, generator: torch.Generator) -> tuple[Any, Any, Split, int]:
    """The method, its endless walk, its rows, and its steps per epoch."""
    channels, horizon = data.x_star.shape[1:]
    settings, device = run.settings, run.device
    student = RewardStudent(data.x.shape[1], BINS, WIDTH, DEPTH).to(device)
    batch = settings.get("batch", BATCH)
    taught = run.method == "ldt"
    split = Split(len(data.y), settings["validation_split"] if taught else 0.0, generator, device)
    method: Method
    before = None
    if run.method == "no_teacher":
        method = NoTeacher(student, label_loss=F.cross_entropy)
    elif run.method == "auxiliary":
        head = TrajectoryHead(WIDTH, channels, horizon).to(device)
        method = Auxiliary(
            student, head, label_loss=F.cross_entropy, weight=settings["auxiliary_weight"]
        )
    else:
        teacher = TrajectoryTeacher(channels, horizon, 2 * student.neurons).to(device)
        alpha = 10.0 ** settings["log_alpha"]
        if run.ablation == "FT":
            method = FixedTeacher(student, teacher, label_loss=F.cross_entropy, alpha=alpha)
        else:
            inner = SGD(
                settings["inner_learning_rate"], INNER_MOMENTUM, weight_decay=INNER_WEIGHT_DECAY
            )
            method = ldt = LDT(
                student, teacher, label_loss=F.cross_entropy, inner=inner, alpha=alpha,
                compile=run.compile,
            )  # fmt: skip
            meta = torch.optim.Adam(
                teacher.parameters(), META_LEARNING_RATE, (settings["beta1"], 0.999)
            )
            before = meta_steps(
                ldt, meta, data, split, inner_steps=INNER_STEPS, batch=BATCH,
                every=STUDENT_STEPS, resample=run.ablation == "AR",
            )  # fmt: skip
    adam = torch.optim.Adam(
        _groups(method, settings.get("weight_decay", 0.0)),
        settings.get("learning_rate", LEARNING_RATE),
        fused=True,
    )
    walk = steps(method, adam, data, split.batches(batch), before)
    return method, walk, split, max(1, len(split.pool) // batch)


def _groups(method: Method, weight_decay: float) -> list[dict[str, Any]]:
    """All parameters; decay for all but the directions of weight norm.

    The network divides by their lengths: decay tells it nothing, and brings those of dead neurons
    to 0, and the network to NaN.
    """
    directions = {
        id(module.original1)
        for module in method.student.modules()
        if isinstance(module, ParametrizationList)
    }
    free = [p for p in method.parameters() if id(p) in directions]
    rest = [p for p in method.parameters() if id(p) not in directions]
    return [{"params": rest, "weight_decay": weight_decay}, {"params": free}]


def _error(student: nn.Module, rows: RewardModel, scale: RewardScale) -> float:
    student.eval()
    with torch.no_grad():
        logits: Tensor = student(rows.x)[0]
    return float(scale.squared_error(logits, rows.y))


def _ablated(data: RewardModel, ablation: Ablation, generator: torch.Generator) -> RewardModel:
    n, _, horizon = data.x_star.shape
    if ablation == "PT":
        order = torch.rand(n, 1, horizon, generator=generator).argsort(-1).to(data.x_star.device)
        return data._replace(x_star=data.x_star.gather(2, order.expand_as(data.x_star)))
    if ablation.startswith("RT-"):
        last = int(ablation.removeprefix("RT-"))
        noise = torch.randn(data.x_star.shape, generator=generator).to(data.x_star.device)
        frames = [data.x_star[..., : horizon - last], noise[..., horizon - last :]]
        return data._replace(x_star=torch.cat(frames, -1))
    return data


def rollouts_of(environment: Environment, n: int, seed: int, folder: Path) -> Rollouts:
    """Simulated once, then loaded."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{environment}-{n}-{seed}.npz"
    if not path.exists():
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **mujoco_rollouts(environment, n, seed=seed)._asdict())
        write_atomic(path, buffer.getvalue())
    with np.load(path, allow_pickle=False) as arrays:
        return Rollouts(**{name: arrays[name] for name in Rollouts._fields})
