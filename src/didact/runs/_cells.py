"""Independent cells: each runs once, is stored as soon as it is done, and is never run again."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from .._checks import DidactError, InvalidInput, check_choice, check_integer, extra, invalid, shown
from ._cores import cores
from ._files import check_json, read_json, write_json
from ._key import Config, key
from ._lock import locked
from ._worker import as_worker

Record = dict[str, Any]
Cell = Callable[[Config, Path], Record]
Backend = Literal["processes", "ray"]


class CellFailed(DidactError):
    """A cell raised; the message holds its config and what it raised."""


def run_cells(
    function: Cell,
    configs: Iterable[Config],
    folder: str | os.PathLike[str],
    *,
    jobs: int | None = 1,
    backend: Backend = "processes",
    progress: Callable[[int, int, Record, bool], None] | None = None,
) -> list[Record]:
    """Evaluate ``function`` at every config, once each, through kills and restarts.

    A finished cell is the file ``folder/<key>.json``, ``{"config": …, "record": …}``, written
    atomically by the process that computed it, at once. A later call loads it instead of running
    it. The folder is locked for the time of the call (:func:`locked`).

    Args:
        function: ``function(config, own) -> record``, a top-level function (it travels to other
            processes by pickle). ``config`` and ``record`` are dicts of JSON values. ``own`` is the
            cell's own folder ``folder/<key>/`` for larger files: empty at the start, even if an
            earlier attempt was killed, and removed at the end if left empty.
        configs: what to evaluate; a config that occurs twice is run once.
        folder: where the cells live; created if missing.
        jobs: 1 runs the cells here, one after the other; more run them in that many processes
            (joblib), each with one torch thread. All end when this process does. ``None``: as many
            as there are cores.
        backend: where the processes are: ``"processes"`` of this machine, or those of a Ray
            cluster: the one that ``RAY_ADDRESS`` or ``ray.init`` names, else one of this machine.
            A cell's larger files stay on the node that ran it, unless all share ``folder``.
        progress: ``progress(done, total, record, cached)`` is called here after every distinct
            cell, those that were already stored first.

    Returns:
        One record per config, in the order of ``configs``, as JSON gives it back.

    Raises:
        CellFailed: if a cell raises; the message holds its config. Errors of didact keep their type
            and text, and carry the config as a note. Cells that are done stay stored.
        InvalidInput: if a config or record is not JSON, or a stored file is not a cell's.
        FolderBusy: if another run holds the folder.
        DidactError: if the folder cannot be written or a worker process is killed.

    Example:
        >>> import tempfile
        >>> def square(config, own):
        ...     return {"y": config["x"] ** 2}
        >>> run_cells(square, [{"x": 2}, {"x": 3}, {"x": 2}], tempfile.mkdtemp())
        [{'y': 4}, {'y': 9}, {'y': 4}]
    """
    if jobs is not None:
        check_integer("jobs", jobs)
    elif backend == "processes":
        jobs = cores()
    check_choice("backend", backend, get_args(Backend))
    configs = list(configs)
    keys = [key(config) for config in configs]
    cells = {
        name: json.loads(json.dumps(config)) for name, config in zip(keys, configs, strict=True)
    }
    texts: dict[str, str] = {}

    def finished(name: str, record: Record, cached: bool) -> None:
        texts[name] = json.dumps(record)
        if progress is not None:
            progress(len(texts), len(cells), record, cached)

    with locked(folder) as home:
        for leftover in home.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        stored = [name for name in cells if (home / f"{name}.json").exists()]
        for name in stored:
            finished(name, _load(home / f"{name}.json", cells[name]), True)
        missing = [(name, config) for name, config in cells.items() if name not in texts]
        if backend == "processes" and (jobs == 1 or len(missing) <= 1):
            for name, config in missing:
                finished(*_run(function, name, config, home), False)
        else:
            pool = _on_ray if backend == "ray" else _parallel
            with pool(function, missing, home, jobs) as results:
                for name, record in results:
                    stored_at = home / f"{name}.json"
                    if not stored_at.exists():  # a node that does not share the folder
                        write_json(stored_at, {"config": cells[name], "record": record})
                    finished(name, record, False)
    return [json.loads(texts[name]) for name in keys]


def _run(function: Cell, name: str, config: Config, home: Path) -> tuple[str, Record]:
    own = home / name
    try:
        if own.exists():
            shutil.rmtree(own)
        own.mkdir(parents=True)
        # A copy: what the cell does to its config must not reach the stored file.
        record = function(json.loads(json.dumps(config)), own)
        if not isinstance(record, dict):
            raise invalid("record", "a dict of JSON values", record)
        check_json("record", record)
    except DidactError as error:
        error.add_note(f"Raised by the cell {shown(config, 1000)}.")
        raise
    except Exception as error:
        raise CellFailed(
            f"The cell {shown(config, 1000)} failed: {type(error).__name__}: {error}"
        ) from error
    finally:
        with suppress(OSError):
            own.rmdir()
    write_json(home / f"{name}.json", {"config": config, "record": record})
    return name, json.loads(json.dumps(record))


@contextmanager
def _parallel(
    function: Cell, cells: Sequence[tuple[str, Config]], home: Path, jobs: int | None
) -> Iterator[Iterator[tuple[str, Record]]]:
    with extra("fit"):
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import BrokenProcessPool

    run = delayed(as_worker(_run, os.getpid()))
    pool = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
    results = pool(run(function, name, config, home) for name, config in cells)
    try:
        yield results
    except BrokenProcessPool as error:
        raise DidactError(
            f"A worker process was killed, perhaps for memory. Finished cells are stored in "
            f"`{home}`; run again to go on, with fewer than {jobs} jobs if memory was short."
        ) from error
    finally:
        # Ends the workers if we leave early; joblib then warns about what our caller asked for.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()


@contextmanager
def _on_ray(
    function: Cell, cells: Sequence[tuple[str, Config]], home: Path, jobs: int | None
) -> Iterator[Iterator[tuple[str, Record]]]:
    # Not by ray.util.joblib: that hands results back only when all are done.
    with extra("ray"):
        from ray.util.multiprocessing import Pool

    run = as_worker(partial(_run_pair, function, home.resolve()), os.getpid())
    try:
        pool = Pool(processes=jobs, ray_remote_args={"num_cpus": 1})
    except ValueError as error:  # it counts the cluster's cores
        raise InvalidInput(f"Parameter `jobs` does not fit the Ray cluster. {error}") from None
    try:
        yield map(_result, pool.imap_unordered(run, cells, chunksize=1))
    finally:
        pool.terminate()  # type: ignore[no-untyped-call]


def _result(found: Any) -> tuple[str, Record]:
    # Ray's iterators hand out what a task raised, wrapped, instead of raising it.
    underlying = getattr(found, "underlying", None)
    if isinstance(underlying, BaseException):
        raise underlying
    result: tuple[str, Record] = found
    return result


def _run_pair(function: Cell, home: Path, cell: tuple[str, Config]) -> tuple[str, Record]:
    return _run(function, *cell, home)


def _load(path: Path, config: Config) -> Record:
    stored = read_json(path)
    if (
        not isinstance(stored, dict)
        or stored.get("config") != config
        or not isinstance(stored.get("record"), dict)
    ):
        raise InvalidInput(
            f"The file `{path}` is not the stored cell {shown(config)}. "
            "Remove it to have the cell run again."
        )
    record: Record = stored["record"]
    return record
