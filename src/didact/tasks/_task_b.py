"""Task B of the LDT paper: the label is a draw, the privileged information says how likely."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from .._checks import check_integer, check_number
from ._draw import check_weight, linear_weight, normal


class TaskB(NamedTuple):
    """One draw of task B.

    Args:
        x: ``[n, dimension]``, the input.
        x_star: ``[n, privileged]``, privileged: the logits, mixed.
        y: ``[n]``, the class, an integer in 0 … classes − 1.
        h: ``[n, classes]``, the logits that y was drawn from; no method may see them.
        weight: ``[classes, dimension]``, the matrix A.
        mixing: ``[privileged, classes]``, the matrix B.
    """

    x: Tensor
    x_star: Tensor
    y: Tensor
    h: Tensor
    weight: Tensor
    mixing: Tensor


def task_b(
    n: int,
    dimension: int = 128,
    *,
    classes: int = 4,
    privileged: int = 32,
    logit_scale: float = 1.0,
    generator: Generator,
    weights: tuple[Tensor, Tensor] | None = None,
) -> TaskB:
    """Draw examples whose class is drawn from logits that privileged information contains.

    x ∼ N(0, I),   h = c A x,   y ∼ Cat(softmax h),   x* = B h,

    A ∼ U(−1/√D, 1/√D),   B ∼ U(−1/√d_h, 1/√d_h).

    The label is one noisy draw; x* holds the whole distribution, turned into other coordinates.

    Reference: Neitz, Parascandolo, Schölkopf, "A teacher-student framework to distill future
    trajectories", ICLR 2021, section 4.1.

    Args:
        n: how many examples; the paper trains on 1,000.
        dimension: D, the size of x.
        classes: d_h, the number of classes and logits.
        privileged: d_p, the size of x*.
        logit_scale: c. The paper's text has 1; the authors' code multiplies the logits by 3, which
            makes labels less noisy.
        generator: every random draw comes from it; its device is that of the result.
        weights: ``(weight, mixing)`` of an earlier draw, so that training and test data are of one
            task; drawn if not given.

    Returns:
        The examples, in torch's default floating type.

    Raises:
        InvalidInput: if a size or the scale is not positive or a matrix has another shape.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> train = task_b(1000, generator=generator)
        >>> test = task_b(500, generator=generator, weights=(train.weight, train.mixing))
        >>> test.x.shape, test.x_star.shape, test.y.shape
        (torch.Size([500, 128]), torch.Size([500, 32]), torch.Size([500]))
    """
    check_integer("n", n)
    check_integer("dimension", dimension)
    check_integer("classes", classes, at_least=2)
    check_integer("privileged", privileged)
    check_number("logit_scale", logit_scale, above=0)
    if weights is None:
        weight = linear_weight(classes, dimension, generator)
        mixing = linear_weight(privileged, classes, generator)
    else:
        weight, mixing = weights
    check_weight("weights[0]", weight, (classes, dimension))
    check_weight("weights[1]", mixing, (privileged, classes))
    x = normal(n, dimension, generator)
    h = logit_scale * (x @ weight.T)
    y = torch.multinomial(h.softmax(dim=1), 1, generator=generator).squeeze(1)
    return TaskB(x=x, x_star=h @ mixing.T, y=y, h=h, weight=weight, mixing=mixing)
