"""One training run as a cell: a table of tensors and a JSON config in, a JSON record out."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..._checks import Diverged
from .._cell import keep_predictions, keep_student, predicted
from .._measure import row_losses
from .._prepared import Prepared, encoded
from .._rows import Rows
from .._train import one_thread
from ._metrics import RIVALS
from ._parts import LeftOut
from ._rivals import fit_rival
from ._train import Trained, train


def file_of(folder: Path, left_out: LeftOut | Sequence[int]) -> Path:
    """The table as runs without these parts see it."""
    return folder / f"prepared-{'-'.join(map(str, left_out)) or 'all'}.pt"


def run_cell(
    config: dict[str, Any], own: Path, *, tables: str, logs: str, part: list[int]
) -> dict[str, Any]:
    """Train ``config["candidate"]`` once, without the parts ``config["left_out"]``.

    A trial (``config["epochs"]`` is null) leaves the loss of each part that it left out, by epoch.
    A final run has so many epochs, and leaves ``test.npz`` (predictions for the rows of the part
    that it left out, if it did), ``student.pt`` and TensorBoard logs. A divergence is a result.

    Args:
        config: what to do.
        own: the run's folder.
        tables: the folder of the prepared tables.
        logs: where TensorBoard's logs go.
        part: of each environment.
    """
    with one_thread():
        data = Prepared.load(file_of(Path(tables), config["left_out"]))
        try:
            if config["candidate"] in RIVALS:
                return _rival(config, own, data, part)
            return _network(config, own, data, Path(logs), part)
        except Diverged as error:
            return {"candidate": config["candidate"], "curves": None, "error": str(error)}


def _rival(config: dict[str, Any], own: Path, data: Prepared, part: list[int]) -> dict[str, Any]:
    found = fit_rival(config["candidate"], data, config["settings"], seed=config["seed"])
    if config["final"]:
        keep_predictions(own, {name: rows[data.split.test] for name, rows in found.items()})
    label = data.level(data.label, slice(None)).numpy()
    losses = row_losses({n: v[None] for n, v in found.items()}, data.y.numpy(), label)[0]
    assert data.groups is not None
    site = data.groups.numpy()
    curves = {}
    for p in config["left_out"]:
        means = [losses[site == e].mean() for e in range(len(part)) if part[e] == p]
        loss = float(np.mean(means))
        curves[str(p)] = [loss if math.isfinite(loss) else None]
    return {"candidate": config["candidate"], "curves": curves, "error": None}


def _network(
    config: dict[str, Any], own: Path, data: Prepared, logs: Path, part: list[int]
) -> dict[str, Any]:
    device = torch.device(config["device"])
    rows = encoded(data, None, hindsight=False, device=device)
    output = data.output(config["settings"], device)
    assert data.groups is not None
    site = data.groups[torch.from_numpy(data.split.train)].to(device)
    budget, epochs = config["budget"], config["epochs"]
    log, close = _writer(config, own, logs, data.unit)
    try:
        trained = train(
            config["candidate"],
            config["settings"],
            rows["train"],
            site,
            output,
            held_out=_held_out(config["left_out"], rows, data, part),
            epochs=epochs or budget["epochs"],
            patience=None if epochs else budget["patience"],
            seed=config["seed"],
            log=log,
        )
    finally:
        close()
    if config["final"]:
        if config["left_out"]:
            found = predicted(trained.student, rows["test"], output, data)
            if not all(np.isfinite(values).all() for values in found.values()):
                raise Diverged(f"Candidate `{config['candidate']}` predicts no finite numbers.")
            keep_predictions(own, found)
        keep_student(own, trained.student)
    return {
        "candidate": config["candidate"],
        "curves": _in_units(trained, data.unit),
        "training": trained.training,
        "error": None,
    }


def _held_out(
    left_out: Sequence[int], rows: dict[str, Rows], data: Prepared, part: list[int]
) -> dict[int, list[Rows]]:
    """Part → the rows of each of its environments."""
    assert data.groups is not None
    held: dict[int, list[Rows]] = {}
    places = {"validation": data.split.validation, "test": data.split.test}
    for name, p in zip(("validation", "test")[2 - len(left_out) :], left_out, strict=True):
        site = data.groups[torch.from_numpy(places[name])].to(rows[name].y.device)
        held[p] = [
            rows[name].only((site == e).nonzero().flatten())
            for e in range(len(part))
            if part[e] == p
        ]
    return held


def _in_units(trained: Trained, unit: float) -> dict[str, list[float | None]]:
    return {
        str(part): [None if value is None else value * unit for value in curve]
        for part, curve in trained.curves.items()
    }


def _writer(
    config: dict[str, Any], own: Path, logs: Path, unit: float
) -> tuple[Callable[[int, float, dict[int, float | None]], None] | None, Callable[[], None]]:
    """Curves of a final run for TensorBoard; that of what was left out is for the eye alone."""
    if not config["final"]:
        return None, lambda: None
    from torch.utils.tensorboard import SummaryWriter

    where = f"without-{config['left_out'][0]}" if config["left_out"] else "all"
    folder = logs / config["candidate"] / where / f"seed-{config['seed']}-{own.name[:6]}"
    shutil.rmtree(folder, ignore_errors=True)
    writer = SummaryWriter(os.fspath(folder))

    def log(epoch: int, training: float, left_out: dict[int, float | None]) -> None:
        writer.add_scalar("loss/train", training, epoch)
        for loss in left_out.values():
            if loss is not None:
                writer.add_scalar("loss/left_out", loss * unit, epoch)

    return log, writer.close
