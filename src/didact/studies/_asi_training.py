"""How the studies of adaptive skip intervals train a model and what they look at."""

from __future__ import annotations

import base64
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.utils import clip_grad_norm_

from .. import __version__
from .._checks import Diverged
from ..runs import versions
from ..skips import linear, reciprocal
from ..tasks import (
    Trajectories,
    funnel_board,
    funnel_label,
    load_trajectories,
    room_label,
    room_runner,
    save_trajectories,
)
from ._asi_driven import Driven
from ._asi_latent import Latent
from ._asi_learners import Frames, Learner, Matching, Method
from ._study import Log, Record

World = Literal["funnel-board", "room-runner"]
VALIDATION_SEED = 10**6
"""Of trajectories that nobody trains on (trials have the next one's); others have the run's."""
SEARCH_SEED = 1000
"""Seeds from here on are of trials, whose settings are compared."""
FILMS = 2
"""Validation trajectories whose predictions are kept, for pictures."""
AT_ONCE = 50
"""Validation trajectories side by side."""


@dataclass(frozen=True)
class Run:
    """All that decides the numbers of one run."""

    world: World
    method: Method
    settings: dict[str, Any]
    """Of the model, of Adam, of the matching; schedules are in updates."""
    seed: int
    """Of training data, initial weights, batches and what the matching draws."""
    pixels: int
    """Resolution, as the worlds take it."""
    extent: int
    """Cells along Room runner's building, rows of Funnel board."""
    trajectories: int = 200
    """That are trained on."""
    validation: int = 200
    """That are not."""
    epochs: int = 20
    """Passes over the trajectories."""
    looks: int = 10
    """At the validation trajectories, evenly spaced, the last one at the end."""
    switch: int = 0
    """Epochs with perturbed dynamics, before the standard ones."""
    batch: int = 2
    """Trajectories of an update."""
    device: str = "cpu"
    """Where to train."""


def drawn_of(run: Run, count: int, seed: int, *, perturbed: bool = False) -> Trajectories:
    """Trajectories of a run's world."""
    if run.world == "room-runner":
        return room_runner(
            count, seed=seed, perturbed=perturbed, side=run.extent, pixels=run.pixels
        )
    return funnel_board(count, seed=seed, perturbed=perturbed, rows=run.extent, pixels=run.pixels)


def data_of(run: Run, shared: Path | None, *, validation: bool, perturbed: bool) -> Trajectories:
    """Trajectories of a run, from a file if another run has left them in ``shared``.

    Files of another version of this package or of pymunk are not taken.
    """
    count, seed = run.trajectories, run.seed
    if validation:
        count, seed = run.validation, VALIDATION_SEED + (run.seed >= SEARCH_SEED)
    kind = "-perturbed" if perturbed else ""
    made = f"{__version__}-{versions('pymunk').get('pymunk')}"
    name = f"{run.world}-{run.extent}-{run.pixels}-{count}-{seed}{kind}-{made}.npz"
    if shared is not None and (shared / name).exists():
        data = load_trajectories(shared / name)
    else:
        data = drawn_of(run, count, seed, perturbed=perturbed)
        if shared is not None:
            save_trajectories(data, shared / name)
    return Trajectories(*(tensor.to(run.device) for tensor in data))


def train(run: Run, shared: Path, log: Log) -> Record:
    """One run; at every look ψ's opinion of what the model predicts for new first frames."""
    began = time.process_time()
    kinds = [True, False] if run.switch else [False]
    sets = {
        (kind, validation): data_of(run, shared, validation=validation, perturbed=kind)
        for kind in kinds
        for validation in (False, True)
    }
    generator = Generator().manual_seed(run.seed)
    learner = learner_of(run, generator)
    settings = run.settings
    adam = torch.optim.Adam(learner.parameters(), settings["learning_rate"])
    decay = torch.optim.lr_scheduler.StepLR(adam, settings["decay"], 0.2)
    per_epoch = -(-run.trajectories // run.batch)
    total = run.epochs * per_epoch
    looks = {round((k + 1) * total / run.looks) for k in range(run.looks)}
    evaluations = 0
    paths: deque[int] = deque(maxlen=run.trajectories)
    losses: list[float] = []
    record: Record = {
        name: []
        for name in ("updates", "evaluations", "accuracy", "probability", "loss", "steps", "skip")
    }
    record["diverged"] = None
    try:
        for i, (rows, perturbed) in enumerate(_batches(run, generator)):
            data = sets[perturbed, False]
            matching: Matching = {
                "exploration": _faded(linear, i, settings.get("exploration", 0)),
                "teacher_forcing": _faded(reciprocal, i, settings["teacher_forcing"]),
                "generator": generator,
            }
            found = learner.loss(data, rows, matching)
            if not bool(found.loss.isfinite()):
                raise Diverged(f"The loss of update {i} is {float(found.loss)}.")
            adam.zero_grad(set_to_none=True)
            found.loss.backward()  # type: ignore[no-untyped-call]
            if "clip" in settings:
                clip_grad_norm_(learner.parameters(), settings["clip"])
            adam.step()
            decay.step()
            evaluations += found.evaluations
            paths.extend(found.paths)
            losses.append(float(found.loss.detach()))
            done = i + 1
            if done not in looks and done != run.switch * per_epoch:
                continue
            steps = int(np.ceil(np.quantile(paths, 0.99))) + 1
            seen = {kind: look(run, learner, sets[kind, True], steps) for kind in kinds}
            if done == run.switch * per_epoch:
                # What a model that is frozen here would be worth on the other dynamics.
                record["before"], record["frozen"] = seen[True], seen[False]
            if done not in looks:
                continue
            accuracy, probability = seen[perturbed]
            now = {
                "evaluations": evaluations, "accuracy": accuracy, "probability": probability,
                "loss": round(float(np.mean(losses)), 5), "steps": steps,
                "skip": round(float((data.lengths - 1).double().mean()) / float(np.mean(paths)), 2),
            }  # fmt: skip
            losses.clear()
            record["updates"].append(done)
            for name, value in now.items():
                record[name].append(value)
            log(done, now)
        record["films"] = films(learner, sets[False, True], steps)
    except Diverged as error:
        record["diverged"] = str(error)
    return {**record, "seconds": round(time.process_time() - began, 1)}


def learner_of(run: Run, generator: Generator) -> Learner:
    """The learner of a run, untrained."""
    if run.method == "latent":
        return Latent(run.settings, generator, run.device)
    if run.method in ("actions", "fixed_actions"):
        return Driven(run.method, run.settings, generator, run.device)
    return Frames(run.method, run.settings, generator, run.device)


def _faded(schedule: Callable[[int, float], float], i: int, over: float) -> float:
    return schedule(i, over) if over else 0.0


def _batches(run: Run, generator: Generator) -> Iterator[tuple[Tensor, bool]]:
    for epoch in range(run.epochs):
        order = torch.randperm(run.trajectories, generator=generator).to(run.device)
        for rows in torch.split(order, run.batch):
            yield rows, epoch < run.switch


def look(run: Run, learner: Learner, data: Trajectories, steps: int) -> tuple[float, float]:
    """Accuracy, and the mean probability of the true label (the paper's "accuracy").

    ψ sums over all predicted frames. Where it sees nothing, all labels are alike, and the answer
    counts as wrong. Raises ``Diverged`` where frames are not finite.
    """
    found = []
    with torch.no_grad():
        each = torch.arange(len(data.labels), device=data.labels.device)
        for rows in torch.split(each, AT_ONCE):
            frames = learner.predict(data, rows, steps)
            if not bool(frames.isfinite().all()):
                raise Diverged(f"A predicted frame of {steps} is not finite.")
            if run.world == "funnel-board":
                found.append(funnel_label(frames))
            else:
                found.append(room_label(frames, data.first[rows], side=run.extent))
    p = torch.cat(found)
    true = p.gather(1, data.labels[:, None])
    right = ((p >= true).sum(1) == 1).double().mean()
    return round(float(right), 4), round(float(true.double().mean()), 4)


def films(learner: Learner, data: Trajectories, steps: int) -> list[dict[str, Any]]:
    """What is predicted for the first validation trajectories, small enough for a record."""
    with torch.no_grad():
        rows = torch.arange(min(FILMS, len(data.labels)), device=data.labels.device)
        frames = learner.predict(data, rows, steps)
    pictures = (frames.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return [
        {
            "shape": list(film.shape),
            "frames": base64.b85encode(zlib.compress(film.tobytes(), 9)).decode(),
        }
        for film in pictures
    ]


def unpacked(film: dict[str, Any]) -> Tensor:
    """The frames of a film in a record, ``[steps, 3, height, width]`` uint8."""
    data = np.frombuffer(zlib.decompress(base64.b85decode(film["frames"])), np.uint8)
    return torch.from_numpy(data.reshape(film["shape"]).copy())
