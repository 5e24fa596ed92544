"""Means with intervals, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Mean(NamedTuple):
    """A mean over seeds with its 95 % interval (Student's t); NaN where one seed gives none."""

    value: float
    low: float
    high: float
    n: int

    def __format__(self, spec: str) -> str:
        if not self.n:
            return "*not run*"
        if self.n == 1:
            return f"{self.value:{spec}}"
        return f"{self.value:{spec}} ({self.low:{spec}} … {self.high:{spec}})"


def mean(values: Sequence[float]) -> Mean:
    """Mean and 95 % interval x̄ ± t₀.₉₇₅(n − 1) s/√n.

    Example:
        >>> f"{mean([1.0, 2.0, 3.0]):.2f}"
        '2.00 (-0.48 … 4.48)'
    """
    n = len(values)
    if n == 0:
        return Mean(math.nan, math.nan, math.nan, 0)
    centre = sum(values) / n
    if n == 1:
        return Mean(centre, math.nan, math.nan, 1)
    from scipy.stats import t

    deviation = math.sqrt(sum((v - centre) ** 2 for v in values) / (n - 1))
    half = float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    return Mean(centre, centre - half, centre + half, n)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table.

    Example:
        >>> print(markdown(["a", "b"], [["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"|{'|'.join(line)}|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines
    )
