"""From a table to a verdict: ``didact fit``."""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from .. import __version__
from .._checks import DidactError, InvalidInput, check_choice, check_integer, invalid, listed
from ..runs import Progress, best, key, locked, run_cells, search, write_atomic, write_json
from ._bootstrap import paired_bootstrap
from ._cell import Prepared, encoders, run_cell
from ._columns import assign_roles, describe
from ._deploy import Deployed, save_deployed
from ._encode import Codes
from ._label import Bins, Classes, check_label
from ._metrics import BASELINE, CANDIDATES, CEILING, FORMAT, CandidateRecord, Metrics
from ._network import Student
from ._report import report
from ._scores import score_intervals, scores
from ._settings import SPACES, STARTS, Settings
from ._split import split
from ._table import read_table, row_list, texts
from ._verdict import judge

BUDGET = {"epochs": 200, "patience": 25}
QUICK_BUDGET = {"epochs": 60, "patience": 60}
BATCH_OF_TRIALS = 4
SPLIT_SEED = 0


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
    check_integer("seeds", seeds)
    check_integer("trials", trials)
    chosen_device = _device(device)
    if jobs is None:
        jobs = 1 if chosen_device == "cuda" else len(os.sched_getaffinity(0))
    check_integer("jobs", jobs)
    prepared, target, facts = _prepare(Path(data), label, list(privileged), group, task, list(na))
    with locked(out) as home:
        state = home / "state"
        state.mkdir(exist_ok=True)
        prepared.save(state / "prepared.pt")
        runs = _Runs(
            home, facts["key"], chosen_device, QUICK_BUDGET if quick else BUDGET, jobs,
            total=len(CANDIDATES) * (seeds + (0 if quick else trials)),
        )  # fmt: skip
        with runs.progress:
            found = {
                name: runs.start(name) if quick else runs.search(name, trials)
                for name in CANDIDATES
            }
            final = runs.final({name: settings for name, (settings, _) in found.items()}, seeds)
        candidates, losses, groups = _measure(prepared, found, final, home)
        verdict = judge(
            losses,
            {name: candidates[name]["validation"] for name in candidates},
            groups=groups,
            demonstration=quick,
            unit=_unit(target),
        )
        deployed = _best_run(candidates)
        metrics = {
            "format": FORMAT,
            "didact": __version__,
            "command": command,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
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
        _export(home, prepared, target, candidates, deployed, runs, label, list(na))
        write_atomic(home / "report.html", report(cast(Metrics, metrics)))
        write_json(home / "metrics.json", metrics)
    return cast(Metrics, metrics)


class _Runs:
    """The cells of one ``fit``: where they live, what they share, how far they are."""

    def __init__(
        self, home: Path, data: str, device: str, budget: dict[str, int], jobs: int, total: int
    ) -> None:
        self.home, self.jobs = home, jobs
        self.shared = {"didact": __version__, "data": data, "device": device, "budget": budget}
        self.cell = partial(
            run_cell,
            prepared=os.fspath(home / "state" / "prepared.pt"),
            logs=os.fspath(home / "tensorboard"),
        )
        self.progress = Progress(total, "training runs")
        self.done = 0

    def config(
        self, candidate: str, settings: Settings, seed: int, *, final: bool
    ) -> dict[str, Any]:
        return {
            **self.shared,
            "candidate": candidate,
            "settings": settings,
            "seed": seed,
            "split": seed if final else None,
            "final": final,
        }

    def folder(self, config: dict[str, Any]) -> Path:
        return self.home / "state" / "cells" / key(config)

    def run(self, configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        before = self.done

        def told(done: int, total: int, record: dict[str, Any], cached: bool) -> None:
            self.done = before + done
            self.progress.update(self.done, best=record["validation"], cached=cached)

        records = run_cells(
            self.cell, configs, self.home / "state" / "cells", jobs=self.jobs, progress=told
        )
        self.done = before + len(configs)
        return records

    def start(self, candidate: str) -> tuple[Settings, list[dict[str, Any]]]:
        return STARTS[candidate], []

    def search(self, candidate: str, trials: int) -> tuple[Settings, list[dict[str, Any]]]:
        """Settings by TPE, each trial with a seed of its own, none of them a final run's."""
        count = 0

        def evaluate(batch: list[Settings]) -> list[float]:
            nonlocal count
            seeds = range(1000 + count, 1000 + count + len(batch))
            count += len(batch)
            records = self.run(
                [
                    self.config(candidate, settings, seed, final=False)
                    for settings, seed in zip(batch, seeds, strict=True)
                ]
            )
            return [math.inf if r["validation"] is None else r["validation"] for r in records]

        tried = search(
            SPACES[candidate],
            evaluate,
            trials=trials,
            batch=BATCH_OF_TRIALS,
            first=STARTS[candidate],
        )
        finite = any(math.isfinite(t.value) for t in tried)
        settings = best(tried).settings if finite else STARTS[candidate]
        records = [
            {"settings": t.settings, "validation": t.value if math.isfinite(t.value) else None}
            for t in tried
        ]
        return settings, records

    def final(
        self, settings: dict[str, Settings], seeds: int
    ) -> dict[str, list[tuple[dict[str, Any], Path]]]:
        """(record, folder) of every candidate and seed."""
        configs = {
            (name, seed): self.config(name, chosen, seed, final=True)
            for seed in range(seeds)
            for name, chosen in settings.items()
        }
        records = dict(zip(configs, self.run(list(configs.values())), strict=True))
        return {
            name: [(records[name, seed], self.folder(configs[name, seed])) for seed in range(seeds)]
            for name in settings
        }


def _prepare(
    path: Path, label: str, patterns: list[str], group: str | None, task: str, na: list[str]
) -> tuple[Prepared, Classes | Bins, dict[str, Any]]:
    frame = read_table(path, na)
    if not patterns:
        raise invalid(
            "privileged",
            "at least one name or pattern of the columns known only in hindsight; "
            f"the columns are {listed(map(str, frame.columns))}",
            patterns,
        )
    check_choice("task", task, ("auto", "classification", "regression"))
    roles = assign_roles(frame.columns, label, patterns, group)
    kind = check_label(frame[label], task).kind
    groups = _groups(frame, group)
    classes = Classes.fit(frame[label]) if kind == "classification" else None
    strata = None if classes is None or groups is not None else classes.encode(frame[label]).numpy()
    parts = split(len(frame), groups=groups, labels=strata, seed=SPLIT_SEED)
    seen = np.sort(np.concatenate([parts.train, parts.validation]))
    known = frame.iloc[seen]
    target: Classes | Bins = classes or Bins.fit(known[label])
    columns, warnings = describe(known, roles.inputs)
    privileged, more = describe(known, roles.privileged)
    kept = {c.name for c in (*columns, *privileged)}
    dropped = [name for name in (*roles.inputs, *roles.privileged) if name not in kept]
    more = (*more, *_copies(frame, label, roles.inputs, roles.privileged))
    y = target.encode(frame[label])
    numbers = frame[label].astype("float64").to_numpy() if classes is None else y.numpy()
    prepared = Prepared(
        inputs=Codes.of(frame, columns),
        privileged=Codes.of(frame, privileged),
        y=y,
        label=torch.as_tensor(np.array(numbers), dtype=torch.float32),
        groups=None if groups is None else torch.from_numpy(groups),
        split=parts,
        values=target.values,
        outputs=target.n_outputs,
        stratify=strata is not None,
        columns=columns,
        privileged_columns=privileged,
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    described = {
        "file": path.name,
        "sha256": digest,
        "rows": len(frame),
        "task": kind,
        "label": label,
        "group": group,
        "inputs": list(roles.inputs),
        "privileged": list(roles.privileged),
        "dropped": dropped,
        "warnings": [*warnings, *more],
        "classes": list(classes.names) if classes else None,
        "bins": None if classes else target.n_outputs,
    }
    return prepared, target, {"data": described, "key": key({**described, "na": na})}


def _copies(frame: Any, label: str, inputs: Iterable[str], privileged: Iterable[str]) -> list[str]:
    """Refuse inputs that are the label under another name; warn of privileged ones."""
    answer = texts(frame[label])
    copies = [name for name in (*inputs, *privileged) if bool((texts(frame[name]) == answer).all())]
    among_inputs = [name for name in copies if name in set(inputs)]
    if among_inputs:
        raise InvalidInput(
            f"The inputs should not hold the label. Found {listed(among_inputs)} equal to "
            f"`{label}` in every row: leave out such a column, or name it with `privileged`."
        )
    return [f"Column `{name}` equals the label in every row." for name in copies]


def _groups(frame: Any, group: str | None) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    if group is None:
        return None
    gone = frame[group].isna().to_numpy()
    if gone.any():
        rule = f"a column without missing values; leave out {row_list(frame[group], gone)}"
        raise invalid("group", rule, f"{int(gone.sum())} missing in `{group}`")
    codes, _ = frame[group].factorize(sort=False)
    return np.asarray(codes, dtype=np.int64)


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


def _measure(
    prepared: Prepared,
    found: dict[str, tuple[Settings, list[dict[str, Any]]]],
    final: dict[str, list[tuple[dict[str, Any], Path]]],
    home: Path,
) -> tuple[dict[str, CandidateRecord], dict[str, Any], np.ndarray[Any, Any] | None]:
    """Scores of all runs on the test rows, and the losses per row that the verdict needs."""
    test = prepared.split.test
    y, label = prepared.y[test].numpy(), prepared.label[test].numpy().astype(np.float64)
    groups = None if prepared.groups is None else prepared.groups[test].numpy()
    losses: dict[str, np.ndarray[Any, Any]] = {}
    predictions: dict[str, dict[str, Any]] = {}
    for name, runs in final.items():
        if all(record["validation"] is not None for record, _ in runs):
            predictions[name] = _predictions([folder for _, folder in runs], prepared, y)
            losses[name] = _row_losses(predictions[name], y, label)
    if BASELINE not in losses:
        errors = [r["error"] for r, _ in final[BASELINE] if r["error"]]
        raise DidactError(f"The student could not be trained without a teacher: {errors[0]}")
    candidates: dict[str, CandidateRecord] = {}
    for name, (settings, tried) in found.items():
        records = [record for record, _ in final[name]]
        there = name in losses
        target = y if prepared.values is None else label
        per_seed = scores(target, **predictions[name]) if there else {}
        intervals = (
            score_intervals(target, **predictions[name], groups=groups, seed=0) if there else {}
        )
        gain = None
        if there and name != BASELINE:
            gain = paired_bootstrap(losses[BASELINE] - losses[name], groups=groups, seed=0)
        candidates[name] = {
            "settings": settings,
            "validation": (float(np.mean([r["validation"] for r in records])) if there else None),
            "trials": tried,  # type: ignore[typeddict-item]
            "seeds": [
                {
                    "seed": seed,
                    "validation": r["validation"],
                    "test": {metric: _finite(v[seed]) for metric, v in per_seed.items()},
                    "epochs": r.get("epochs", 0),
                    "curve": r.get("curve", {"train": [], "validation": []}),
                    "skipped_meta_steps": r.get("skipped_meta_steps", 0),
                }
                for seed, r in enumerate(records)
            ],
            "test": {metric: interval.to_json() for metric, interval in intervals.items()},
            "gain": None if gain is None else gain.to_json(),
        }
    return candidates, losses, groups


def _predictions(
    folders: list[Path], prepared: Prepared, y: np.ndarray[Any, Any]
) -> dict[str, Any]:
    logits = []
    for folder in folders:
        with np.load(folder / "test.npz") as stored:
            logits.append(torch.from_numpy(stored["logits"]).double())
    log_p = torch.stack(logits).log_softmax(-1)
    if prepared.values is None:
        return {"probability": log_p.exp().numpy()}
    nll = -log_p.gather(2, torch.from_numpy(y)[None, :, None].expand(len(log_p), -1, 1))[..., 0]
    prediction = log_p.exp() @ prepared.values.double()
    return {"prediction": prediction.numpy(), "nll": nll.numpy()}


def _row_losses(
    predictions: dict[str, Any], y: np.ndarray[Any, Any], label: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    if "prediction" in predictions:
        return np.asarray((predictions["prediction"] - label) ** 2)
    chosen = np.take_along_axis(predictions["probability"], y[None, :, None], axis=2)[..., 0]
    return np.asarray(-np.log(np.maximum(chosen, 1e-12)))


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _best_run(candidates: dict[str, CandidateRecord]) -> dict[str, Any]:
    """The student to deploy: the candidate that is best on validation rows, its best seed."""
    able = {
        name: record["validation"]
        for name, record in candidates.items()
        if name != CEILING and record["validation"] is not None
    }
    name = min(able, key=lambda candidate: able[candidate])
    run = min(candidates[name]["seeds"], key=lambda r: cast(float, r["validation"]))
    return {"candidate": name, "seed": run["seed"], "validation": run["validation"]}


def _export(
    home: Path,
    prepared: Prepared,
    target: Classes | Bins,
    candidates: dict[str, CandidateRecord],
    deployed: dict[str, Any],
    runs: _Runs,
    label: str,
    na: list[str],
) -> None:
    settings = cast(Settings, candidates[deployed["candidate"]]["settings"])
    config = runs.config(deployed["candidate"], settings, deployed["seed"], final=True)
    encoder, _ = encoders(prepared, deployed["seed"])
    features = encoder(prepared.inputs.numeric[:1], prepared.inputs.codes[:1]).shape[1]
    student = Student(
        features,
        prepared.outputs,
        width=settings["width"],
        depth=settings["depth"],
        dropout=settings["dropout"],
    )
    stored = torch.load(runs.folder(config) / "student.pt", weights_only=True)
    student.load_state_dict(stored)
    rows = prepared.split.train
    example = prepared.inputs[rows[:256]]
    model = Deployed(encoder, student, prepared.values)
    save_deployed(home, model, prepared.columns, target, example, label_name=label, na=na)
