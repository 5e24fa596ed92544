"""What a study is, and how it is run: cells in rounds, each stored as it finishes."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from .. import __version__
from .._checks import InvalidInput
from ..runs import (
    Backend,
    Progress,
    cores,
    key,
    locked,
    read_json,
    run_cells,
    usable_device,
    versions,
)

Record = dict[str, Any]
Log = Callable[[int, dict[str, float]], None]
Rounds = Generator[Sequence[Any], list[Record], None]
"""Yields runs, is sent their records, in order."""


@dataclass(frozen=True)
class Cell:
    """A finished run: what was asked, what came out, where."""

    run: Any
    record: Record
    made: dict[str, Any]


def alike(cells: Sequence[Cell], *free: str) -> list[Cell]:
    """Cells that differ in nothing but ``free``: of several kinds that with the most runs.

    A mean over several sizes or settings is a mean of nothing. What was run again on another
    device, or compiled, counts once.

    Args:
        cells: of one study.
        free: fields of their runs that may differ.
    """
    kinds: dict[str, dict[str, Cell]] = defaultdict(dict)
    for cell in cells:
        run = asdict(cell.run)
        for name in ("compile", "device"):
            run.pop(name, None)
        once = json.dumps(run, sort_keys=True)
        for name in free:
            run.pop(name, None)
        kinds[json.dumps(run, sort_keys=True)].setdefault(once, cell)

    def runs(kind: list[Cell]) -> tuple[int, int]:
        return len(kind), sum(len(getattr(cell.run, "seeds", [0])) for cell in kind)

    return max((list(kind.values()) for kind in kinds.values()), key=runs, default=[])


@dataclass(frozen=True)
class Study:
    """One figure or table: a config, the runs that it asks for, how to do one, what to show.

    Args:
        name: on the command line.
        claim: what the paper says, with its place.
        version: counts the changes of the study's code that change its numbers; cells of another
            version are not looked at.
        config: dataclass of every number; its defaults are what two cores can do.
        run: dataclass of all that decides the numbers of one run, of JSON values.
        full: the config of the paper's size.
        smoke: a config that takes seconds.
        plan: ``plan(config, shared)``: runs in rounds; later ones may depend on records of earlier
            ones. ``shared`` is a folder for files that runs have in common.
        train: ``train(run, shared, log) -> record``, of JSON values, with CPU ``seconds``;
            ``log(step, values)`` draws curves for TensorBoard.
        value: what progress shows as best so far, of a record; None shows nothing.
        table: Markdown, ours beside the paper's, from the finished cells.
        plot: figures by name, from the finished cells; a film is a tensor ``[time, 3, height,
            width]``.
        records: folder of the cells, where studies share some; the study's name by default.
        own: of the runs in that folder, those that are this study's and no other's.
        highest: the highest value is the best, not the lowest.
    """

    name: str
    claim: str
    version: int
    config: type
    run: type
    full: Any
    smoke: Any
    plan: Callable[[Any, Path], Rounds]
    train: Callable[[Any, Path, Log], Record]
    value: Callable[[Record], float | None]
    table: Callable[[Sequence[Cell]], str]
    plot: Callable[[Sequence[Cell]], dict[str, Any]]
    records: str = ""
    own: Callable[[Any], bool] = lambda run: True
    highest: bool = False

    @property
    def folder(self) -> str:
        """Where its cells are, beside those of other studies."""
        return self.records or self.name

    def cell(self, run: Any) -> dict[str, Any]:
        """The config that a run is stored under."""
        return {"study": self.folder, "version": self.version, "run": asdict(run)}

    def cells(self, out: str | os.PathLike[str]) -> list[Cell]:
        """All finished runs of this version in ``out``.

        Raises:
            InvalidInput: naming a file that is no record of a run.
        """
        return [cell for cell in self.stored(out) if cell is not None]

    def stored(self, out: str | os.PathLike[str]) -> Iterator[Cell | None]:
        """All records in ``out``: runs of this version, and None for each of another."""
        for path in sorted((Path(out) / self.folder).glob("*.json")):
            stored = read_json(path)
            try:
                config, record = stored["config"], dict(stored["record"])
                made = record.pop("made")
                if config.get("version") != self.version:
                    yield None
                elif path.stem == key(config):
                    yield Cell(self.run(**config["run"]), record, made)
                else:
                    raise ValueError
            except (AttributeError, KeyError, TypeError, ValueError):
                raise InvalidInput(
                    f"The file `{path}` is not the record of a run. Remove it to go on."
                ) from None


def run_study(
    study: Study,
    config: Any,
    out: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    backend: Backend = "processes",
) -> list[Record]:
    """Do all that ``config`` asks for and is not yet done.

    Args:
        study: which.
        config: of ``study.config``.
        out: cells are kept in ``out/<study.folder>/<key>.json``; what is there is not done again.
        jobs: runs at a time; by default as many as there are cores, one on a GPU.
        backend: ``"processes"`` of this machine, or ``"ray"``: those of a cluster.

    Returns:
        The records of the last round.

    Raises:
        InvalidInput: if the config's device is none that this machine has.
        FolderBusy: if another command does this study there.
        DidactError: if the folder cannot be used; see also :func:`~didact.runs.run_cells`.
    """
    home = Path(out) / study.folder
    if backend == "processes" and hasattr(config, "device"):
        config = replace(config, device=usable_device(config.device))
        jobs = cores(config.device) if jobs is None else jobs
    records: list[Record] = []
    # Held from before the plan: a search begins with an empty database.
    with locked(home / "shared") as shared:
        cell = partial(_cell, study=study, shared=shared)
        rounds = study.plan(config, shared)
        for number in count(1):
            try:
                runs = rounds.send(records) if number > 1 else next(rounds)
            except StopIteration:
                break
            what = f"{study.name}, round {number}"
            with Progress(len(runs), what, highest=study.highest) as bar:

                def told(done: int, _: int, record: Record, cached: bool, bar: Any = bar) -> None:
                    bar.update(done, best=study.value(record), cached=cached)

                records = run_cells(
                    cell,
                    [study.cell(run) for run in runs],
                    home,
                    jobs=jobs,
                    backend=backend,
                    progress=told,
                )
    return records


def _cell(config: dict[str, Any], own: Path, *, study: Study, shared: Path) -> Record:
    import torch

    shared.mkdir(exist_ok=True)
    run = study.run(**config["run"])
    writer = None

    def log(step: int, values: dict[str, float]) -> None:
        nonlocal writer
        if writer is None:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(os.fspath(own))
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    try:
        record = study.train(run, shared, log)
    finally:
        if writer is not None:
            writer.close()
    return {**record, "made": _made(torch.__version__)}


def _made(torch_version: str) -> dict[str, Any]:
    """Where, when and with what."""
    return {
        **versions("mujoco", "gymnasium", "pymunk"),
        "didact": __version__,
        "torch": torch_version,
        "processor": _processor(),
        "cores": cores(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _processor() -> str:
    """Its name where the system tells, else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
