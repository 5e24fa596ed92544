"""Which columns matter, for functions of which it is known."""

import numpy as np
import pytest
import torch
from torch import nn

from didact.hindsight._importance import (
    MOST_COLUMNS,
    MOST_ROWS,
    foremost,
    reliance,
    sensitivity,
)
from didact.hindsight._output import Output
from didact.hindsight._rows import Rows, some


def rows_of(x_star, label=None, *, x=None, y=None, hindsight=False, **series):
    n = len(x_star)
    x = torch.zeros(n, 2) if x is None else x
    label = torch.zeros(n) if label is None else label
    y = torch.zeros(n, dtype=torch.int64) if y is None else y
    present = series.pop("present", torch.arange(n))
    return Rows(x, x_star, present, y, label, **series, hindsight=hindsight)


def uncorrelated(n, columns, seed=0):
    """Columns with mean 0 and no covariance at all in these rows, of variances 1, 4, 9, …"""
    x = torch.randn(n, columns, generator=torch.Generator().manual_seed(seed)).double()
    q, _ = torch.linalg.qr(x - x.mean(0))
    return (q * n**0.5 * torch.arange(1, columns + 1)).float()


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def mean_over_seeds(function, seeds=200):
    """One permutation is an estimate; the mean over many is the index."""
    found = [function(seed) for seed in range(seeds)]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def test_sensitivity_to_a_linear_function_is_its_share_of_the_variance():
    x = uncorrelated(400, 4)
    weight = torch.tensor([[2.0, 1.0, 0.5, 0.0], [-1.0, 0.0, 1.0, 0.0]])  # two outputs
    teacher = Function(lambda z: z @ weight.T + 7)
    columns = {f"c{j}": [j] for j in range(4)}
    rows = rows_of(x)
    found = mean_over_seeds(lambda seed: sensitivity(teacher, rows, columns, seed))
    part = weight.square() * x.var(0, correction=0)  # a_j² Var x_j, by output
    expected = part.sum(0) / part.sum()
    assert list(found) == ["c0", "c1", "c2", "c3"]
    assert list(found.values()) == pytest.approx(expected.tolist(), rel=0.03)
    assert found["c3"] == 0
    assert sensitivity(teacher, rows, columns, 3) == sensitivity(teacher, rows, columns, 3)


def test_an_interaction_counts_for_each_of_its_columns():
    x = torch.tensor([[a, b, c] for a in (-1.0, 1) for b in (-1.0, 1) for c in (-1.0, 1)] * 25)
    teacher = Function(lambda z: z[:, :1] * z[:, 1:2])
    columns = {"a": [0], "b": [1], "c": [2]}
    found = mean_over_seeds(lambda seed: sensitivity(teacher, rows_of(x), columns, seed))
    assert found["a"] == pytest.approx(1, rel=0.03)
    assert found["b"] == pytest.approx(1, rel=0.03)
    assert found["c"] == 0


def test_features_of_one_column_move_together():
    """Of a category in one-hot features no row may get two values, or none."""
    x = torch.eye(3).repeat(100, 1)
    seen = []

    def teacher(z):
        seen.append(z.sum(1))
        return z @ torch.tensor([[1.0], [5.0], [2.0]])

    found = sensitivity(Function(teacher), rows_of(x), {"category": [0, 1, 2], "none": []}, 0)
    assert torch.stack(seen).eq(1).all()
    assert found["category"] == pytest.approx(1, abs=0.2)
    assert found["none"] == 0


def test_in_a_series_a_column_is_swapped_at_all_times_at_once():
    """A walk far from zero: swapped at one time alone its change would be enormous."""
    generator = torch.Generator().manual_seed(0)
    walk = 1000 * torch.randn(1, generator=generator) + torch.cumsum(
        torch.randn(300, 1, generator=generator), 0
    )
    x_star = torch.cat([walk, torch.randn(300, 1, generator=generator)], 1)
    rows = rows_of(x_star, present=torch.arange(295), horizon=4, y=torch.zeros(295).long())
    teacher = Function(lambda z: z[:, 2, :1] - z[:, 0, :1])
    columns = {"walk": [0], "noise": [1]}
    found = mean_over_seeds(lambda seed: sensitivity(teacher, rows, columns, seed), 50)
    assert rows.privileged(torch.arange(3)).shape == (3, 3, 2)
    assert found["walk"] == pytest.approx(1, abs=0.03)
    assert found["noise"] == 0


def test_a_teacher_that_says_nothing_and_one_that_overflows():
    x, columns = uncorrelated(50, 2), {"a": [0], "b": [1]}
    constant = Function(lambda z: torch.ones(len(z), 3))
    assert sensitivity(constant, rows_of(x), columns, 0) == {"a": 0.0, "b": 0.0}
    assert sensitivity(Function(lambda z: z / 0), rows_of(x), columns, 0) == {}


def test_the_teacher_is_asked_without_dropout():
    teacher = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.9), nn.Linear(4, 1)).train()
    found = [sensitivity(teacher, rows_of(uncorrelated(50, 2)), {"a": [0]}, 0) for _ in range(2)]
    assert found[0] == found[1]


def test_reliance_on_the_one_column_that_is_used():
    """The oracle says x*₁, the label: without it the squared error is twice its variance."""
    x_star = uncorrelated(300, 3)
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    rows = rows_of(x_star, x_star[:, 1], x=x, hindsight=True)
    student = Function(lambda z: (z[:, 3:4], ()))
    columns = {f"c{j}": [j] for j in range(3)}
    output = Output(1, plain=True)
    found = mean_over_seeds(lambda seed: reliance(student, rows, output, columns, seed))
    assert found["c1"] == pytest.approx(2 * 4, rel=0.03)
    assert found["c0"] == found["c2"] == 0
    others = Function(lambda z: (z[:, :1], ()))
    assert set(reliance(others, rows, output, columns, 0).values()) == {0.0}


def test_reliance_in_log_loss_and_in_time():
    """Of a series: what the oracle gets is what it was trained with, rows of the future flat."""
    generator = torch.Generator().manual_seed(0)
    x_star = torch.randn(220, 2, generator=generator)
    present = torch.arange(3, 200)
    y = (x_star[present + 2, 1] > 0).long()  # the second row of the future
    x = torch.randn(220, 3, generator=generator)
    rows = rows_of(
        x_star, y.float(), x=x, y=y, present=present, history=2, horizon=4, hindsight=True
    )
    student = Function(lambda z: (torch.stack([-9 * z[:, 6 + 3], 9 * z[:, 6 + 3]], 1), ()))
    assert rows.n_features == 6 + 6
    features = rows.features(torch.arange(len(rows)))
    assert torch.equal(features[:, 6 + 3], x_star[present + 2, 1])
    found = reliance(student, rows, Output(2), {"a": [0], "b": [1]}, 0)
    assert found["a"] == 0
    assert found["b"] > 1


def wide(columns=100, n=400):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, columns, generator=generator)
    label = torch.randn(n, generator=generator)
    y = torch.bucketize(label, torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    return x, label, y


def test_up_to_64_columns_are_all_looked_at_in_their_order():
    x, label, y = wide()
    names = {f"c{99 - j}": [j] for j in range(MOST_COLUMNS)}
    assert foremost(rows_of(x, label, y=y), names) == names
    assert MOST_COLUMNS == 64


def test_of_more_columns_those_that_go_with_the_label():
    x, label, y = wide()
    x[:, 98] = label + 0.1 * x[:, 98]
    x[:, 3] = -label + 0.1 * x[:, 3]
    x[:, 57] = 5.0  # constant: it tells nothing
    names = {f"c{j}": [j] for j in range(100)}
    rows = rows_of(x, label, y=y)
    found = foremost(rows, names)
    assert len(found) == 64
    assert list(found) == sorted(found, key=lambda name: int(name[1:]))
    assert {"c3", "c98"} <= set(found)
    assert "c57" not in found
    assert list(foremost(rows, names, 2)) == ["c3", "c98"]
    assert foremost(rows, {"both": [98, 4], "empty": [], "noise": [5]}, 1) == {"both": [98, 4]}


def test_a_column_that_tells_the_middle_class_is_found():
    """Classes have no order: a correlation with their numbers would not see it."""
    x, _, _ = wide(80)
    y = torch.arange(400) % 3
    x[:, 70] = (y == 1).float()
    label = (y - 1).float()
    assert abs(float(np.corrcoef(x[:, 70], label)[0, 1])) < 0.01
    names = {f"c{j}": [j] for j in range(80)}
    assert list(foremost(rows_of(x, label, y=y), names, 1)) == ["c70"]


def test_in_a_series_the_mean_over_time_counts():
    x_star = torch.randn(200, 70, generator=torch.Generator().manual_seed(0))
    present = torch.arange(190)
    future = torch.stack([x_star[present + k, 66] for k in (1, 2, 3)]).mean(0)
    y = torch.bucketize(future, torch.tensor([-0.5, 0.0, 0.5]))
    rows = rows_of(x_star, future, present=present, y=y, horizon=4)
    assert list(foremost(rows, {f"c{j}": [j] for j in range(70)}, 1)) == ["c66"]


def test_the_order_of_the_rows_changes_little() -> None:
    """A table may be sorted by its label: its first rows are then of one class."""
    generator = torch.Generator().manual_seed(0)
    n = 4 * MOST_ROWS
    y = torch.arange(n) * 2 // n  # sorted
    x_star = torch.randn(n, 40, generator=generator)
    x_star[:, 7] += 3 * y
    rows = Rows(torch.zeros(n, 1), x_star, torch.arange(n), y, y.float())
    columns = {str(j): [j] for j in range(40)}
    assert "7" in foremost(rows, columns, 3)
    chosen = some(rows, MOST_ROWS)
    assert len(chosen) == MOST_ROWS
    assert bool((chosen.diff() > 0).all())
    assert 0.4 < float(y[chosen].float().mean()) < 0.6
    assert torch.equal(some(rows, MOST_ROWS), chosen)
