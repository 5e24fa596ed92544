"""How exploration and teacher forcing fade over the updates."""

from __future__ import annotations

import math

from .._checks import check_integer, check_number


def linear(i: int, over: float) -> float:
    """From 1 to 0 in a straight line, then 0: ``max(0, 1 − i / over)``.

    The paper's exploration μ(i), over 7,500 to 15,000 updates.

    Args:
        i: updates so far, 0 or more.
        over: updates until 0.

    Raises:
        InvalidInput: a negative or fractional ``i``, an ``over`` that is not positive.

    Example:
        >>> linear(0, 1000), linear(250, 1000), linear(5000, 1000)
        (1.0, 0.75, 0.0)
    """
    return max(0.0, 1.0 - _share(i, over))


def reciprocal(i: int, over: float) -> float:
    """From 1 towards 0, fast at first: ``1 / (1 + 5 i / over)``.

    The paper's teacher forcing ε(i) (scheduled sampling), with ``over`` of 15,000 to 20,000.

    Arguments and errors as in :func:`linear`; at ``over`` it is 1/6.

    Example:
        >>> reciprocal(0, 1000), reciprocal(200, 1000), reciprocal(1000, 1000) == 1 / 6
        (1.0, 0.5, True)
    """
    return 1.0 / (1.0 + 5.0 * _share(i, over))


def cosine(i: int, over: float) -> float:
    """From 1 to 0, slow at both ends, then 0: ``(1 + cos(π min(1, i / over))) / 2``.

    Arguments and errors as in :func:`linear`.

    Example:
        >>> cosine(0, 1000), cosine(500, 1000), cosine(5000, 1000)
        (1.0, 0.5, 0.0)
    """
    return (1.0 + math.cos(math.pi * min(1.0, _share(i, over)))) / 2.0


def _share(i: int, over: float) -> float:
    return check_integer("i", i, at_least=0) / check_number("over", over, above=0)
