"""Conway's Game of Life: the fate of one cell, and the boards on the way."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from .._checks import check_integer, check_number, invalid


class Life(NamedTuple):
    """One draw of boards.

    Args:
        x: ``[n, 1, size, size]``, the first board, 0.0 or 1.0.
        x_star: ``[n, steps, size, size]``, privileged: the boards after it, in the order ``order``.
        y: ``[n]``, whether the centre cell lives on the last board, 0.0 or 1.0.
        order: ``[steps]``: ``x_star[:, i]`` is the board after ``order[i] + 1`` steps.
    """

    x: Tensor
    x_star: Tensor
    y: Tensor
    order: Tensor


def game_of_life(
    n: int,
    *,
    generator: Generator,
    size: int = 17,
    steps: int = 3,
    alive: float = 0.4,
    order: Tensor | None = None,
) -> Life:
    """Draw random boards and let them live for a few steps.

    A live cell with two or three live neighbours stays alive, a dead one with three comes to life;
    all others are dead. Beyond the edge nothing lives. The boards on the way are shuffled in time,
    in one order for all examples.

    Reference: Neitz, Parascandolo & Schölkopf 2021, section 4.2 and appendix C (which says nothing
    of the edge).

    Args:
        n: how many examples.
        generator: every random draw comes from it; its device is that of the result.
        size: of the square board, odd.
        steps: how many.
        alive: the probability that a cell of the first board lives.
        order: that of an earlier draw, so that training and test data are of one task; drawn if
            not given.

    Returns:
        The examples, in torch's default floating type.

    Raises:
        InvalidInput: if an argument breaks its rule.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> train = game_of_life(128, generator=generator)
        >>> test = game_of_life(100, generator=generator, order=train.order)
        >>> train.x.shape, train.x_star.shape, train.y.shape
        (torch.Size([128, 1, 17, 17]), torch.Size([128, 3, 17, 17]), torch.Size([128]))
    """
    check_integer("n", n)
    if check_integer("size", size) % 2 == 0:
        raise invalid("size", "an odd integer", size)
    check_integer("steps", steps)
    check_number("alive", alive, at_least=0, at_most=1)
    if order is None:
        order = torch.randperm(steps, generator=generator, device=generator.device)
    if sorted(order.tolist()) != list(range(steps)):
        raise invalid("order", f"a permutation of 0 … {steps - 1}", order.tolist())
    shape = (n, 1, size, size)
    board = (torch.rand(shape, generator=generator, device=generator.device) < alive).to(
        torch.get_default_dtype()
    )
    boards = [board]
    for _ in range(steps):
        boards.append(_next(boards[-1]))
    return Life(
        x=board,
        x_star=torch.cat(boards[1:], 1)[:, order],
        y=boards[-1][:, 0, size // 2, size // 2],
        order=order,
    )


def _next(board: Tensor) -> Tensor:
    block = F.conv2d(
        board, torch.ones(1, 1, 3, 3, dtype=board.dtype, device=board.device), padding=1
    )
    # Of three in the block of nine, a live centre has two neighbours, a dead one three.
    return ((block == 3) | ((block == 4) & (board == 1))).to(board.dtype)
