"""Columns become numbers and codes, and inside the model numbers and codes become features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .._checks import InvalidInput, invalid, listed
from .._table import texts
from ..export import FIRST, MISSING, OTHER
from ._columns import Column, float32

if TYPE_CHECKING:
    import pandas as pd

CLIP = 10.0


@dataclass(frozen=True)
class Codes:
    """A table as two tensors, the one thing an exported model is fed.

    Attributes:
        numeric: The numeric columns less their origins, float32 ``[n, N]``, NaN where missing.
        codes: The categorical columns, int64 ``[n, C]``: 0 a category that is not among the
            column's; 1 missing; 2, 3, … the column's categories in order.

    Example:
        >>> import pandas as pd
        >>> columns = [Column("age", "numeric"), Column("sex", "categorical", ("f", "m"))]
        >>> Codes.of(pd.DataFrame({"sex": ["m", None, "x"], "age": [1.5, 2.0, None]}), columns)
        Codes(numeric=tensor([[1.5000],
                [2.0000],
                [   nan]]), codes=tensor([[3],
                [1],
                [0]]))
    """

    numeric: Tensor
    codes: Tensor

    @classmethod
    def of(cls, frame: pd.DataFrame, columns: Sequence[Column]) -> Codes:
        """Read the columns off a table that may have more, in any order.

        Raises:
            InvalidInput: A column is not there, or a cell of a numeric column is infinite or
                not a number; the message names column and row.
        """
        absent = [column.name for column in columns if column.name not in frame.columns]
        if absent:
            raise InvalidInput(
                f"Parameter `data` should be a table with the columns that the model takes. "
                f"Missing: {listed(absent)}; there are {listed(frame.columns)}."
            )
        numeric = [float32(frame[c.name], c) for c in columns if c.kind == "numeric"]
        codes = [_codes(frame[c.name], c) for c in columns if c.kind == "categorical"]
        none = np.empty((len(frame), 0))
        return cls(
            torch.from_numpy(np.stack(numeric, axis=1) if numeric else none.astype(np.float32)),
            torch.from_numpy(np.stack(codes, axis=1) if codes else none.astype(np.int64)),
        )

    def __len__(self) -> int:
        return len(self.numeric)

    def __getitem__(
        self, rows: slice | Tensor | np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> Codes:
        """The rows asked for."""
        return Codes(self.numeric[rows], self.codes[rows])

    def windows(self, present: Tensor, history: int) -> Codes:
        """``history`` rows up to each of those asked for, oldest first: ``[n, history, …]``."""
        return self[present[:, None] + torch.arange(1 - history, 1)]


def _codes(cells: pd.Series, column: Column) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    known: dict[str | None, int] = {None: MISSING}
    known |= {category: FIRST + i for i, category in enumerate(column.categories)}
    return np.array([known.get(word, OTHER) for word in texts(cells)], dtype=np.int64)


class Encoder(nn.Module):
    """Features of a row: standardised numbers, signs of what is missing, one-hot categories.

    With mean μ and deviation σ of the training rows, numeric column j becomes
    clip((x_j − μ_j)/σ_j, −10, 10), and 0 where x_j is missing. Each numeric column with
    missing training values adds one feature, 1 where it is missing; each categorical column
    adds one per code that occurs in the training rows, be it 0 ("other") or 1 ("missing").
    A code that does not occur there is 0 in all of them: a feature of its own would be
    constant in training, and its weights would stay as they were drawn. Statistics are
    buffers: they travel with the model, and nothing has to be prepared outside it.

    Shapes: ``numeric: [n, N]``, ``codes: [n, C]`` → ``features: [n, n_features]``, float32.

    Args:
        mean: μ, ``[N]``.
        scale: σ, ``[N]``, positive.
        has_missing: Which numeric columns get a sign of what is missing, bool ``[N]``.
        seen: The codes of each categorical column that get a feature, ``C`` sequences.

    Example:
        >>> columns = [Column("age", "numeric"), Column("sex", "categorical", ("f", "m"))]
        >>> numeric = torch.tensor([[1.0], [3.0], [torch.nan]])
        >>> codes = torch.tensor([[2], [3], [1]])
        >>> Encoder.fit(columns, numeric, codes)(numeric, codes)
        tensor([[-1.,  0.,  0.,  1.,  0.],
                [ 1.,  0.,  0.,  0.,  1.],
                [ 0.,  1.,  1.,  0.,  0.]])
    """

    mean: Tensor
    scale: Tensor
    has_missing: Tensor
    missing_columns: Tensor
    code_columns: Tensor
    code_values: Tensor

    def __init__(
        self, mean: Tensor, scale: Tensor, has_missing: Tensor, seen: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        code_columns = [column for column, values in enumerate(seen) for _ in values]
        code_values = [value for values in seen for value in values]
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.register_buffer("has_missing", has_missing)
        # Selecting by a mask has a shape that depends on data, which no exporter follows.
        self.register_buffer("missing_columns", has_missing.nonzero().squeeze(1))
        self.register_buffer("code_columns", torch.tensor(code_columns, dtype=torch.int64))
        self.register_buffer("code_values", torch.tensor(code_values, dtype=torch.int64))
        self.n_features = len(mean) + len(self.missing_columns) + len(code_columns)
        self.sources = (
            [("numeric", j) for j in range(len(mean))]
            + [("numeric", int(j)) for j in self.missing_columns]
            + [("categorical", j) for j in code_columns]
        )

    def features_of(self, columns: Sequence[Column]) -> dict[str, list[int]]:
        """Which features come from each column; a column may have none."""
        places = {"numeric": 0, "categorical": 0}
        found: dict[str, list[int]] = {}
        for column in columns:
            source = (column.kind, places[column.kind])
            places[column.kind] += 1
            found[column.name] = [i for i, other in enumerate(self.sources) if other == source]
        return found

    @classmethod
    def fit(cls, columns: Sequence[Column], numeric: Tensor, codes: Tensor) -> Encoder:
        """Statistics of the training rows, in float64; a scale too small to divide by is 1."""
        n_numeric = sum(column.kind == "numeric" for column in columns)
        wanted = (n_numeric, len(columns) - n_numeric)
        if (numeric.shape[1], codes.shape[1]) != wanted or not len(numeric):
            found = (tuple(numeric.shape), tuple(codes.shape))
            raise invalid("numeric, codes", f"rows of {wanted[0]} and {wanted[1]} columns", found)
        there = ~numeric.isnan()
        count = there.sum(0).clamp(min=1)
        x = numeric.double()
        mean = x.where(there, 0).sum(0) / count
        scale = ((x - mean).where(there, 0).square().sum(0) / count).sqrt().float()
        scale = scale.where(scale >= torch.finfo(torch.float32).tiny, 1)
        seen = [sorted(set(column.tolist())) for column in codes.unbind(1)]
        return cls(mean.float(), scale, ~there.all(0), seen)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Features ``[..., n_features]`` of ``numeric`` ``[..., N]`` and ``codes`` ``[..., C]``."""
        parts = []
        if len(self.mean):
            gone = numeric.isnan()
            z = ((numeric - self.mean) / self.scale).clamp(-CLIP, CLIP)
            parts += [z.masked_fill(gone, 0.0)]
            if len(self.missing_columns):
                parts += [gone[..., self.missing_columns].float()]
        if len(self.code_values):
            parts += [(codes[..., self.code_columns] == self.code_values).float()]
        return torch.cat(parts, dim=-1) if parts else numeric
