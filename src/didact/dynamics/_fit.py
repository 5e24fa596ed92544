"""From recordings to a model of where they go: ``didact fit-dynamics``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from .._checks import DidactError, check_integer, invalid
from ..export import save_pt2, save_tensor_onnx
from ..runs import (
    Stored,
    cores,
    locked,
    need,
    refuse_another,
    usable_device,
    versions,
    write_atomic,
    write_json,
)
from ._cell import load_model, longest, run_cell, save_parts
from ._judge import judge
from ._measure import calls_of
from ._models import InUnits, Unrolled
from ._recordings import Recordings, read_recordings
from ._report import FORMAT, dynamics_report
from ._rounds import trained_runs, unfinished
from ._train import BATCH, CLIP, MAPS, PICTURES_BATCH, WIDTH, Pieces, Steps

EPOCHS, QUICK_EPOCHS = 100, 20
SPLIT_SEED = 0
ADAPTIVE = "adaptive"
ASKED = ("sha256", "columns", "group", "length", "horizon", "context")


def fit_dynamics(
    data: str | os.PathLike[str],
    *,
    horizon: int,
    state: Sequence[str] = (),
    group: str | None = None,
    length: int | None = None,
    calls: int | None = None,
    context: int = 1,
    seeds: int = 3,
    trials: int = 4,
    epochs: int | None = None,
    out: str | os.PathLike[str] = "didact-dynamics",
    device: str = "auto",
    quick: bool = False,
    jobs: int | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Learn where recorded trajectories go: by fixed steps, and by adaptive skip intervals.

    Candidates are steps of 1, 2, 4, … frames up to the horizon, and adaptive ones
    (:func:`didact.skips.skip_loss`), with the same network, settings tried and epochs. A model is
    applied to its own predictions from the first frame on; its *end error* is the least distance to
    the last frame that it comes to with so many calls. Settings, epochs and the fixed step are
    chosen on validation trajectories; the verdict is on test trajectories, at as many calls for
    both.

    A run that was killed goes on where it was when called again, and ends with the same
    ``metrics.json``.

    Args:
        data: ``.npz`` of states or pictures, a table of states: :func:`read_recordings`.
        horizon: H, the longest skip, in frames; 2 or more.
        state, group, length: of a table: columns of the state, column that says which trajectory,
            or rows of a piece.
        calls: at how many calls to compare, and to choose. ``None``: in how many the adaptive
            models come through 99 of 100 training trajectories, and one more; fixed steps are
            chosen at as many, adaptive ones at their own pace.
        context: k, frames that a model looks at, and starts from.
        seeds: final runs of each candidate.
        trials: settings tried per candidate, the defaults among them.
        epochs: of each run; 100 (20 if ``quick``). Kept is the network of the best epoch.
        out: the folder for everything; created if missing.
        device: ``"auto"`` (CUDA where there is any), or as for ``torch.device``.
        quick: the default settings, no search; the verdict is marked a demonstration.
        jobs: processes; ``None`` for one per core (one on a GPU).
        command: how this was called, for the record.

    Returns:
        What ``metrics.json`` holds. The folder also has ``report.html``, the model of one call as
        ``step.onnx`` and ``step.pt2``, the model applied to itself as ``rollout.onnx`` and
        ``rollout.pt2``, ``tensorboard/`` and ``state/``.

    Raises:
        InvalidInput: on recordings or an argument that break a rule.
        DidactError: where the folder is in use, or no model could be trained.

    Example:
        >>> import tempfile
        >>> falls = np.linspace(1, 2, 10)[:, None, None] * np.linspace(1, 0, 6)[:, None]
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     data, out = Path(folder, "falls.npz"), Path(folder, "out")
        ...     np.savez(data, frames=falls)  # ten trajectories of six states
        ...     found = fit_dynamics(data, horizon=2, out=out, quick=True, epochs=1, jobs=1)
        >>> list(found["candidates"]), found["data"]["trajectories"]  # doctest: +SKIP
        (['adaptive', 'every 1', 'every 2'], {'train': 6, 'validation': 2, 'test': 2})
    """
    need("fit", "matplotlib", "jinja2", "onnx", "onnxruntime")
    check_integer("horizon", horizon, at_least=2)
    for name, number in (("context", context), ("seeds", seeds), ("trials", trials)):
        check_integer(name, number)
    if calls is not None:
        check_integer("calls", calls)
    epochs = check_integer(
        "epochs", (QUICK_EPOCHS if quick else EPOCHS) if epochs is None else epochs
    )
    device = usable_device(device)
    if jobs is None:
        jobs = cores(device)
    check_integer("jobs", jobs)
    recordings = read_recordings(data, state=state, group=group, length=length)
    shortest = int(recordings.lengths.min())
    if context >= shortest:
        rule = f"less than the shortest trajectory, {shortest} frames"
        raise invalid("context", rule, context)
    parts = split(recordings)
    _check_parts(parts, recordings, context)
    ahead = parts["train"][1] - context
    if horizon > int(ahead.max()):
        rule = f"at most {int(ahead.max())}, the frames that the longest of the training "
        raise invalid("horizon", f"{rule}trajectories has to come", horizon)
    recordings = _warned(recordings, int((ahead < horizon).sum()), len(ahead), horizon)
    most = longest(parts, context)
    if calls is not None and calls > most:
        rule = f"at most the frames that the longest trajectory has to come, {most}"
        raise invalid("calls", rule, calls)
    trials, asked = 1 if quick else trials, calls
    candidates = {ADAPTIVE: Steps(1, horizon)} | {
        f"every {n}": Steps(n, n) for n in calls_of(horizon)
    }
    facts: dict[str, Any] = {
        "file": Path(data).name,
        "sha256": recordings.sha256,
        "columns": None if recordings.columns is None else list(recordings.columns),
        "frame": list(recordings.frames.shape[2:]),
        "unit": recordings.unit,
        "group": group,
        "length": length,
        "horizon": horizon,
        "context": context,
        "frames": int(recordings.lengths.sum()),
        "trajectories": {name: len(lengths) for name, (_, lengths) in parts.items()},
        "warnings": list(recordings.warnings),
    }
    with locked(out) as home:
        refuse_another(home, facts, ASKED)
        (home / "state").mkdir(exist_ok=True)
        save_parts(home / "state" / "parts.pt", parts)
        cell = partial(
            run_cell,
            data=str(home / "state" / "parts.pt"),
            logs=str(home / "tensorboard"),
            device=device,
        )
        stored = Stored(
            home, cell, jobs, total=len(candidates) * (seeds + (trials if trials > 1 else 0)),
            best=lambda record: record["value"],
        )  # fmt: skip
        shared = {
            "data": {name: facts[name] for name in ASKED}, "epochs": epochs, "context": context,
            "device": torch.device(device).type, "batch": [BATCH, PICTURES_BATCH, CLIP],
            "width": [WIDTH, MAPS], "didact": __version__, "torch": torch.__version__,
        }  # fmt: skip
        out_of: list[str] = []
        with stored.progress:
            fixed = {name: steps for name, steps in candidates.items() if steps.fixed}
            final = trained_runs(
                stored, {ADAPTIVE: candidates[ADAPTIVE]}, trials, seeds, shared | {"calls": calls},
                out_of,
            )  # fmt: skip
            if calls is None:
                budgets = [record["budget"] for record in final[ADAPTIVE].records.values()]
                calls = min(int(np.median(budgets)), most)
            final |= trained_runs(stored, fixed, trials, seeds, shared | {"calls": calls}, out_of)
        found = judge(
            final, ADAPTIVE, calls, ordered=recordings.ordered, demonstration=quick
        )  # fmt: skip
        winner, seed = found["deployed"]["candidate"], found["deployed"]["seed"]
        own = final[winner].folders[seed]
        model = load_model(own, parts["train"], context)
        model = model if recordings.unit == 1 else InUnits(model, recordings.unit)
        for name in ("metrics.json", "report.html"):  # of an earlier command, and another model
            (home / name).unlink(missing_ok=True)
        steps = {**found["deployed"], **asdict(final[winner].steps)}
        said = _export(
            home, model, parts["validation"][0] * recordings.unit, context, calls,
            {**facts, **steps},
        )  # fmt: skip
        found["deployed"]["rollout_onnx"] = not said
        facts["warnings"] = [*recordings.warnings, *out_of, *unfinished(final), *said]
        metrics: dict[str, Any] = {
            "format": FORMAT,
            "didact": __version__,
            "command": command,
            "versions": versions(),
            "data": facts,
            "settings": {
                "quick": quick, "calls": asked, "trials": trials, "epochs": epochs,
                "seeds": list(range(seeds)), "device": device,
            },
            "grid": calls_of(most),
            **found,
        }  # fmt: skip
        # The metrics last: whoever finds them finds the model and the page that they describe.
        write_atomic(home / "report.html", dynamics_report(metrics))
        write_json(home / "metrics.json", metrics)
    return metrics


def _warned(recordings: Recordings, few: int, count: int, horizon: int) -> Recordings:
    """Told of training trajectories that a step of the horizon leads straight to the end of."""
    if 2 * few <= count:
        return recordings
    said = (
        f"{few} of {count} training trajectories have less than {horizon} frames to come: there "
        "the longest steps lead to the end at once, which is what is judged."
    )
    return replace(recordings, warnings=(*recordings.warnings, said))


def split(recordings: Recordings) -> dict[str, Pieces]:
    """Three fifths to train, a fifth each to validate and to test; pieces in their order."""
    count = len(recordings.lengths)
    rows = torch.arange(count)
    if not recordings.ordered:
        rows = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED))
    fifth = count // 5
    places = torch.split(rows, [count - 2 * fifth, fifth, fifth])
    return {
        name: recordings.only(place)
        for name, place in zip(("train", "validation", "test"), places, strict=True)
    }


def _export(
    home: Path, model: Any, frames: Tensor, context: int, calls: int, facts: dict[str, Any]
) -> list[str]:
    """Step and rollout, each in two forms; what is to be said of them."""
    x = frames[:4, 0] if context == 1 else frames[:4, :context]
    names = ("candidate", "seed", "shortest", "horizon", "columns", "frame", "unit", "context")
    mapping = {name: facts[name] for name in names} | {"calls": calls}
    save_tensor_onnx(model, x, home / "step.onnx")
    save_pt2(model, [x], home / "step.pt2", mapping=mapping)
    unrolled = Unrolled(model, calls, context)
    save_pt2(unrolled, [x], home / "rollout.pt2", mapping=mapping)
    try:
        save_tensor_onnx(unrolled, x, home / "rollout.onnx")
    except DidactError:
        (home / "rollout.onnx").unlink(missing_ok=True)
        return [
            f"There is no rollout.onnx: over {calls} calls rounding grows until onnxruntime and "
            "PyTorch disagree. Apply step.onnx to its own output."
        ]
    return []


def _check_parts(parts: dict[str, Pieces], recordings: Recordings, context: int) -> None:
    """Refuse what has no scale, or no way to go."""
    frames, lengths = parts["train"]
    if recordings.columns is not None:
        inside = torch.arange(frames.shape[1]) < lengths[:, None]
        still = frames[inside].std(0) == 0
        if bool(still.any()):
            name = recordings.columns[int(still.int().argmax())]
            raise invalid("state", "columns that change in the training trajectories", name)
    for part, (frames, lengths) in parts.items():
        rows = torch.arange(len(frames))
        way = frames[rows, lengths - 1] - frames[rows, context - 1]
        if not bool(way.abs().flatten(1).amax(1).max() > 0):
            rule = f"trajectories of which some of the {part} part end elsewhere than they begin"
            raise invalid("data", rule, f"{len(frames)} that end where they begin")
