"""Rows for training, for choosing and for judging: at random, by class or by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_integer, check_number, invalid

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Three sets of row numbers, each ascending, that together hold every row once.

    Weights and scales are learnt from ``train``; what the columns and the label hold (kinds,
    categories, bins) from ``train`` and ``validation`` together; nothing from ``test``.
    """

    train: Index
    validation: Index
    test: Index


def split(
    n: int,
    *,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int,
) -> Split:
    """Divide rows 0 … n−1 into training, validation and test.

    With ``groups``, no group spans two parts: groups come in a random order and fill test,
    then validation, until a part has its share of rows; training takes the rest. A group
    that would overshoot the share by more than half its rows is passed over, so that one
    giant group is trained on and not tested on. Which groups go where depends on their names
    and sizes and on the seed, not on the order of rows. With ``labels`` and no groups, every
    class is divided in the same proportions, and each part has every class.

    Args:
        n: Number of rows.
        groups: The group of each row, ``[n]``; names are compared as text.
        labels: The class of each row, ``[n]``; unused where groups are given.
        fractions: Shares of training, validation and test; they add up to 1.
        seed: Every draw is from ``numpy.random.default_rng(seed)``.

    Raises:
        InvalidInput: Fewer than three rows, groups, or rows of some class.

    Example:
        >>> parts = split(10, labels=[0] * 5 + [1] * 5, seed=0)
        >>> len(parts.train), len(parts.validation), len(parts.test)
        (6, 2, 2)
    """
    check_integer("n", n, at_least=3)
    if len(fractions) != 3 or abs(sum(fractions) - 1) > 1e-9:
        raise invalid("fractions", "three numbers that add up to 1", fractions)
    for fraction in fractions:
        check_number("fractions", fraction, above=0, below=1)
    (test, validation), train = _draw(n, (fractions[2], fractions[1]), groups, labels, seed)
    return Split(train, validation, test)


def resplit(
    split: Split,
    *,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    seed: int,
) -> Split:
    """Draw training and validation anew, in the same proportion; leave test as it is.

    Args:
        split: The split to start from.
        groups: The group of every row of the table, as given to :func:`split`.
        labels: The class of every row of the table, as given to :func:`split`.
        seed: Every draw is from ``numpy.random.default_rng(seed)``.

    Example:
        >>> first = split(10, seed=0)
        >>> again = resplit(first, seed=1)
        >>> bool((again.test == first.test).all()), len(again.validation)
        (True, 2)
    """
    pool = np.sort(np.concatenate([split.train, split.validation]))
    share = len(split.validation) / len(pool)
    groups = None if groups is None else np.asarray(groups, dtype=object)[pool]
    labels = None if labels is None else np.asarray(labels, dtype=object)[pool]
    (validation,), train = _draw(len(pool), (share,), groups, labels, seed)
    return Split(pool[train], pool[validation], split.test)


def _draw(
    n: int,
    shares: tuple[float, ...],
    groups: ArrayLike | None,
    labels: ArrayLike | None,
    seed: int,
) -> tuple[list[Index], Index]:
    """One part of about ``share · n`` rows for each share, and the rest."""
    rng = np.random.default_rng(seed)
    if groups is not None:
        return _by_group(_members("groups", groups, n), n, shares, rng)
    members = [np.arange(n)] if labels is None else _members("labels", labels, n)
    parts: list[list[Index]] = [[] for _ in range(len(shares) + 1)]
    for rows in members:
        if len(rows) <= len(shares):
            raise invalid("labels", f"at least {len(shares) + 1} rows of each class", len(rows))
        rest = rng.permutation(rows)
        for later, (part, share) in enumerate(zip(parts, shares, strict=False)):
            most = len(rest) - (len(shares) - later)  # one row each for the parts to come
            take = min(max(round(share * len(rows)), 1), most)
            part.append(rest[:take])
            rest = rest[take:]
        parts[-1].append(rest)
    *drawn, rest = (np.sort(np.concatenate(part)) for part in parts)
    return drawn, rest


def _members(parameter: str, keys: ArrayLike, n: int) -> list[Index]:
    """Rows of each distinct key, keys in the order of their text."""
    import pandas as pd

    flat = np.asarray(keys, dtype=object)
    if flat.shape != (n,):
        raise invalid(parameter, f"one per row, {n} in all", flat.shape)
    missing = np.flatnonzero(pd.isna(flat))
    if len(missing):
        found = f"{len(missing)} missing, first in row {missing[0] + 1}"
        raise invalid(parameter, "given for every row", found)
    _, codes = np.unique(np.array([str(key) for key in flat]), return_inverse=True)
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


def _by_group(
    members: list[Index], n: int, shares: tuple[float, ...], rng: np.random.Generator
) -> tuple[list[Index], Index]:
    if len(members) <= len(shares):
        raise invalid("groups", f"at least {len(shares) + 1} different ones", len(members))
    waiting = [members[i] for i in rng.permutation(len(members))]
    drawn: list[Index] = []
    for later, share in enumerate(shares):
        most = len(waiting) - (len(shares) - later)
        taken: list[int] = []
        rows = 0
        for i, group in enumerate(waiting):
            if len(taken) < most and rows + len(group) / 2 <= share * n:
                taken.append(i)
                rows += len(group)
        if not taken:
            taken = [min(range(len(waiting)), key=lambda i: len(waiting[i]))]
        drawn.append(np.sort(np.concatenate([waiting[i] for i in taken])))
        waiting = [group for i, group in enumerate(waiting) if i not in set(taken)]
    return drawn, np.sort(np.concatenate(waiting))
