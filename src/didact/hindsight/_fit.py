"""From a table to a verdict: ``didact fit``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import cast

from .. import __version__
from .._checks import check_file, check_integer, invalid
from ..runs import (
    cores,
    locked,
    refuse_another,
    usable_device,
    versions,
    write_atomic,
    write_json,
)
from ._export import export
from ._label import Bins, Classes
from ._measure import best_run, measure
from ._metrics import CANDIDATES, FORMAT, PATIENCE, Metrics
from ._prepare import SPLIT_SEED, Question, prepare
from ._prepared import Prepared
from ._probe import given_away, not_told
from ._report import report
from ._runs import FINALISTS, Runs, searches
from ._verdict import judge

EPOCHS, QUICK_EPOCHS = 1000, 60
ASKED = ("sha256", "label", "inputs", "privileged", "group", "task", "series", "split", "na")
"""What of ``metrics["data"]`` makes the question."""


def fit(
    data: str | os.PathLike[str],
    *,
    label: str,
    privileged: Iterable[str] = (),
    drop: Iterable[str] = (),
    group: str | None = None,
    task: str = "auto",
    na: Iterable[str] = (),
    history: int | None = None,
    horizon: int | None = None,
    time: str | None = None,
    split: str = "auto",
    seeds: int = 3,
    trials: int = 20,
    epochs: int | None = None,
    out: str | os.PathLike[str] = "didact-fit",
    device: str = "auto",
    quick: bool = False,
    jobs: int | None = None,
    command: str = "",
) -> Metrics:
    """Find out whether columns known only in hindsight help, and keep a model of the others.

    Candidates learn from the training rows: without a teacher, with an auxiliary task, with a
    fixed random teacher, by generalised distillation, by TRAM, with LDT; boosted trees on the
    inputs; and, as the ceiling, a student with the privileged columns as inputs. Each has its
    settings searched on validation rows by the same number of trials (without a teacher by as many
    as the candidates that stand for hindsight have together); the three best settings of each are
    then trained once per seed until the validation loss stops improving, and the settings with the
    least mean of it over the seeds are kept. Test rows are drawn once and take no part
    in training, in scaling or in any choice.

    With ``history`` H and ``horizon`` K the rows are a series: the inputs are the last H rows of
    all columns, the label is the column K rows ahead, and the rows between are privileged.

    A run that was killed goes on where it was when called again, and ends with the same
    ``metrics.json``.

    Args:
        data: a table, CSV or Parquet.
        label: the column to predict.
        privileged: names or globs of the columns known only in hindsight. Needed for a table; in
            a series the future of every column is privileged, and these are never inputs.
        drop: names or globs of columns to leave out.
        group: a column whose equal values must stay on one side of every split; in a series, one
            series for each value.
        task: ``"auto"``, ``"classification"`` or ``"regression"``.
        na: tokens that mean "missing", beside the usual ones.
        history: H ≥ 1, rows of the past, the present included.
        horizon: K ≥ 2, rows from the present to the label's.
        time: the column of time stamps, ascending in each series; by default the only column of
            dates. No example reaches across a step that is not the usual one. Without time
            stamps every row is one step after the one before.
        split: of a series: ``"time"`` trains on what came first and tests on what came last
            (``"auto"``), ``"group"`` keeps each series on one side.
        seeds: training runs with each candidate's three best settings, of which the one with the
            lowest mean validation loss is shown and judged.
        trials: settings tried per candidate.
        epochs: most epochs of a run; 1000 (60 if ``quick``). A run ends when 25 epochs brought no
            gain of 0.1 %; one that does not come so far is cut short and voids the verdict. With
            ``quick`` every run has all its epochs, and those are named that were not done by then.
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

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np, pandas as pd
        >>> x, later = np.random.default_rng(0).normal(size=(2, 200))
        >>> table = pd.DataFrame({"x": x, "later": later, "y": x + later})
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     data, out = pathlib.Path(folder, "visits.csv"), pathlib.Path(folder, "out")
        ...     table.to_csv(data, index=False)
        ...     found = fit(data, label="y", privileged=["later"], out=out, quick=True, jobs=1)
        >>> found["data"]["inputs"], found["split"]["test"]  # doctest: +SKIP
        (['x'], 40)
    """
    for name, given in (("privileged", privileged), ("drop", drop), ("na", na)):
        if isinstance(given, str):
            raise invalid(name, "a list of strings, not one string", given)
    check_integer("seeds", seeds)
    check_integer("trials", trials)
    most, chosen_device, jobs = effort(epochs, quick, device, jobs)
    question = Question(
        label, tuple(privileged), tuple(drop), group, task, tuple(na), history, horizon, time, split
    )
    prepared, target, facts = prepare(check_file("data", data), question)
    with locked(out) as home:
        refuse_another(home, facts["data"], ASKED)
        state = home / "state"
        state.mkdir(exist_ok=True)
        prepared.save(state / "prepared.pt")
        runs = Runs(
            home, prepared, facts["key"], chosen_device,
            {"epochs": most, "patience": QUICK_EPOCHS if quick else PATIENCE}, jobs,
            total=sum(
                seeds if quick else searches(name) * (trials + min(FINALISTS, trials) * seeds)
                for name in CANDIDATES
            ) + 1,
        )  # fmt: skip
        with runs.stored.progress:
            found = runs.start(CANDIDATES) if quick else runs.search(CANDIDATES, trials)
            final = runs.final(found, seeds)
            predictability = runs.probe()
        tried = {name: records for name, (_, records) in found.items()}
        candidates, losses, groups = measure(prepared, tried, final)
        cut_short = [name for name, runs_of in final.items() if runs_of.cut_short]
        verdict = judge(
            losses,
            {name: candidates[name]["validation"] for name in candidates},
            groups=groups,
            demonstration=quick,
            cut_short=cut_short,
            persistence=_persistence(prepared),
            unit=_unit(target),
        )
        deployed = best_run(candidates)
        chosen, seed = deployed["candidate"], deployed["seed"]
        config = runs.config(chosen, candidates[chosen]["settings"], seed, final=True)
        deployed["run"] = runs.stored.folder(config).name
        told = facts["data"]
        metrics = {
            "format": FORMAT,
            "didact": __version__,
            "command": command,
            "versions": versions(),
            "data": {
                **told,
                "warnings": [
                    *told["warnings"],
                    *too_short(most, quick),
                    *given_away(predictability["label"], series=question.is_series),
                    *not_told(predictability["label"]),
                ],
            },
            "split": {
                "kind": told["split"],
                "seed": SPLIT_SEED,
                "train": len(prepared.split.train),
                "validation": len(prepared.split.validation),
                "test": len(prepared.split.test),
            },
            "settings": {
                "quick": quick,
                "trials": 0 if quick else trials,
                "epochs": most,
                "seeds": list(range(seeds)),
                "device": chosen_device,
            },
            "loss": _unit(target),
            "persistence": _persistence(prepared),
            "candidates": candidates,
            "predictability": predictability,
            "deployed": deployed,
            "verdict": verdict.to_json(),
        }
        # The metrics last: whoever finds them finds the model and the page that they describe.
        export(home, runs.stored.folder(config), config, prepared, target, question, told["series"])
        write_atomic(home / "report.html", report(cast(Metrics, metrics)))
        write_json(home / "metrics.json", metrics)
    return cast(Metrics, metrics)


def too_short(epochs: int, quick: bool) -> list[str]:
    """A warning where no run can show so many epochs without a gain as a verdict asks for."""
    if quick or epochs > PATIENCE:
        return []
    return [
        f"In {epochs} epochs no run can go {PATIENCE} without a gain after its first: there will "
        "be no verdict. Give a larger `--epochs`, or leave it out."
    ]


def effort(epochs: int | None, quick: bool, device: str, jobs: int | None) -> tuple[int, str, int]:
    """Most epochs of a run, the device and the processes, where ``None`` and ``"auto"`` choose."""
    most = (QUICK_EPOCHS if quick else EPOCHS) if epochs is None else epochs
    check_integer("epochs", most)
    device = usable_device(device)
    if jobs is None:
        jobs = cores(device)
    check_integer("jobs", jobs)
    return most, device, jobs


def _persistence(prepared: Prepared) -> float | None:
    """Test loss of the prediction that the label stays as it is; of a series of numbers."""
    if prepared.anchor is None:
        return None
    return float(prepared.label[prepared.split.test].square().mean())


def _unit(target: Classes | Bins) -> str:
    return "log loss" if isinstance(target, Classes) else "squared error"
