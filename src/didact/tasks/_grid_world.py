"""Random grid worlds, drawn cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from .._checks import DidactError, check_integer, check_number, invalid
from ._mdp import MDP

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Up, right, down, left: rows and columns."""
WALL, GOAL = "wall", 10.0
CELLS: tuple[tuple[float, str | float, bool], ...] = (
    (0.1, WALL, False),
    (0.01, 10.0, True),
    (0.02, 5.0, True),
    (0.1, -1.0, False),
    (0.01, -5.0, True),
    (0.01, -10.0, True),
)
"""Probability, reward, whether the episode ends there; the first test that succeeds wins."""
TRIES = 1000


@dataclass(frozen=True)
class GridWorld(MDP):
    """An :class:`MDP` on a grid, with what it looks like; states are cells, row by row.

    Args:
        walls: ``[H, W]`` bool.
        rewards: ``[H, W]``, paid by every action that leads there.
        terminal: ``[H, W]`` bool, entering ends the episode.
    """

    walls: NDArray[np.bool_]
    rewards: NDArray[np.float64]
    terminal: NDArray[np.bool_]


def grid_world(
    *,
    generator: Generator,
    size: int = 20,
    slip: float = 0.1,
    ending: float = 0.01,
    actions: int = 4,
    view: int | None = None,
) -> GridWorld:
    """A random grid world with a way from its centre to a +10.

    Four moves; off the grid or into a wall they leave the state as it is. The chosen move happens
    with probability 1 − slip, else one of the four at random. Every action pays the reward of
    the cell that it leads to, also where that is the same cell;
    after each action the episode ends with probability ``ending``, and in terminal cells at once.
    Cells are tested in this order, the first success wins: wall 0.1; +10, terminal, 0.01; +5,
    terminal, 0.02; −1 0.1; −5, terminal, 0.01; −10, terminal, 0.01. The centre is free.

    Reference: Czarnecki et al. 2019, appendix A.

    Args:
        generator: every random draw comes from it; worlds without a way to a +10 are drawn again.
        size: cells along a side.
        slip: η.
        ending: see above.
        actions: A ≥ 4; those beyond the first four stay where they are (but may slip).
        view: the policy sees the ``(2k + 1)²`` window around it, each cell a wall or (reward, is
            terminal); the whole state by default. Observations number the distinct windows.

    Returns:
        The world, its arrays as of any :class:`MDP`.

    Raises:
        InvalidInput: if an argument breaks its rule.

    Example:
        >>> world = grid_world(generator=torch.Generator().manual_seed(0))
        >>> world.n_states, world.n_actions, world.next_state.shape
        (400, 4, (400, 4, 8))
        >>> int(world.start.argmax())
        210
    """
    check_integer("size", size, at_least=3)
    check_integer("actions", actions, at_least=4)
    check_number("slip", slip, at_least=0, at_most=1)
    check_number("ending", ending, at_least=0, at_most=1)
    for _ in range(TRIES):
        walls, rewards, terminal = _cells(size, generator)
        if _reaches(walls, terminal, rewards == GOAL):
            break
    else:
        raise DidactError(f"None of {TRIES} worlds of size {size} had a way to a +10.")
    arrays = _outcomes(walls, rewards, terminal, slip, ending, stays=actions > 4)
    start = np.zeros(size * size)
    start[_centre(size)] = 1.0
    seen = np.arange(size * size) if view is None else _windows(walls, rewards, terminal, view)
    return GridWorld(
        *arrays,
        effect=np.minimum(np.arange(actions), 4).astype(np.int32),
        start=start,
        observation=seen.astype(np.int32),
        walls=walls,
        rewards=rewards,
        terminal=terminal,
    )


def _centre(size: int) -> int:
    return (size // 2) * size + size // 2


def _cells(size: int, generator: Generator) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    walls = np.zeros(size * size, dtype=bool)
    rewards, terminal = np.zeros(size * size), np.zeros(size * size, dtype=bool)
    draws = torch.rand(size * size, len(CELLS), generator=generator).numpy()
    for cell in range(size * size):
        for (p, what, ends), u in zip(CELLS, draws[cell], strict=True):
            if u < p:
                if isinstance(what, str):
                    walls[cell] = True
                else:
                    rewards[cell], terminal[cell] = what, ends
                break
    centre = _centre(size)
    walls[centre], rewards[centre], terminal[centre] = False, 0.0, False
    shape = (size, size)
    return walls.reshape(shape), rewards.reshape(shape), terminal.reshape(shape)


def _moved(walls: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where each of the four moves leads from each cell, [cells, 4]."""
    h, w = walls.shape
    row, column = np.divmod(np.arange(h * w), w)
    to = np.empty((h * w, 4), dtype=np.int64)
    for k, (down, right) in enumerate(MOVES):
        r, c = row + down, column + right
        inside = (r >= 0) & (r < h) & (c >= 0) & (c < w)
        cell = np.where(inside, r * w + c, 0)
        free = inside & ~walls.ravel()[cell]
        to[:, k] = np.where(free, cell, np.arange(h * w))
    return to


def _reaches(
    walls: NDArray[np.bool_], terminal: NDArray[np.bool_], goal: NDArray[np.bool_]
) -> bool:
    to = _moved(walls)
    reached, new = set(), {_centre(len(walls))}
    while new:
        reached |= new
        new = {int(c) for s in new if not terminal.flat[s] for c in to[s]} - reached
    return any(bool(goal.flat[s]) for s in reached)


def _outcomes(
    walls: NDArray[np.bool_],
    rewards: NDArray[np.float64],
    terminal: NDArray[np.bool_],
    slip: float,
    ending: float,
    *,
    stays: bool,
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Next state, probability and reward [S, E, K]; the likeliest outcome of each first."""
    to = _moved(walls)
    s = np.arange(len(to))
    effects = 5 if stays else 4
    next_state = np.full((len(to), effects, 10 if stays else 8), -1, dtype=np.int32)
    probability = np.zeros(next_state.shape)
    paid = np.zeros(next_state.shape)
    for e in range(effects):
        order = [e, *(k for k in range(4) if k != e)]
        for place, move in enumerate(order):
            cell = s if move == 4 else to[:, move]
            chance = (1 - slip) * (move == e) + (slip / 4 if move < 4 else 0.0)
            moved = cell != s
            worth = rewards.ravel()[cell]
            over = moved & terminal.ravel()[cell]
            go_on, stop = 2 * place, 2 * place + 1
            next_state[:, e, go_on] = np.where(over, -1, cell)
            probability[:, e, go_on] = np.where(over, chance, chance * (1 - ending))
            probability[:, e, stop] = np.where(over, 0.0, chance * ending)
            paid[:, e, go_on] = paid[:, e, stop] = worth
    return next_state, probability, paid


def _windows(
    walls: NDArray[np.bool_], rewards: NDArray[np.float64], terminal: NDArray[np.bool_], view: int
) -> NDArray[np.int64]:
    """The number of the distinct window around each cell; beyond the grid there are walls."""
    k = check_integer("view", view)
    if k >= len(walls):
        raise invalid("view", f"below the world's size {len(walls)}", view)
    kinds = np.where(walls, 0.0, 100.0 + 2 * rewards + terminal)
    padded = np.pad(kinds, k)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * k + 1, 2 * k + 1))
    rows = np.ascontiguousarray(windows.reshape(walls.size, -1))
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel()
