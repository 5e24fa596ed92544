"""Training runs, each in a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._cells import run_cells
from ._key import key
from ._progress import Progress

Record = dict[str, Any]
Cell = Callable[..., Record]


class Stored:
    """The training runs of one command: done once, counted as they end.

    Args:
        home: the command's folder.
        cell: does what a config asks for.
        jobs: processes.
        total: how many runs there will be.
        best: what of a record progress may show.
    """

    def __init__(
        self,
        home: Path,
        cell: Cell,
        jobs: int,
        total: int,
        best: Callable[[Record], float | None] = lambda record: None,
    ) -> None:
        self.cells, self.cell, self.jobs, self.best = home / "state" / "cells", cell, jobs, best
        self.progress = Progress(total, "training runs")
        self.done = 0

    def folder(self, config: dict[str, Any]) -> Path:
        """Where a final run left its student and predictions."""
        return self.cells / key(config)

    def run(self, configs: list[dict[str, Any]], cell: Cell | None = None) -> list[Record]:
        """Run or load, by the command's cell or another."""
        before = self.done

        def told(done: int, total: int, record: Record, cached: bool) -> None:
            self.done = before + done
            self.progress.update(self.done, best=self.best(record), cached=cached)

        records = run_cells(
            cell or self.cell, configs, self.cells, jobs=self.jobs if cell is None else 1,
            progress=told,
        )  # fmt: skip
        self.done = before + len(configs)
        return records
