"""What finished cells show: figures and one page of tables."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..runs import write_atomic
from ..tasks import animation
from ._study import Study


def plot_study(study: Study, out: str | os.PathLike[str]) -> list[Path]:
    """Draw a study's figures from its finished cells.

    Args:
        study: which.
        out: the folder of ``run_study``; figures go beside the cells, as ``<name>.svg``, films as
            ``<name>.gif``.

    Returns:
        The files written; none where no cell is finished.
    """
    from matplotlib import rc_context

    cells = study.cells(out)
    if not any(study.own(cell.run) for cell in cells):
        return []
    written = []
    # Without a fixed salt and date every drawing is another file.
    with rc_context({"svg.hashsalt": study.name, "svg.fonttype": "none"}):
        for name, figure in study.plot(cells).items():
            if isinstance(figure, Tensor):
                film = Path(out) / study.folder / f"{study.name}-{name}.gif"
                written.append(animation(figure, film, milliseconds=100))
                continue
            buffer = io.BytesIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            path = Path(out) / study.folder / f"{study.name}-{name}.svg"
            write_atomic(path, buffer.getvalue())
            written.append(path)
    return written


def write_tables(studies: Sequence[Study], out: str | os.PathLike[str]) -> Path:
    """Write ``out/README.md``: every study's table, ours beside the paper's, and where it ran."""
    parts = [
        "# Results",
        "Written by `didact study table` from the records in this folder. The tables of `didact "
        "fit` are in [fit.md](fit.md). Intervals are 95 %, Student's t over seeds. Below a table "
        "is the command of its default size; cells that other options asked for count, too.",
    ]
    for study in studies:
        stored = list(study.stored(out))
        cells = [cell for cell in stored if cell is not None]
        own = [cell for cell in cells if study.own(cell.run)]
        parts += [f"## {study.name}", study.claim]
        if old := len(stored) - len(cells):
            parts.append(f"{old} records of another version of the study's code are not shown.")
        if not own:
            parts.append(f"*Not run.* `didact study run {study.name}`")
            continue
        home = Path(out) / study.folder
        figures = [*home.glob(f"{study.name}-*.svg"), *home.glob(f"{study.name}-*.gif")]
        made = Counter(
            f"{cell.made['processor']}, {cell.made['cores']} cores, torch {cell.made['torch']}"
            for cell in own
        )
        days = sorted({cell.made["date"] for cell in own})
        seconds = sum(cell.record["seconds"] for cell in own)
        parts += [
            study.table(cells),
            *(f"![{path.stem}]({study.folder}/{path.name})" for path in sorted(figures)),
            f"`didact study run {study.name}`: {len(own)} cells, {seconds / 3600:.2g} core hours, "
            f"{' to '.join(sorted({days[0], days[-1]}))}. "
            + "; ".join(f"{count} on {where}" for where, count in made.most_common())
            + ".",
        ]
    path = Path(out) / "README.md"
    write_atomic(path, "\n\n".join(parts) + "\n")
    return path
