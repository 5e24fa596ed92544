"""Worlds drawn until enough of them are as they should be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from .._checks import check_choice, check_integer, need
from ._parallel import in_processes
from ._trajectories import Trajectories

CHUNK = 10
EVERY = 3
"""Every third step of a simulation is a frame."""


class Run(NamedTuple):
    """One trajectory: ``[T, 3, H, W]``, ``[T, 2]`` and how it ended."""

    frames: NDArray[np.uint8]
    positions: NDArray[np.float64]
    label: int


World = Callable[[Generator], Run | None]
"""A trajectory, or None where it is to be drawn anew."""


def runs_of(
    world: Callable[..., Run | None],
    count: int,
    *,
    seed: int,
    perturbed: bool,
    pixels: int,
    every: int,
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> Trajectories:
    """``count`` trajectories; i and its k-th attempt are seeded by (seed, i, k) alone.

    ``world(generator, *, perturbed, pixels, every)`` draws one, or None where it is to be drawn
    anew.
    """
    check_integer("count", count)
    check_integer("seed", seed, at_least=0)
    check_choice("perturbed", perturbed, (False, True))
    check_integer("pixels", pixels, at_least=2)
    check_integer("every", every)
    check_integer("jobs", jobs)
    need("skips", "pymunk", *(["joblib"] if jobs > 1 else []))
    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    told = {"perturbed": perturbed, "pixels": pixels, "every": every}
    run = partial(_chunk, partial(world, **told), seed)
    parts: list[Trajectories] = []
    done = 0
    with in_processes(run, chunks, jobs, "skips") as results:
        for part in results:
            parts.append(Trajectories(*map(torch.from_numpy, part)))
            done += len(parts[-1].labels)
            if progress is not None:
                progress(done, count)
    return Trajectories(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _chunk(world: World, seed: int, rows: range) -> list[NDArray[np.generic]]:
    runs, draws = zip(*(_kept(world, seed, i) for i in rows), strict=True)
    return [
        np.concatenate([run.frames for run in runs]),
        np.concatenate([run.positions for run in runs]),
        np.array([len(run.frames) for run in runs]),
        np.array([run.label for run in runs]),
        np.array(draws),
    ]


def _kept(world: World, seed: int, i: int) -> tuple[Run, int]:
    draw = 0
    while True:
        generator = np.random.default_rng(SeedSequence(seed, spawn_key=(i, draw)))
        run = world(generator)
        draw += 1
        if run is not None:
            return run, draw
