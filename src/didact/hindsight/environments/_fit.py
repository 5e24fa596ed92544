"""From a table of several environments to a verdict: ``didact fit --environment``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any, cast

from ... import __version__
from ..._checks import DidactError, check_file, check_integer, invalid
from ...runs import locked, refuse_another, versions, write_atomic, write_json
from .._export import export
from .._fit import effort, too_short
from .._metrics import PATIENCE
from .._prepare import Question
from ._cell import file_of
from ._measure import LEVEL, environments, measure, worse_than_a_constant
from ._metrics import CANDIDATES, FORMAT, NETWORKS, EnvironmentMetrics
from ._parts import searched
from ._prepare import Table, asked, prepare
from ._report import environments_report
from ._runs import Runs, Searched
from ._settings import FEWEST_FOR_OWN
from ._verdict import judge

ASKED = ("sha256", "label", "inputs", "environment", "task", "na")


def fit_environments(
    data: str | os.PathLike[str],
    *,
    label: str,
    environment: str,
    drop: Iterable[str] = (),
    task: str = "auto",
    na: Iterable[str] = (),
    seeds: int = 3,
    trials: int = 20,
    epochs: int | None = None,
    out: str | os.PathLike[str] = "didact-fit",
    device: str = "auto",
    quick: bool = False,
    jobs: int | None = None,
    command: str = "",
) -> EnvironmentMetrics:
    """Find out what holds at an environment that was left out, and keep a model of all.

    Each environment is the test environment once. All that is fitted, down to the scale of a
    column, is fitted on the others; among these each is held out in turn, and the settings and the
    number of epochs with the least mean loss on what was held out are chosen, of the same number of
    trials for every candidate. With them ``seeds`` networks are trained on all the others, and
    tested. Compared are plain training, the AND-mask, V-REx and IRM; boosted trees and a linear
    model stand beside them. The same procedure, with no environment left out, makes the model.

    More than eight environments are left out in eight parts. A run that was killed goes on where it
    was when called again, and ends with the same ``metrics.json``.

    Args:
        data: a table, CSV or Parquet.
        label: the column to predict.
        environment: the column that says where a row is from: at least three values, each with at
            least 30 rows. It is no input.
        drop: names or globs of columns to leave out.
        task: ``"auto"``, ``"classification"`` or ``"regression"``.
        na: tokens that mean "missing", beside the usual ones.
        seeds: final runs for each environment.
        trials: settings tried per candidate, the defaults among them.
        epochs: most epochs of a run; 1000 (60 if ``quick``). A trial ends when 25 epochs brought no
            gain of 0.1 % on all that it left out; one that does not come so far is cut short, and
            voids the verdict if it was chosen.
        out: the folder for everything; created if missing.
        device: ``"auto"`` (CUDA where there is any), or as for ``torch.device``.
        quick: fixed settings and no search but for the number of epochs; the verdict is marked a
            demonstration.
        jobs: processes; ``None`` for one per core (one on a GPU).
        command: how this was called, for the record.

    Returns:
        What ``metrics.json`` holds. The folder also has ``report.html``, ``student.onnx``,
        ``student.pt2``, ``schema.json``, ``tensorboard/`` and ``state/``.

    Raises:
        InvalidInput: on a table or an argument that breaks a rule.
        DidactError: where the folder is in use or cannot be written, or no network could be
            trained.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np, pandas as pd
        >>> x = np.random.default_rng(0).normal(size=120)
        >>> table = pd.DataFrame({"x": x, "site": ["a", "b", "c", "d"] * 30, "y": 2 * x})
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     data, out = pathlib.Path(folder, "sites.csv"), pathlib.Path(folder, "out")
        ...     table.to_csv(data, index=False)
        ...     found = fit_environments(
        ...         data, label="y", environment="site", out=out, quick=True, jobs=1
        ...     )
        >>> list(found["candidates"])  # doctest: +SKIP
        ['plain', 'and_mask', 'v_rex', 'irm', 'trees', 'linear']
    """
    for name, given in (("drop", drop), ("na", na)):
        if isinstance(given, str):
            raise invalid(name, "a list of strings, not one string", given)
    check_integer("seeds", seeds)
    check_integer("trials", trials)
    most, chosen_device, jobs = effort(epochs, quick, device, jobs)
    question = Question(label, drop=tuple(drop), group=environment, task=task, na=tuple(na))
    table, facts = prepare(check_file("data", data), question)
    parts, number = table.parts, table.classes is None
    trials = 1 if quick else trials
    runs_of_a_trial = searched(parts.count)
    with locked(out) as home:
        refuse_another(home, facts, ASKED)
        (home / "state").mkdir(exist_ok=True)
        for left_out in [(), *runs_of_a_trial]:
            table.prepared(left_out).save(file_of(home / "state", left_out))
        runs = Runs(
            home, parts, asked(facts), chosen_device,
            {"epochs": most, "patience": most if quick else PATIENCE}, jobs,
            total=len(CANDIDATES) * (trials * len(runs_of_a_trial) + seeds * parts.count) + 1,
        )  # fmt: skip
        with runs.stored.progress:
            found = runs.search(CANDIDATES, trials, number)
            final = runs.final(found, seeds)
            candidates, losses, gains = measure(table, found, final)
            unit = "squared error" if number else "log loss"
            verdict = judge(
                losses["plain"],
                gains,
                level=LEVEL,
                unit=unit,
                cut_short=[
                    name
                    for name, record in candidates.items()
                    if any(choice["cut_short"] for choice in record["choices"])
                ],
                demonstration=quick,
            )
            told = [verdict["sentence"], *worse_than_a_constant(table, losses)]
            verdict["sentence"] = " ".join(told)
            deployed, config = _whole(runs, found)
        metrics: dict[str, Any] = {
            "format": FORMAT,
            "didact": __version__,
            "command": command,
            "versions": versions(),
            "data": {
                **facts,
                "warnings": [*facts["warnings"], *too_short(most, quick), *_three(table)],
            },
            "environments": environments(table),
            "settings": {
                "quick": quick,
                "trials": trials,
                "epochs": most,
                "seeds": list(range(seeds)),
                "device": chosen_device,
            },
            "loss": unit,
            "candidates": candidates,
            "deployed": deployed,
            "verdict": verdict,
        }
        # The metrics last: whoever finds them finds the model and the page that they describe.
        export(
            home,
            runs.stored.folder(config),
            config,
            table.prepared(()),
            table.target(()),
            question,
            None,
        )
        page = environments_report(cast(EnvironmentMetrics, metrics))
        write_atomic(home / "report.html", page)
        write_json(home / "metrics.json", metrics)
    return cast(EnvironmentMetrics, metrics)


def _whole(runs: Runs, found: dict[str, Searched]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The network with the least loss on environments held out, trained on all of them."""
    last = {name: found[name].choices[-1] for name in NETWORKS}
    name = min(last, key=lambda candidate: last[candidate].found.loss)
    if not math.isfinite(last[name].found.loss):
        raise DidactError("No network could be trained on all environments: every trial diverged.")
    config, record = runs.whole(name, last[name])
    if record["error"]:
        raise DidactError(
            f"The network of all environments could not be trained: {record['error']}"
        )
    told = {"candidate": name, "seed": 0, "validation": last[name].found.loss}
    return {**told, "run": runs.stored.folder(config).name}, config


def _three(table: Table) -> list[str]:
    """A warning where the methods' own settings cannot be chosen."""
    if len(table.parts.names) >= FEWEST_FOR_OWN:
        return []
    return [
        "With three environments, what a method sets for itself (threshold, weight of a penalty) "
        "cannot be chosen: a run that leaves out two learns from one, in which nothing can "
        "disagree. It is as it starts."
    ]
