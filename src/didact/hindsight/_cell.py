"""One training run as a cell: prepared data and a JSON config in, a JSON record out."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .._checks import Diverged
from ..runs import write_atomic
from ._importance import foremost, reliance, sensitivity
from ._output import Output
from ._prepared import Prepared, encoded, encoders
from ._rows import Rows
from ._train import Budget, Trained, one_thread, train
from ._trees import fit_trees


def run_cell(config: dict[str, Any], own: Path, *, prepared: str, logs: str) -> dict[str, Any]:
    """Train ``config["candidate"]`` once.

    A trial leaves its validation loss. A final run (``config["final"]``) also leaves
    ``test.npz`` (predictions for the test rows) in its own folder, a network also ``student.pt``
    and TensorBoard logs. A divergence is a result: the record says what diverged.
    """
    with one_thread():
        data = Prepared.load(Path(prepared))
        if config["candidate"] == "trees":
            return _trees(config, own, data)
        return _network(config, own, data, Path(logs))


def _trees(config: dict[str, Any], own: Path, data: Prepared) -> dict[str, Any]:
    fitted = fit_trees(
        data,
        data.split_for(config["split"]),
        config["settings"],
        epochs=config["budget"]["epochs"],
        seed=config["seed"],
    )
    if config["final"]:
        keep_predictions(own, _levels(data, config, fitted.test))
    return {
        "candidate": config["candidate"],
        "validation": fitted.validation,
        "error": None,
        "epochs": fitted.iterations,
        "cut_short": fitted.cut_short,
    }


def _network(config: dict[str, Any], own: Path, data: Prepared, logs: Path) -> dict[str, Any]:
    candidate, device = config["candidate"], torch.device(config["device"])
    parts = encoded(data, config["split"], hindsight=candidate == "oracle", device=device)
    output = data.output(config["settings"], device)
    writer, log = None, None
    if config["final"]:
        from torch.utils.tensorboard import SummaryWriter

        folder = logs / candidate / f"seed-{config['seed']}-{own.name[:6]}"
        shutil.rmtree(folder, ignore_errors=True)
        writer = SummaryWriter(os.fspath(folder))

        def log(epoch: int, training: float, validation: float) -> None:
            writer.add_scalar("loss/train", training, epoch)
            writer.add_scalar("loss/validation", validation * data.unit, epoch)

    rows = data.split_for(config["split"]).train
    try:
        trained = train(
            candidate,
            config["settings"],
            parts["train"],
            parts["validation"],
            output,
            groups=None if data.groups is None else data.groups[rows],
            budget=Budget(**config["budget"]),
            seed=config["seed"],
            log=log,
        )
    except Diverged as error:
        return {"validation": None, "error": str(error)}
    finally:
        if writer is not None:
            writer.close()
    record: dict[str, Any] = {
        "candidate": candidate,
        "validation": trained.curve.best * data.unit,
        "error": None,
        "epochs": len(trained.curve.validation),
        "cut_short": trained.cut_short,
        "curve": {
            "train": trained.curve.training,
            "validation": [v * data.unit for v in trained.curve.validation],
        },
        "skipped_meta_steps": trained.skipped,
    }
    if config["final"]:
        keep_predictions(
            own, _levels(data, config, predicted(trained.student, parts["test"], output, data))
        )
        keep_student(own, trained.student)
        record["columns"] = _columns(config, data, trained, parts, output)
    return record


def _columns(
    config: dict[str, Any],
    data: Prepared,
    trained: Trained,
    parts: dict[str, Rows],
    output: Output,
) -> dict[str, float]:
    """What LDT's teacher, or the oracle, makes of each privileged column."""
    _, encoder = encoders(data, config["split"])
    columns = foremost(parts["train"], encoder.features_of(data.privileged_columns))
    if config["candidate"] == "oracle":
        found = reliance(trained.student, parts["validation"], output, columns, config["seed"])
        return {name: rise * data.unit for name, rise in found.items()}
    if config["candidate"] == "ldt" and trained.teacher is not None:
        return sensitivity(trained.teacher, parts["train"], columns, config["seed"])
    return {}


def predicted(
    student: nn.Module, test: Rows, output: Output, data: Prepared
) -> dict[str, np.ndarray[Any, Any]]:
    """What a student says of rows: probabilities, or numbers in label units."""
    with torch.no_grad():
        logits = torch.cat(
            [student(test.features(e))[0].float().cpu() for e in test.chunks()]
        ).double()
    if output.plain:
        return {"prediction": (logits[:, 0] * data.scale + data.offset).numpy()}
    log_p = logits.log_softmax(-1)
    if data.values is None:
        return {"probability": log_p.exp().numpy()}
    nll = -log_p.gather(1, test.y.cpu()[:, None])[:, 0]
    return {"prediction": (log_p.exp() @ data.values).numpy(), "nll": nll.numpy()}


def _levels(
    data: Prepared, config: dict[str, Any], found: dict[str, np.ndarray[Any, Any]]
) -> dict[str, np.ndarray[Any, Any]]:
    """Predictions of the label, where the student predicts its change."""
    if "prediction" not in found:
        return found
    level = data.level(torch.from_numpy(found["prediction"]), data.split_for(config["split"]).test)
    return {**found, "prediction": level.numpy()}


def keep_student(own: Path, student: nn.Module) -> None:
    """Write ``student.pt``, from which a model is exported."""
    buffer = io.BytesIO()
    torch.save({k: v.cpu() for k, v in student.state_dict().items()}, buffer)
    write_atomic(own / "student.pt", buffer.getvalue())


def keep_predictions(own: Path, found: dict[str, np.ndarray[Any, Any]]) -> None:
    """Write ``test.npz``, from which a run is judged."""
    buffer = io.BytesIO()
    np.savez(buffer, **found)  # type: ignore[arg-type]
    write_atomic(own / "test.npz", buffer.getvalue())
