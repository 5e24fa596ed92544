"""Encoded rows, and the examples cut out of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_CHUNK = 8192


@dataclass(frozen=True)
class Rows:
    """Examples: where each has its present, and the features of all rows of the table.

    Of a table an example is a row. Of a series it is a row with ``history`` rows behind it, itself
    included, as inputs, and the ``horizon − 1`` rows before it, which end before the label's, as
    privileged information. Windows are cut when they are asked for: they overlap, and kept they
    would take ``history`` times the table.

    Args:
        x: features of every row of the table, ``[rows, F]``.
        x_star: privileged features of every row, ``[rows, F*]``.
        present: the row of each example, ``[n]``.
        y: class or bin of each example, ``[n]``.
        label: the number as students see it, ``[n]``.
        history: rows of the past, the present included; 1 for a table.
        horizon: rows from the present to the label's; 0 for a table.
        hindsight: whether the inputs hold x* too, as the oracle's do.
    """

    x: Tensor
    x_star: Tensor
    present: Tensor
    y: Tensor
    label: Tensor
    history: int = 1
    horizon: int = 0
    hindsight: bool = False

    def __len__(self) -> int:
        return len(self.y)

    @property
    def steps(self) -> int:
        """Rows of the future in x*; 0 for a table, whose x* has no time axis."""
        return self.horizon - 1 if self.horizon else 0

    @property
    def n_privileged(self) -> int:
        """Numbers in x* of an example."""
        return self.x_star.shape[1] * max(self.steps, 1)

    @property
    def n_features(self) -> int:
        """Numbers in x of an example."""
        return self.x.shape[1] * self.history + (self.n_privileged if self.hindsight else 0)

    def only(self, examples: Tensor) -> Rows:
        """Some of the examples."""
        parts = {name: getattr(self, name)[examples] for name in ("present", "y", "label")}
        return replace(self, **parts)

    def features(self, examples: Tensor) -> Tensor:
        """x of some examples, the oldest row first: ``[..., history · F]``."""
        at = self.present[examples]
        if self.history == 1:
            x = self.x[at]
        else:
            past = torch.arange(1 - self.history, 1, device=at.device)
            x = self.x[at[..., None] + past].flatten(-2)
        if self.hindsight:
            later = self.privileged(examples)
            x = torch.cat([x, later.flatten(-2) if self.horizon else later], -1)
        return x

    def privileged(self, examples: Tensor) -> Tensor:
        """x* of some examples: ``[..., F*]``, or in time ``[..., horizon − 1, F*]``."""
        at = self.present[examples]
        if not self.horizon:
            return self.x_star[at]
        return self.x_star[at[..., None] + torch.arange(1, self.horizon, device=at.device)]

    def chunks(self) -> list[Tensor]:
        """All examples, by numbers, in parts that fit in memory."""
        every = torch.arange(len(self), device=self.y.device)
        return list(torch.split(every, max(1, _CHUNK * 256 // max(256, self.n_features))))


def some(rows: Rows, most: int) -> Tensor:
    """At most that many examples, drawn from all, always the same; a table may be sorted."""
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:most]
    return chosen.sort().values.to(rows.y.device)
