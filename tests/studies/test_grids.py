"""What the studies of policy distillation on grid worlds are made of."""

import math

import numpy as np
import pytest

from didact import InvalidInput
from didact.policies import RULES
from didact.studies._curves import Curve, grouped, pooled, reached
from didact.studies._grids import Run, chunks, flipped, moments, named, schedule
from didact.studies._study import Cell


def test_flipping_exchanges_the_best_action_where_the_teacher_goes() -> None:
    rng = np.random.default_rng(0)
    policy = rng.dirichlet(np.ones(4), (3, 40))
    visited = rng.random((3, 40)) < 0.5
    found = flipped(policy, visited, 0.25, seed=1)
    changed = (found != policy).any(-1)
    assert not changed[~visited].any()
    assert changed.sum(1).tolist() == [round(0.25 * n) for n in visited.sum(1)]
    assert np.allclose(np.sort(found), np.sort(policy))
    assert (found.argmax(-1) != policy.argmax(-1))[changed].all()
    assert np.array_equal(found, flipped(policy, visited, 0.25, seed=1))
    assert np.array_equal(policy, flipped(policy, visited, 0.0, seed=1))


def test_cells_pool_to_what_all_worlds_together_give() -> None:
    values = np.random.default_rng(0).normal(size=37)
    parts = [(len(part), moments(part)) for part in np.split(values, [10, 11, 25])]
    mean, error = pooled(parts)
    assert mean == pytest.approx(values.mean(), rel=1e-4)
    assert error == pytest.approx(values.std(ddof=1) / math.sqrt(37), rel=1e-3)


def test_a_level_is_reached_between_two_looks() -> None:
    curve = Curve([1, 10, 100], np.array([0.0, 1.0, 2.0]), np.zeros(3), 1)
    assert reached(curve, 0.5) == pytest.approx(10**0.5)
    assert reached(curve, 1.0) == pytest.approx(10)
    assert reached(curve, -1.0) == 1
    assert reached(curve, 3.0) == math.inf


def test_looks_are_even_on_a_logarithmic_scale() -> None:
    found = schedule(1000, 4)
    assert found == [1, 10, 100, 1000]
    assert schedule(2, 30) == [1, 2]
    assert chunks(25, 10) == [(0, 10), (10, 10), (20, 5)]


def test_rules_have_their_names() -> None:
    for rule in RULES:
        assert named(rule.name) is rule
    assert named("n_distill+R").reward
    with pytest.raises(InvalidInput, match=r"`rules`.*'n_distill'.*Found 'n_distil'"):
        named("n_distil")


def test_only_cells_that_differ_in_nothing_else_are_pooled() -> None:
    like = Run(rule="", first=0, count=0)
    plain = [Run(rule="a", first=k, count=10) for k in (0, 10)]
    runs = [
        *plain,
        Run(rule="a", first=5, count=5),  # worlds 5 to 9 again
        Run(rule="a", first=20, count=3, updates=20),  # shorter
        Run(rule="a", first=30, count=3, floor=1e-3),  # another setting
        Run(rule="b", first=0, count=3, threads=2),
    ]
    found = grouped([Cell(run, {}, {}) for run in reversed(runs)], ("rule",), like)
    assert {key: sorted(c.run.first for c in group) for key, group in found.items()} == {
        ("a",): [0, 10], ("b",): [0]
    }  # fmt: skip
