"""One training run as a cell: recordings and a JSON config in, a JSON record out."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .._checks import Diverged
from ..runs import write_atomic
from ._measure import calls_of, measure, own_pace, value
from ._train import Pieces, Steps, network, train

PARTS = ("train", "validation", "test")


def run_cell(config: dict[str, Any], own: Path, *, data: str, logs: str) -> dict[str, Any]:
    """Train a candidate once; a divergence is a result.

    A final run leaves ``measured.npz`` (see :class:`Measured`, of validation and test) and
    ``model.pt``.

    Args:
        config: what to do.
        own: the run's folder.
        data: the file of the recordings' parts.
        logs: where TensorBoard's logs go.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run(config, own, torch.load(data, weights_only=True), Path(logs))
    except Diverged as error:
        return {"value": None, "curve": [], "budget": None, "error": str(error)}
    finally:
        torch.set_num_threads(threads)


def _run(
    config: dict[str, Any], own: Path, parts: dict[str, Pieces], logs: Path
) -> dict[str, Any]:  # fmt: skip
    steps = Steps(config["shortest"], config["horizon"])
    device, context = torch.device(config["device"]), config["context"]
    parts = {name: (x.to(device), n.to(device)) for name, (x, n) in parts.items()}
    judged = partial(value, steps=steps, context=context)
    log, close = _writer(config, logs) if config["final"] else (None, lambda: None)
    try:
        trained = train(
            steps, config["settings"], parts["train"],
            lambda model: judged(
                model, frames=parts["validation"][0], lengths=parts["validation"][1]
            ),
            epochs=config["epochs"], context=context, seed=config["seed"], device=device, log=log,
        )  # fmt: skip
    finally:
        close()
    budget = None
    if config["final"]:
        calls, _ = own_pace(trained.model, steps, *parts["train"], context)
        budget = math.ceil(np.quantile(calls, 0.99)) + 1
        _keep(own, trained.model, steps, parts, context)
    return {"value": min(trained.curve), "curve": trained.curve, "budget": budget, "error": None}


def _keep(
    own: Path, model: nn.Module, steps: Steps, parts: dict[str, Pieces], context: int
) -> None:  # fmt: skip
    arrays: dict[str, Any] = {}
    grid = calls_of(longest(parts, context))
    for name in PARTS[1:]:
        found = measure(model, steps, *parts[name], context, grid)
        arrays |= {f"{name}_{field}": array for field, array in found._asdict().items()}
    own.mkdir(parents=True, exist_ok=True)
    with open(own / "measured.npz", "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    torch.save({n: t.cpu() for n, t in model.state_dict().items()}, own / "model.pt")


def longest(parts: dict[str, Pieces], context: int) -> int:
    """The most calls that a trajectory may get."""
    return max(int(lengths.max()) for _, lengths in parts.values()) - context


def load_model(own: Path, training: Pieces, context: int) -> nn.Module:
    """The network that a final run left."""
    model = network(*training, context)
    model.load_state_dict(torch.load(own / "model.pt", weights_only=True))
    return model.eval()


def _writer(
    config: dict[str, Any], logs: Path
) -> tuple[Callable[[int, float, float], None], Callable[[], None]]:
    from torch.utils.tensorboard import SummaryWriter

    folder = logs / config["candidate"] / f"seed-{config['seed']}"
    shutil.rmtree(folder, ignore_errors=True)
    writer = SummaryWriter(os.fspath(folder))

    def log(epoch: int, training: float, validation: float) -> None:
        writer.add_scalar("loss/train", training, epoch)
        writer.add_scalar("error/validation", validation, epoch)

    return log, writer.close


def save_parts(path: Path, parts: dict[str, Pieces]) -> None:
    """For :func:`run_cell`, the whole of it or nothing."""
    import io

    buffer = io.BytesIO()
    torch.save(parts, buffer)
    write_atomic(path, buffer.getvalue())
