"""Which privileged columns matter: each in turn gets the values of other rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ._output import Output
from ._rows import Rows, some

MOST_ROWS = 512
MOST_COLUMNS = 64


def sensitivity(
    teacher: nn.Module, rows: Rows, columns: Mapping[str, Sequence[int]], seed: int
) -> dict[str, float]:
    """How much of what a teacher says depends on each column: Sobol's total-effect index.

    ``E (T(x*) − T(x*'))² / (2 Var T(x*))``, with x*' the row x* in which the column has the values
    of another row; squares and variances are summed over outputs. 0: the teacher does not look at
    the column; 1: it looks at nothing else (of independent columns; interactions count for
    each). Rows in time swap a column at all times at once. Where the teacher
    overflows there is no index, and the column is left out.

    References:
        M. Jansen, "Analysis of variance designs for model output", Computer Physics
        Communications 117 (1999), 35-43.

    Args:
        teacher: of x*.
        rows: at most 512 of them are looked at.
        columns: name → features of x* that come from the column.
        seed: of the permutations.
    """
    teacher.eval()
    with torch.no_grad():
        examples = some(rows, MOST_ROWS)
        x_star = rows.privileged(examples)
        said = teacher(x_star)
        spread = 2 * float(said.var(0, correction=0).sum())

        def index(other: Tensor) -> float:
            return float((said - teacher(other)).square().mean(0).sum()) / spread if spread else 0.0

        return _finite((name, index(other)) for name, other in _permuted(x_star, columns, seed))


def reliance(
    student: nn.Module, rows: Rows, output: Output, columns: Mapping[str, Sequence[int]], seed: int
) -> dict[str, float]:
    """How much the loss of a student that sees x* rises if a column has the values of other rows.

    Args:
        student: the oracle.
        rows: with ``hindsight``; at most 512 of them are looked at.
        output: what the student's last layer means.
        columns: name → features of x* that come from the column.
        seed: of the permutations.
    """
    student.eval()
    with torch.no_grad():
        examples = some(rows, MOST_ROWS)
        alone = replace(rows, hindsight=False).features(examples)
        y, label = rows.y[examples], rows.label[examples]

        def loss(x_star: Tensor) -> float:
            logits, _ = student(torch.cat([alone, x_star.flatten(1)], 1))
            return float(output.judge(logits, y, label).mean())

        x_star = rows.privileged(examples)
        usual = loss(x_star)
        return _finite(
            (name, loss(other) - usual) for name, other in _permuted(x_star, columns, seed)
        )


def _finite(found: Iterable[tuple[str, float]]) -> dict[str, float]:
    return {name: value for name, value in found if math.isfinite(value)}


def foremost(
    rows: Rows, columns: Mapping[str, Sequence[int]], most: int = MOST_COLUMNS
) -> dict[str, Sequence[int]]:
    """The columns to look at: at most ``most``, those that go most with the label, one by one.

    A column goes with the label as far as its mean differs between the classes, or the bins, of
    the label: the share of its variance that lies between them (the correlation ratio). Rows in
    time count with their mean over time.

    Args:
        rows: at most 512 of them are looked at.
        columns: name → features of x* that come from the column; its best one counts.
        most: columns to keep, in the order in which they came.
    """
    if len(columns) <= most:
        return dict(columns)
    examples = some(rows, MOST_ROWS)
    x = rows.privileged(examples).double()
    x = x.mean(1) if rows.horizon else x
    x = x - x.mean(0)
    member = nn.functional.one_hot(rows.y[examples]).double()
    between = ((member.T @ x).square() / member.sum(0).clamp(min=1)[:, None]).sum(0)
    strength = (between / (x.square().sum(0) + 1e-12)).tolist()
    order = sorted(columns, key=lambda name: -max((strength[i] for i in columns[name]), default=0))
    chosen = set(order[:most])
    return {name: where for name, where in columns.items() if name in chosen}


def _permuted(
    x_star: Tensor, columns: Mapping[str, Sequence[int]], seed: int
) -> Iterator[tuple[str, Tensor]]:
    """x* with the values of other rows in one column after another."""
    generator = torch.Generator().manual_seed(seed)
    for name, where in columns.items():
        order = torch.randperm(len(x_star), generator=generator).to(x_star.device)
        other = x_star.clone()
        other[..., list(where)] = x_star[order][..., list(where)]
        yield name, other
