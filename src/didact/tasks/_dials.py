"""A label of which hindsight knows as much as one likes."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from .._checks import check_integer, check_number
from ._draw import check_weight, linear_weight, normal


class Dials(NamedTuple):
    """One draw.

    Args:
        x: ``[n, dimension]``, the input.
        x_star: ``[n, copies]``, privileged.
        y: ``[n]``, the label, with mean 0 and variance 1.
        signal: ``[n]``, the part of the label that x determines; no method may see it.
        weight: ``[2, dimension]``, the directions of x that matter.
    """

    x: Tensor
    x_star: Tensor
    y: Tensor
    signal: Tensor
    weight: Tensor


def dials(
    n: int,
    dimension: int = 32,
    *,
    star_from_x: float,
    luck_in_star: float,
    learnable: float = 0.5,
    copies: int = 4,
    generator: Generator,
    weight: Tensor | None = None,
) -> Dials:
    """Draw examples in which two dials set what privileged information knows.

    ``y = √q s + √(1−q) ε``;   ``x*_k = √p s + √((1−p) r) ε + √((1−p)(1−r)) η_k``

    with s = (Ax)₁ (Ax)₂, the rows of A random and orthonormal, and x, ε, η_k ∼ N(0, 1).
    All have variance 1, so p is the share of each privileged column that x determines (R² of x*
    from x), and r the share of the rest that is the label's own luck. With p = 1, x* is the label
    without its luck; with r = 1 and p = 0 it is the luck alone; with r = 1 and p = q it is the
    label itself.

    Args:
        n: how many examples.
        dimension: D, the size of x.
        star_from_x: p in [0, 1].
        luck_in_star: r in [0, 1].
        learnable: q in [0, 1], the share of the label that x determines.
        copies: how many privileged columns.
        generator: every random draw comes from it; its device is that of the result.
        weight: A of an earlier draw, so that training and test data are of one task; drawn if not
            given.

    Returns:
        The examples, in torch's default floating type.

    Raises:
        InvalidInput: if an argument breaks its rule.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = dials(20_000, star_from_x=0.5, luck_in_star=1.0, generator=generator)
        >>> bool((data.x_star[:, 0] - data.y).abs().max() < 1e-5)  # p = q: x* is the label
        True
    """
    check_integer("n", n)
    check_integer("dimension", dimension, at_least=2)
    check_integer("copies", copies)
    shares = {"star_from_x": star_from_x, "luck_in_star": luck_in_star, "learnable": learnable}
    for name, share in shares.items():
        check_number(name, share, at_least=0, at_most=1)
    if weight is None:
        weight = torch.linalg.qr(linear_weight(2, dimension, generator).T).Q.T
    check_weight("weight", weight, (2, dimension))
    x = normal(n, dimension, generator)
    signal = (x @ weight.T).prod(1)  # orthonormal directions: mean 0, variance 1
    luck = normal(n, 1, generator)[:, 0]
    other = normal(n, copies, generator)
    p, r, q = star_from_x, luck_in_star, learnable
    shared = math.sqrt(p) * signal + math.sqrt((1 - p) * r) * luck
    return Dials(
        x=x,
        x_star=shared[:, None] + math.sqrt((1 - p) * (1 - r)) * other,
        y=math.sqrt(q) * signal + math.sqrt(1 - q) * luck,
        signal=signal,
        weight=weight,
    )
