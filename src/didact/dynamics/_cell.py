"""One training run as a cell: recordings and a JSON config in, a JSON record out."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .._checks import Diverged
from ..runs import write_atomic
from ._measure import approaches, calls_of, example, measure, own_pace, value
from ._train import Pieces, Steps, network, train


def run_cell(
    config: dict[str, Any], own: Path, *, data: str, logs: str, device: str
) -> dict[str, Any]:
    """Train a candidate once; a divergence in training is a result.

    A final run leaves ``measured.npz`` (see :class:`Measured`, of the test; of validation what
    chooses) and ``model.pt``. What diverges on test trajectories is an error, and no reason to
    leave a run out.

    Args:
        config: what to do.
        own: the run's folder.
        data: the file of the recordings' parts.
        logs: where TensorBoard's logs go.
        device: where to train.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run(config, own, torch.load(data, weights_only=True), Path(logs), device)
    finally:
        torch.set_num_threads(threads)


def _run(
    config: dict[str, Any], own: Path, parts: dict[str, Pieces], logs: Path, device: str
) -> dict[str, Any]:  # fmt: skip
    steps, context = Steps(config["shortest"], config["horizon"]), config["context"]
    parts = {name: (x.to(device), n.to(device)) for name, (x, n) in parts.items()}
    log, close = _writer(config, logs) if config["final"] else (None, lambda: None)
    try:
        trained = train(
            steps, config["settings"], parts["train"],
            lambda model: value(model, steps, *parts["validation"], context, config["calls"]),
            epochs=config["epochs"], context=context, seed=config["seed"],
            device=torch.device(device), log=log,
        )  # fmt: skip
    except Diverged as error:
        return {"value": None, "curve": [], "budget": None, "error": str(error)}
    finally:
        close()
    budget = None
    if config["final"]:
        calls, _ = own_pace(trained.model, steps, *parts["train"], context)
        budget = math.ceil(np.quantile(calls, 0.99)) + 1
        _keep(own, trained.model, steps, parts, context)
    return {
        "value": trained.value, "curve": trained.curve, "budget": budget, "error": None
    }  # fmt: skip


def _keep(
    own: Path, model: nn.Module, steps: Steps, parts: dict[str, Pieces], context: int
) -> None:  # fmt: skip
    grid = calls_of(longest(parts, context))
    found = measure(model, steps, *parts["test"], context, grid)
    arrays = {f"test_{field}": array for field, array in found._asdict().items()}
    still, end = approaches(model, *parts["validation"], context, grid[-1])
    arrays |= {"validation_still": still, "validation_end": end}
    arrays |= example(model, steps, *parts["test"], context)
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
