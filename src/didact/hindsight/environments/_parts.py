"""Which environments are left out together, and from which runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .._split import Index

MOST_PARTS = 8
LeftOut = tuple[int, ...]
"""The parts that a run does not learn from, ascending: none, one or two."""


@dataclass(frozen=True)
class Parts:
    """Environments, dealt into parts that are left out one after the other.

    Attributes:
        names: of the environments.
        site: the environment of each row, ``[n]``.
        part: the part of each environment; up to eight environments are a part each.
    """

    names: tuple[str, ...]
    site: Index
    part: tuple[int, ...]

    @classmethod
    def of(cls, names: Sequence[str], site: Index) -> Parts:
        """The largest environments first, each to the part that has the fewest rows."""
        sizes = np.bincount(site, minlength=len(names))
        if len(names) <= MOST_PARTS:
            return cls(tuple(names), site, tuple(range(len(names))))
        part, filled = [0] * len(names), [0] * MOST_PARTS
        for e in sorted(range(len(names)), key=lambda e: (-sizes[e], e)):
            part[e] = filled.index(min(filled))
            filled[part[e]] += int(sizes[e])
        return cls(tuple(names), site, tuple(part))

    @property
    def count(self) -> int:
        """How many parts."""
        return max(self.part) + 1

    def members(self, part: int) -> list[int]:
        """The environments of a part."""
        return [e for e, own in enumerate(self.part) if own == part]

    def rows(self, parts: Sequence[int]) -> Index:
        """The rows of some parts, ascending."""
        return np.flatnonzero(np.isin(np.array(self.part)[self.site], list(parts)))

    def others(self, left_out: LeftOut) -> list[int]:
        """The parts that are not left out."""
        return [p for p in range(self.count) if p not in left_out]

    def judges(self, left_out: LeftOut) -> list[tuple[int, LeftOut]]:
        """By what settings are chosen without these parts: each part held out in turn, its run."""
        return [(p, tuple(sorted((*left_out, p)))) for p in self.others(left_out)]


def searched(parts: int) -> list[LeftOut]:
    """The runs of one trial: each part left out, and each two. A run without a and b is judged on b
    for the choice without a, and on a for the choice without b.

    >>> searched(3)
    [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    """
    return [left_out for k in (1, 2) for left_out in combinations(range(parts), k)]
