"""A task of the papers as a file, for ``didact fit`` and ``didact fit-dynamics`` to be tried on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from .._checks import check_choice, check_integer, invalid
from ._funnel_board import funnel_board
from ._mujoco import mujoco_rollouts
from ._room_runner import room_runner
from ._simulator import Environment, needed
from ._table import as_table
from ._trajectories import Trajectories, compress
from ._whole import whole

ENVIRONMENTS: dict[str, Environment] = {name.lower(): name for name in get_args(Environment)}
WORLDS: dict[str, Callable[..., Trajectories]] = {
    "funnel-board": funnel_board,
    "room-runner": room_runner,
}


def simulate(
    task: str,
    out: str | os.PathLike[str],
    *,
    rollouts: int,
    seed: int,
    perturbed: bool = False,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Simulate a task and write it to a file, the whole of it or nothing.

    Args:
        task: "hopper", "walker2d", "swimmer" or "halfcheetah", a table (see
            :func:`mujoco_rollouts`); "funnel-board" or "room-runner", films (see
            :func:`funnel_board`).
        out: the file to write; its folder is created if missing. Of a table ``.csv`` or
            ``.parquet``, both of which hold every number exactly; of films ``.npz``, compressed,
            for :func:`load_trajectories` and ``didact fit-dynamics``.
        rollouts: how many rows or films.
        seed: of every random draw.
        perturbed: films of the other dynamics.
        jobs: processes.
        progress: ``progress(done, rollouts)``.

    Returns:
        ``out``.

    Raises:
        InvalidInput: if an argument breaks its rule, before anything is simulated.
        MissingExtra: if what simulates is not installed: Gymnasium, MuJoCo or pymunk.
        DidactError: if the file cannot be written.

    Example:
        >>> import tempfile, pandas
        >>> out = simulate("hopper", tempfile.mkdtemp() + "/a.csv", rollouts=2, seed=0)
        >>> pandas.read_csv(out).shape
        (2, 252)
    """
    check_choice("task", task, (*ENVIRONMENTS, *WORLDS))
    check_integer("rollouts", rollouts)
    check_choice("perturbed", perturbed, (False, True))
    if perturbed and task in ENVIRONMENTS:
        raise invalid("perturbed", f"False: {task} has one kind of dynamics", perturbed)
    out = Path(out)
    endings = (".npz",) if task in WORLDS else (".csv", ".parquet")
    if out.suffix not in endings:
        raise invalid("out", f"a file that ends in {' or '.join(endings)}", str(out))
    if task in ENVIRONMENTS:
        needed("pandas", *(["pyarrow"] if out.suffix == ".parquet" else []))
    # Opened first, so that a folder that cannot be written does not cost a simulation.
    with whole(out) as file:
        if task in WORLDS:
            films = WORLDS[task](
                rollouts, seed=seed, perturbed=perturbed, jobs=jobs, progress=progress
            )
            compress(films, file)
            return out
        table = as_table(
            mujoco_rollouts(ENVIRONMENTS[task], rollouts, seed=seed, jobs=jobs, progress=progress)
        )
        if out.suffix == ".csv":
            table.to_csv(file, index=False)
        else:
            table.to_parquet(file, index=False)
    return out
