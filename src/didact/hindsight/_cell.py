"""One training run as a cell: prepared data and a JSON config in, a JSON record out."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._checks import Diverged
from ..runs import write_atomic
from ._prepared import Prepared, encoders
from ._train import Budget, Rows, Trained, train


def run_cell(config: dict[str, Any], own: Path, *, prepared: str, logs: str) -> dict[str, Any]:
    """Train ``config["candidate"]`` once.

    A trial leaves its validation loss. A final run (``config["final"]``) also leaves
    ``student.pt`` and ``test.npz`` (predictions for the test rows) in its own folder, and
    TensorBoard logs. A divergence is a result: the record says what diverged.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small nets are slower with two
    try:
        return _run(config, own, Path(prepared), Path(logs))
    finally:
        torch.set_num_threads(threads)


def _run(config: dict[str, Any], own: Path, prepared: Path, logs: Path) -> dict[str, Any]:
    data = Prepared.load(prepared)
    device = torch.device(config["device"])
    parts = _parts(data, config, device)
    # Runs see a standardised label; squared errors are told in label units.
    unit = 1.0 if data.values is None else data.scale**2
    writer, log = None, None
    if config["final"]:
        from torch.utils.tensorboard import SummaryWriter

        folder = logs / config["candidate"] / f"seed-{config['seed']}"
        shutil.rmtree(folder, ignore_errors=True)
        writer = SummaryWriter(os.fspath(folder))

        def log(epoch: int, training: float, validation: float) -> None:
            writer.add_scalar("loss/train", training, epoch)
            writer.add_scalar("loss/validation", validation * unit, epoch)

    try:
        trained = train(
            config["candidate"],
            config["settings"],
            parts["train"],
            parts["validation"],
            outputs=data.outputs,
            values=None if data.values is None else data.standard(data.values).to(device),
            groups=None
            if data.groups is None
            else data.groups[data.split_for(config["split"]).train],
            budget=Budget(**config["budget"]),
            seed=config["seed"],
            log=log,
        )
    except Diverged as error:
        return {"validation": None, "error": str(error)}
    finally:
        if writer is not None:
            writer.close()
    if config["final"]:
        _keep(trained, parts["test"], own)
    return {
        "validation": trained.validation * unit,
        "error": None,
        "epochs": trained.epochs,
        "curve": {
            "train": trained.train_curve,
            "validation": [v * unit for v in trained.validation_curve],
        },
        "skipped_meta_steps": trained.skipped,
    }


def _parts(data: Prepared, config: dict[str, Any], device: torch.device) -> dict[str, Rows]:
    encode, encode_privileged = encoders(data, config["split"])
    x = encode(data.inputs.numeric, data.inputs.codes)
    x_star = encode_privileged(data.privileged.numeric, data.privileged.codes)
    if config["candidate"] == "oracle":
        x = torch.cat([x, x_star], 1)
    split = data.split_for(config["split"])
    return {
        name: Rows(*(t[rows].to(device) for t in (x, x_star, data.y, data.standard(data.label))))
        for name, rows in (
            ("train", split.train),
            ("validation", split.validation),
            ("test", split.test),
        )
    }


def _keep(trained: Trained, test: Rows, own: Path) -> None:
    with torch.no_grad():
        logits, _ = trained.student(test.x)
    buffer = io.BytesIO()
    np.savez(buffer, logits=logits.float().cpu().numpy())
    write_atomic(own / "test.npz", buffer.getvalue())
    buffer = io.BytesIO()
    state = {k: v.cpu() for k, v in trained.student.state_dict().items()}
    torch.save(state, buffer)
    write_atomic(own / "student.pt", buffer.getvalue())
