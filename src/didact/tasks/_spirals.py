"""Spirals with shortcuts: what holds everywhere is hard to learn, what holds here is easy."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from .._checks import check_integer, check_number
from ._draw import normal

LEAST, MOST, NOISE = 0.08, 1.0, 0.02
"""Radii, and how far one of them is moved at most."""


class Spirals(NamedTuple):
    """One draw.

    Args:
        x: ``[n · environments, 2 + shortcut]``: mechanism, then shortcut.
        y: ``[n · environments]``, the class, 0 or 1.
        environment: ``[n · environments]``, its number, ascending.
    """

    x: Tensor
    y: Tensor
    environment: Tensor


def spirals(
    n: int,
    environments: int = 32,
    *,
    shortcut: int = 32,
    shortcut_scale: float = 1.0,
    revolutions: float = 3.0,
    generator: Generator,
) -> Spirals:
    r"""Draw two interleaved spirals, and beside them what gives the class away here and only here.

    ``x = (s ρ cos φ, s ρ sin φ, ±x_e)``, ``φ = 2π n r + π y``, ``ρ = r + u``,

    r ∼ U(0.08, 1), u ∼ U(−0.02, 0.02), x_e ∼ N(0, σ²) one vector for each environment, + for
    class 1 and − for class 0; s makes the variance of the mechanism's two coordinates 1. The
    spirals are the same in all environments. ``spirals(1, n)``, each example from an environment of
    its own, is test data: its shortcuts say nothing.

    Reference: Parascandolo, Neitz et al., "Learning explanations that are hard to vary", ICLR 2021,
    section 3.1. n, not stated there, and s are those of the authors' code.

    Args:
        n: examples of each environment; the paper has 1,280.
        environments: how many.
        shortcut: size of x_e.
        shortcut_scale: σ. The paper has N(0, 0.1) beside spirals that are not scaled: σ = 0.74 here
            if 0.1 is a variance; the authors' code has 1.
        revolutions: n, of each spiral.
        generator: every random draw comes from it; its device is that of the result.

    Returns:
        The examples, in torch's default floating type.

    Raises:
        InvalidInput: if a size is not positive or a scale negative.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> train = spirals(1280, 32, generator=generator)
        >>> test = spirals(1, 2000, generator=generator)
        >>> train.x.shape, test.x.shape, int(train.environment.max())
        (torch.Size([40960, 34]), torch.Size([2000, 34]), 31)
    """
    check_integer("n", n)
    check_integer("environments", environments)
    check_integer("shortcut", shortcut, at_least=0)
    check_number("shortcut_scale", shortcut_scale, at_least=0)
    check_number("revolutions", revolutions, above=0)
    rows, device = n * environments, generator.device
    unit, moved = torch.rand(2, rows, generator=generator, device=device)
    y = torch.randint(2, (rows,), generator=generator, device=device)
    radius = LEAST + (MOST - LEAST) * unit
    angle = 2 * math.pi * revolutions * radius + math.pi * y
    radius = (radius + NOISE * (2 * moved - 1)) / _deviation()
    own = shortcut_scale * normal(environments, shortcut, generator)
    environment = torch.arange(environments, device=device).repeat_interleave(n)
    x = torch.cat(
        [
            torch.stack([radius * angle.cos(), radius * angle.sin()], 1),
            (2 * y - 1).to(own.dtype)[:, None] * own[environment],
        ],
        dim=1,
    )
    return Spirals(x=x, y=y, environment=environment)


def _deviation() -> float:
    """√(E ρ² / 2), that of a coordinate if all angles are as likely."""
    square = (MOST**3 - LEAST**3) / (3 * (MOST - LEAST)) + NOISE**2 / 3
    return math.sqrt(square / 2)
