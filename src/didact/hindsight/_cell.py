"""One training run as a cell: prepared data and a JSON config in, a JSON record out."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import DidactError, Diverged
from ..runs import write_atomic
from ._columns import Column
from ._encode import Codes, Encoder
from ._split import Split, resplit
from ._train import Budget, Rows, Trained, train


@dataclass(frozen=True)
class Prepared:
    """What every run needs of the table, in memory or in one file of tensors."""

    inputs: Codes
    privileged: Codes
    y: Tensor
    label: Tensor
    groups: Tensor | None
    split: Split
    values: Tensor | None
    outputs: int
    stratify: bool
    columns: tuple[Column, ...]
    privileged_columns: tuple[Column, ...]

    def save(self, path: Path) -> None:
        """Write the tensors and columns, whole or not at all."""
        buffer = io.BytesIO()
        split = self.split
        torch.save(
            {
                "inputs": (self.inputs.numeric, self.inputs.codes),
                "privileged": (self.privileged.numeric, self.privileged.codes),
                "y": self.y,
                "label": self.label,
                "groups": self.groups,
                "split": [
                    torch.from_numpy(part) for part in (split.train, split.validation, split.test)
                ],
                "values": self.values,
                "outputs": self.outputs,
                "stratify": self.stratify,
                "columns": [c.to_json() for c in self.columns],
                "privileged_columns": [c.to_json() for c in self.privileged_columns],
            },
            buffer,
        )
        write_atomic(path, buffer.getvalue())

    @staticmethod
    def load(path: Path) -> Prepared:
        """Read what ``save`` wrote; only tensors and plain values are accepted."""
        try:
            stored = torch.load(path, weights_only=True)
            return Prepared(
                inputs=Codes(*stored["inputs"]),
                privileged=Codes(*stored["privileged"]),
                y=stored["y"],
                label=stored["label"],
                groups=stored["groups"],
                split=Split(*(part.numpy() for part in stored["split"])),
                values=stored["values"],
                outputs=stored["outputs"],
                stratify=stored["stratify"],
                columns=tuple(Column.from_json(c) for c in stored["columns"]),
                privileged_columns=tuple(Column.from_json(c) for c in stored["privileged_columns"]),
            )
        except Exception as error:
            raise DidactError(
                f"The file `{path}` cannot be read ({error}). Remove it and run again."
            ) from error

    def split_for(self, seed: int | None) -> Split:
        """The split of one seed: the test rows are always the same, the others are drawn anew.

        ``None`` is the split on which settings are searched.
        """
        if seed is None:
            return self.split
        groups = None if self.groups is None else self.groups.numpy()
        labels = self.y.numpy() if self.stratify else None
        return resplit(self.split, groups=groups, labels=labels, seed=seed)


def run_cell(config: dict[str, Any], own: Path, *, prepared: str, logs: str) -> dict[str, Any]:
    """Train ``config["candidate"]`` once.

    A trial leaves its validation loss. A final run (``config["final"]``) also leaves
    ``student.pt`` and ``test.npz`` (predictions for the test rows) in its own folder, and
    TensorBoard logs. A divergence is a result: the record says what diverged.
    """
    torch.set_num_threads(1)
    data = Prepared.load(Path(prepared))
    device = torch.device(config["device"])
    parts = _parts(data, config, device)
    writer, log = None, None
    if config["final"]:
        from torch.utils.tensorboard import SummaryWriter

        folder = Path(logs) / config["candidate"] / f"seed-{config['seed']}"
        shutil.rmtree(folder, ignore_errors=True)
        writer = SummaryWriter(os.fspath(folder))

        def log(epoch: int, training: float, validation: float) -> None:
            writer.add_scalar("loss/train", training, epoch)
            writer.add_scalar("loss/validation", validation, epoch)

    try:
        trained = train(
            config["candidate"],
            config["settings"],
            parts["train"],
            parts["validation"],
            outputs=data.outputs,
            values=None if data.values is None else data.values.to(device),
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
        "validation": trained.validation,
        "error": None,
        "epochs": trained.epochs,
        "curve": {"train": trained.train_curve, "validation": trained.validation_curve},
        "skipped_meta_steps": trained.skipped,
    }


def encoders(data: Prepared, seed: int | None) -> tuple[Encoder, Encoder]:
    """The encoders of x and x*, fitted on the training rows of one seed's split."""
    rows = data.split_for(seed).train
    return (
        Encoder.fit(data.columns, data.inputs.numeric[rows], data.inputs.codes[rows]),
        Encoder.fit(
            data.privileged_columns, data.privileged.numeric[rows], data.privileged.codes[rows]
        ),
    )


def _parts(data: Prepared, config: dict[str, Any], device: torch.device) -> dict[str, Rows]:
    encode, encode_privileged = encoders(data, config["split"])
    x = encode(data.inputs.numeric, data.inputs.codes)
    x_star = encode_privileged(data.privileged.numeric, data.privileged.codes)
    if config["candidate"] == "oracle":
        x = torch.cat([x, x_star], 1)
    split = data.split_for(config["split"])
    return {
        name: Rows(*(t[rows].to(device) for t in (x, x_star, data.y, data.label)))
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
