"""A task of the paper as a file, for ``didact fit`` to be tried on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from .._checks import check_choice, invalid
from ._mujoco import mujoco_rollouts
from ._simulator import Environment, needed
from ._table import as_table
from ._whole import whole

ENVIRONMENTS: dict[str, Environment] = {name.lower(): name for name in get_args(Environment)}


def simulate(
    task: str,
    out: str | os.PathLike[str],
    *,
    rollouts: int,
    seed: int,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Simulate a task and write its table, the whole of it or nothing.

    Args:
        task: "hopper", "walker2d", "swimmer" or "halfcheetah"; see :func:`mujoco_rollouts`.
        out: the file to write, ``.csv`` or ``.parquet``; its folder is created if missing. Both
            hold every number exactly.
        rollouts: how many rows.
        seed: of every random draw.
        jobs: processes.
        progress: ``progress(done, rollouts)``.

    Returns:
        ``out``.

    Raises:
        InvalidInput: if an argument breaks its rule, before anything is simulated.
        MissingExtra: if Gymnasium or MuJoCo is not installed.
        DidactError: if the file cannot be written.

    Example:
        >>> import tempfile, pandas
        >>> out = simulate("hopper", tempfile.mkdtemp() + "/a.csv", rollouts=2, seed=0)
        >>> pandas.read_csv(out).shape
        (2, 252)
    """
    check_choice("task", task, tuple(ENVIRONMENTS))
    out = Path(out)
    if out.suffix not in (".csv", ".parquet"):
        raise invalid("out", "a file that ends in .csv or .parquet", str(out))
    needed("pandas", *(["pyarrow"] if out.suffix == ".parquet" else []))
    # Opened first, so that a folder that cannot be written does not cost a simulation.
    with whole(out) as file:
        table = as_table(
            mujoco_rollouts(ENVIRONMENTS[task], rollouts, seed=seed, jobs=jobs, progress=progress)
        )
        if out.suffix == ".csv":
            table.to_csv(file, index=False)
        else:
            table.to_parquet(file, index=False)
    return out
