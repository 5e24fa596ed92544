"""Task A of the LDT paper: a parity that privileged information makes easy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from .._checks import check_integer
from ._draw import check_weight, linear_weight, normal


class TaskA(NamedTuple):
    """One draw of task A.

    Args:
        x: ``[n, dimension]``, the input.
        x_star: ``[n, 4]``, privileged: two random signs, then the hidden numbers times the signs.
        y: ``[n]``, the label, 0.0 or 1.0.
        weight: ``[2, dimension]``, the matrix A that made the labels.
    """

    x: Tensor
    x_star: Tensor
    y: Tensor
    weight: Tensor


def task_a(n: int, dimension: int, *, generator: Generator, weight: Tensor | None = None) -> TaskA:
    """Draw examples whose label is the parity of two hidden signs.

    x ∼ N(0, I),   h = A x,   A ∼ U(−1/√D, 1/√D)^{2×D},   y = 1[h₁ > 0] xor 1[h₂ > 0],

    x* = (s₁, s₂, s₁h₁, s₂h₂) with s ∼ U{−1, 1}².

    x* fixes y, but only through products: no part of it alone says anything of y. A student that is
    taught h by a teacher that reads x* needs far fewer examples than one that sees the parity only.

    Reference: Neitz, Parascandolo, Schölkopf, "A teacher-student framework to distill future
    trajectories", ICLR 2021, section 4.1.

    Args:
        n: how many examples.
        dimension: D, the size of x; the paper uses 64, 128, 256 and 512.
        generator: every random draw comes from it; its device is that of the result.
        weight: A of an earlier draw, so that training and test data are of one task; drawn if not
            given.

    Returns:
        The examples, in torch's default floating type.

    Raises:
        InvalidInput: if a size is not positive or ``weight`` is not ``[2, dimension]``.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> train = task_a(128, 64, generator=generator)
        >>> test = task_a(1000, 64, generator=generator, weight=train.weight)
        >>> test.x.shape, test.x_star.shape, test.y.shape
        (torch.Size([1000, 64]), torch.Size([1000, 4]), torch.Size([1000]))
    """
    check_integer("n", n)
    check_integer("dimension", dimension)
    if weight is None:
        weight = linear_weight(2, dimension, generator)
    check_weight("weight", weight, (2, dimension))
    x = normal(n, dimension, generator)
    signs = 2.0 * torch.randint(2, (n, 2), generator=generator, device=generator.device) - 1.0
    hidden = x @ weight.T
    positive = hidden > 0
    return TaskA(
        x=x,
        x_star=torch.cat([signs.to(x.dtype), signs.to(x.dtype) * hidden], dim=1),
        y=(positive[:, 0] ^ positive[:, 1]).to(x.dtype),
        weight=weight,
    )
