"""Which privileged columns matter: each in turn gets the values of other rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ._output import Output
from ._rows import Rows

MOST_ROWS = 512
MOST_COLUMNS = 64


def sensitivity(
    teacher: nn.Module, rows: Rows, columns: Mapping[str, Sequence[int]], seed: int
) -> dict[str, float]:
    """How much of what a teacher says hangs on each column: Sobol's total-effect index.

    ``E (T(x*) − T(x*'))² / (2 Var T(x*))``, with x*' the row x* in which the column has the values
    of another row; squares and variances are summed over outputs. 0: the teacher does not look at
    the column; 1: it looks at nothing else (of independent columns; interactions count for
    each). Rows in time swap a column at all times at once.

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
        examples = torch.arange(min(len(rows), MOST_ROWS), device=rows.y.device)
        x_star = rows.privileged(examples)
        said = teacher(x_star)
        spread = 2 * float(said.var(0, correction=0).sum())
        return {
            name: float((said - teacher(other)).square().mean(0).sum()) / spread if spread else 0.0
            for name, other in _permuted(x_star, columns, seed)
        }


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
        examples = torch.arange(min(len(rows), MOST_ROWS), device=rows.y.device)
        alone = replace(rows, hindsight=False).features(examples)
        y, label = rows.y[examples], rows.label[examples]

        def loss(x_star: Tensor) -> float:
            logits, _ = student(torch.cat([alone, x_star.flatten(1)], 1))
            return float(output.judge(logits, y, label).mean())

        x_star = rows.privileged(examples)
        usual = loss(x_star)
        return {name: loss(other) - usual for name, other in _permuted(x_star, columns, seed)}


def foremost(rows: Rows, columns: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    """The columns to look at: of more than 64 those that go most with the label, one by one."""
    if len(columns) <= MOST_COLUMNS:
        return dict(columns)
    examples = torch.arange(min(len(rows), MOST_ROWS), device=rows.y.device)
    x = rows.privileged(examples).double()
    x = x.mean(1) if rows.horizon else x
    y = torch.stack([rows.label[examples].double(), rows.y[examples].double()], 1)
    x, y = x - x.mean(0), y - y.mean(0)
    with_label = (x.T @ y).abs() / (x.norm(dim=0)[:, None] * y.norm(dim=0) + 1e-12)
    strength = with_label.amax(1).tolist()
    order = sorted(columns, key=lambda name: -max((strength[i] for i in columns[name]), default=0))
    chosen = set(order[:MOST_COLUMNS])
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
