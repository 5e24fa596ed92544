"""A lower bound of the inconsistency of a minimum, by climbing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor
from torch.func import grad

from .._checks import check_integer, check_number
from ._consistency import Inconsistency, Loss, check_losses


def climbed_inconsistency(
    losses: Sequence[Loss],
    minimum: Tensor,
    *,
    epsilon: float,
    generator: torch.Generator,
    steps: int = 300,
    restarts: int = 4,
    rate: float = 0.1,
) -> Inconsistency:
    r"""A lower bound of the inconsistency, beyond second order: climb where e does not mind.

    For each ordered pair ``|L_e'(θ) − L_e(θ*)|`` is climbed from θ*, in steps that stay where
    ``|L_e(θ) − L_e(θ*)| ≤ ε``; at the edge the step is along it. What is reached is connected with
    θ*, so equation 1's maximum is at least that.

    Reference: Parascandolo, Neitz et al. 2021, equation 1.

    Args:
        losses, minimum, epsilon: as in :func:`inconsistency`.
        generator: of the first steps: at a minimum there is no slope to follow.
        steps: of each climb.
        restarts: climbs for each pair.
        rate: length of the first steps, as a share of |θ*| + 1; it adapts.

    Returns:
        The largest that was reached, of which pair, and the way there from the minimum.

    Raises:
        InvalidInput: fewer than two losses, no vector, a loss that is no finite scalar there, a
            number outside its range.

    Example:
        >>> a, b = torch.tensor([0.5, 1.0]), torch.tensor([1.0, 1.0])
        >>> losses = [lambda t: (a * t**2).sum() / 2, lambda t: (b * t**2).sum() / 2]
        >>> found = climbed_inconsistency(losses, torch.zeros(2), epsilon=0.1,
        ...                               generator=torch.Generator().manual_seed(0))
        >>> 0.19 < found.value <= 0.2001
        True
    """
    check_number("epsilon", epsilon, above=0)
    check_integer("steps", steps)
    check_integer("restarts", restarts)
    check_number("rate", rate, above=0)
    check_losses(losses, minimum)
    best = Inconsistency(-math.inf, (0, 1), None)
    for e, other in permutations(range(len(losses)), 2):
        level = float(losses[e](minimum))
        for _ in range(restarts):
            theta = _climb(
                losses[e], losses[other], minimum, level, epsilon, generator, steps, rate
            )
            value = abs(float(losses[other](theta)) - level)
            if value > best.value:
                best = Inconsistency(value, (e, other), theta - minimum)
    return best


def _climb(
    own: Loss,
    other: Loss,
    minimum: Tensor,
    level: float,
    epsilon: float,
    generator: torch.Generator,
    steps: int,
    rate: float,
) -> Tensor:
    theta, length = minimum, rate * (float(minimum.norm()) + 1)
    slope, edge = grad(other), grad(own)
    kick = torch.randn(minimum.shape, generator=generator).to(minimum)
    for k in range(steps):
        above = 1.0 if float(other(theta)) >= level else -1.0
        way = kick if k == 0 else above * slope(theta)
        outwards = math.copysign(1.0, float(own(theta)) - level) * edge(theta)
        near = abs(float(own(theta)) - level) > 0.9 * epsilon
        if near and float(way @ outwards) > 0:  # along the edge, a little inwards
            way = way - 1.01 * (way @ outwards) / (outwards @ outwards) * outwards
        size = float(way.norm())
        if not size > 0:
            break
        found = _inside(own, theta, way / size, length, level, epsilon)
        if found is None:
            length /= 4
            if length < 1e-12:
                break
            continue
        theta, length = found, min(2 * length, 10 * rate * (float(minimum.norm()) + 1))
    return theta


def _inside(
    own: Loss, theta: Tensor, way: Tensor, length: float, level: float, epsilon: float
) -> Tensor | None:
    """One step, if all of four points of it are where the environment does not mind."""
    points = [theta + share * length * way for share in (0.25, 0.5, 0.75, 1.0)]
    if all(abs(float(own(point)) - level) <= epsilon for point in points):
        return points[-1]
    return None
