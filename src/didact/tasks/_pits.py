"""A ball that rattles in pits: states of which it is known where they lead, and not when."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.random import SeedSequence
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .._checks import check_choice, check_integer, check_number

TURN = 2.0
"""Radians from where one pit is to where the next one is, seen from the middle."""


class Pits(NamedTuple):
    """Falls side by side.

    Args:
        states: ``[n, T, 3]`` float32, place (x, y) and level, 0 at the top; 0 beyond the end.
        lengths: ``[n]`` int64, states of each fall.
        turns: ``[n]`` int64, 1 or −1, which way each fall turns.
    """

    states: Tensor
    lengths: Tensor
    turns: Tensor


def pits(
    n: int,
    *,
    seed: int,
    levels: int = 5,
    longest: int = 12,
    rattle: float = 0.05,
    both_ways: bool = False,
) -> Pits:
    """Falls through pits: in each the ball rattles for some time, then it is in the next one.

    Where a fall begins is uniform in [−1, 1]². The next pit is 2 radians on around the middle, to
    the left, or with ``both_ways`` in half of the falls to the right. The ball stays 1 to
    ``longest`` states in a pit, each as likely, and each is off by up to ``rattle`` in x and in y;
    at the bottom it lies still. So where it will lie can be known from the first state, but not
    when.

    Fall i is seeded by (seed, i): more falls do not change it.

    Args:
        n: how many falls.
        seed: of every draw.
        levels: pits on the way.
        longest: the most states in a pit.
        rattle: how far a state may be off, in x and in y.
        both_ways: whether falls turn to both sides.

    Returns:
        The falls, of (``levels`` (``longest`` + 1) / 2 + 1) states in the mean.

    Raises:
        InvalidInput: if an argument breaks its rule.

    Example:
        >>> falls = pits(100, seed=0)
        >>> falls.states.shape, int(falls.lengths.min())
        (torch.Size([100, 53, 3]), 12)
        >>> falls.states[0, falls.lengths[0] - 1]
        tensor([-0.9431, -0.1737,  5.0000])
    """
    check_integer("n", n)
    check_integer("seed", seed, at_least=0)
    check_integer("levels", levels)
    check_integer("longest", longest)
    check_number("rattle", rattle, at_least=0)
    check_choice("both_ways", both_ways, (False, True))
    falls, turns = [], []
    for i in range(n):
        generator = np.random.default_rng(SeedSequence(seed, spawn_key=(i,)))
        turn = int(generator.choice((-1, 1))) if both_ways else 1
        sin, cos = np.sin(turn * TURN), np.cos(turn * TURN)
        place = generator.uniform(-1, 1, 2)
        states = []
        for level in range(levels):
            stay = int(generator.integers(1, longest + 1))
            near = place + generator.uniform(-rattle, rattle, (stay, 2))
            states.append(np.column_stack([near, np.full(stay, level)]))
            place = np.array([[cos, -sin], [sin, cos]]) @ place
        states.append(np.array([[*place, levels]]))
        falls.append(torch.from_numpy(np.concatenate(states)).float())
        turns.append(turn)
    lengths = torch.tensor([len(fall) for fall in falls])
    return Pits(pad_sequence(falls, batch_first=True), lengths, torch.tensor(turns))
