"""From a table to a verdict: ``didact fit``."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch

from .. import __version__
from .._checks import InvalidInput, check_integer, invalid
from ..runs import cores, locked, read_json, write_atomic, write_json
from ._deploy import Deployed, save_deployed
from ._label import Bins, Classes
from ._measure import best_run, measure
from ._metrics import CANDIDATES, FORMAT, CandidateRecord, Metrics
from ._network import Student
from ._prepared import SPLIT_SEED, Prepared, encoders, prepare
from ._report import report
from ._runs import Runs
from ._settings import Settings
from ._verdict import judge

BUDGET = {"epochs": 200, "patience": 25}
QUICK_BUDGET = {"epochs": 60, "patience": 60}


def fit(
    data: str | os.PathLike[str],
    *,
    label: str,
    privileged: Iterable[str],
    group: str | None = None,
    task: str = "auto",
    na: Iterable[str] = (),
    seeds: int = 3,
    trials: int = 20,
    out: str | os.PathLike[str] = "didact-fit",
    device: str = "auto",
    quick: bool = False,
    jobs: int | None = None,
    command: str = "",
) -> Metrics:
    """Find out whether columns known only in hindsight help, and keep a model of the others.

    Candidates learn from the training rows: without a teacher, with an auxiliary task, with a
    fixed random teacher, with LDT, and, as the ceiling, with the privileged columns as inputs.
    Each has its settings chosen by the same number of trials on validation rows, and is then
    trained once per seed. Test rows are drawn once and take no part in training, in scaling or
    in any choice.

    A run that was killed goes on where it was when called again, and ends with the same
    ``metrics.json``.

    Args:
        data: a table, CSV or Parquet.
        label: the column to predict.
        privileged: names or globs of the columns known only in hindsight.
        group: a column whose equal values must stay on one side of every split.
        task: ``"auto"``, ``"classification"`` or ``"regression"``.
        na: tokens that mean "missing", beside the usual ones.
        seeds: training runs per candidate with the chosen settings.
        trials: settings tried per candidate.
        out: the folder for everything; created if missing.
        device: ``"auto"`` (CUDA where there is any), or as for ``torch.device``.
        quick: fixed settings and no search; the verdict is marked a demonstration.
        jobs: processes; ``None`` for one per core (one on a GPU).
        command: how this was called, for the record.

    Returns:
        What ``metrics.json`` holds. The folder also has ``report.html``, ``student.onnx``,
        ``student.pt2``, ``schema.json``, ``tensorboard/`` and ``state/``.

    Raises:
        InvalidInput: on a table or an argument that breaks a rule.
        DidactError: where the folder is in use or cannot be written, or no student could be
            trained.
    """
    for name, given in (("privileged", privileged), ("na", na)):
        if isinstance(given, str):
            raise invalid(name, "a list of strings, not one string", given)
    check_integer("seeds", seeds)
    check_integer("trials", trials)
    chosen_device = _device(device)
    if jobs is None:
        jobs = cores() if torch.device(chosen_device).type == "cpu" else 1
    check_integer("jobs", jobs)
    prepared, target, facts = prepare(Path(data), label, list(privileged), group, task, list(na))
    with locked(out) as home:
        _refuse_another(home, facts["data"])
        state = home / "state"
        state.mkdir(exist_ok=True)
        prepared.save(state / "prepared.pt")
        runs = Runs(
            home, facts["key"], chosen_device, QUICK_BUDGET if quick else BUDGET, jobs,
            total=len(CANDIDATES) * (seeds + (0 if quick else trials)),
        )  # fmt: skip
        with runs.progress:
            found = {
                name: runs.start(name) if quick else runs.search(name, trials)
                for name in CANDIDATES
            }
            final = runs.final({name: settings for name, (settings, _) in found.items()}, seeds)
        candidates, losses, groups = measure(prepared, found, final, home)
        verdict = judge(
            losses,
            {name: candidates[name]["validation"] for name in candidates},
            groups=groups,
            demonstration=quick,
            unit=_unit(target),
        )
        deployed = best_run(candidates)
        metrics = {
            "format": FORMAT,
            "didact": __version__,
            "command": command,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "numpy", "pandas", "optuna")},
            },
            "data": facts["data"],
            "split": {
                "kind": "random" if group is None else "group",
                "seed": SPLIT_SEED,
                "train": len(prepared.split.train),
                "validation": len(prepared.split.validation),
                "test": len(prepared.split.test),
            },
            "settings": {
                "quick": quick,
                "trials": 0 if quick else trials,
                "seeds": list(range(seeds)),
                "device": chosen_device,
            },
            "loss": _unit(target),
            "candidates": candidates,
            "deployed": deployed,
            "verdict": verdict.to_json(),
        }
        write_atomic(home / "report.html", report(cast(Metrics, metrics)))
        write_json(home / "metrics.json", metrics)
        _export(home, prepared, target, candidates, deployed, runs, label, list(na))
    return cast(Metrics, metrics)


def _refuse_another(home: Path, data: dict[str, Any]) -> None:
    """Keep the model and report of another question from being written over."""
    if not (home / "metrics.json").exists():
        return
    stored = read_json(home / "metrics.json").get("data", {})
    asked = ("sha256", "label", "inputs", "privileged", "group", "task")
    if different := [name for name in asked if stored.get(name) != data[name]]:
        raise InvalidInput(
            "Parameter `out` should be a folder without the results of another fit. "
            f"`{home}` holds one that differs in: {', '.join(different)}. Choose another "
            "folder, or remove it."
        )


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise InvalidInput(
            f"Parameter `device` should be a device that torch can use here. Found {device!r}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return device


def _unit(target: Classes | Bins) -> str:
    return "log loss" if isinstance(target, Classes) else "squared error"


def _export(
    home: Path,
    prepared: Prepared,
    target: Classes | Bins,
    candidates: dict[str, CandidateRecord],
    deployed: dict[str, Any],
    runs: Runs,
    label: str,
    na: list[str],
) -> None:
    settings = cast(Settings, candidates[deployed["candidate"]]["settings"])
    config = runs.config(deployed["candidate"], settings, deployed["seed"], final=True)
    encoder, _ = encoders(prepared, deployed["seed"])
    student = Student(
        encoder.n_features,
        prepared.outputs,
        width=settings["width"],
        depth=settings["depth"],
        dropout=settings["dropout"],
    )
    stored = torch.load(runs.folder(config) / "student.pt", weights_only=True)
    student.load_state_dict(stored)
    rows = prepared.split.train
    example = prepared.inputs[rows[:256]]
    model = Deployed(encoder, student, target.values)
    save_deployed(home, model, prepared.columns, target, example, label_name=label, na=na)
