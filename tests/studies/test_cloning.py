"""What the study of behavioural cloning is made of."""

import dataclasses
import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import InvalidInput
from didact.studies import _cloning, _ilc_cloning
from didact.studies._ilc_nets import ResNet18
from didact.studies._study import Cell


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


RUN = _cloning.Run(
    data=_cloning.STAND_IN, method="adam", settings={**_ilc_cloning.USUAL}, seed=0, states=16,
    epochs=12, batch=8, width=4,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(levels=st.integers(1, 9), states=st.integers(1, 12), batch=st.integers(1, 15))
def test_an_epoch_visits_every_level_once(levels: int, states: int, batch: int) -> None:
    size = min(batch, states)
    turns = states // size
    epochs = list(islice(_cloning.rounds(levels, states, batch, seeded()), turns))
    seen: dict[int, list[int]] = {level: [] for level in range(levels)}
    for epoch in epochs:
        assert sorted(level for level, _ in epoch) == list(range(levels))
        for level, rows in epoch:
            assert len(rows) == size
            seen[level] += rows.tolist()
    for rows in seen.values():  # until all were there, but for a rest, none is there twice
        assert len(set(rows)) == len(rows) == turns * size
        assert set(rows) <= set(range(states))


def test_the_order_of_levels_is_drawn_anew_and_from_the_seed() -> None:
    def orders(seed: int) -> list[list[int]]:
        walk = _cloning.rounds(8, 4, 2, seeded(seed))
        return [[level for level, _ in next(walk)] for _ in range(4)]

    assert orders(0) == orders(0)
    assert len({tuple(order) for order in orders(0) + orders(1)}) == 8


def test_the_divergence_by_hand() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(5), 7)
    p[0] = [1, 0, 0, 0, 0]
    logits = torch.randn(7, 5, generator=seeded(), dtype=torch.float64)
    wanted = 0.0
    for row, raw in zip(p, logits.tolist(), strict=True):
        total = math.log(sum(map(math.exp, raw)))
        wanted += sum(a * (math.log(a) - (b - total)) for a, b in zip(row, raw, strict=True) if a)
    assert float(_cloning.kl(logits, torch.from_numpy(p))) == pytest.approx(wanted / 7)


def test_the_network_is_the_published_one() -> None:
    net = ResNet18(3, 64, 1000, batch_norm=True)
    assert sum(p.numel() for p in net.parameters()) == 11_689_512
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len([m for m in convolutions if m.kernel_size != (1, 1)]) + 1 == 18
    assert net.body[:-2](torch.zeros(1, 3, 224, 224)).shape == (1, 512, 7, 7)


def test_groupnorm_treats_each_picture_alone() -> None:
    net = ResNet18(3, 4, 15, batch_norm=False).double()
    x = torch.randn(3, 3, 64, 64, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(net(x), torch.cat([net(one[None]) for one in x]))


@pytest.mark.parametrize("method", ["adam", "and_mask", "unmasked"])
def test_every_method_learns_from_pictures(method: _cloning.Method, tmp_path: Path) -> None:
    given = {**_ilc_cloning.USUAL, "learning_rate": 3e-3 if method == "adam" else 1e-3}
    if method == "and_mask":
        given |= {"beta3": 0.8, "threshold": 0.2}
    run = dataclasses.replace(RUN, method=method, settings=given)
    record = _cloning.train_clone(run, tmp_path, lambda step, values: None)
    assert record["test"][_cloning.best(record)] < record["constant"] / 2
    assert len(record["test"]) == len(record["held_out"]) == len(record["training"]) == 12
    again = _cloning.train_clone(run, tmp_path, lambda step, values: None)
    assert {**again, "seconds": 0} == {**record, "seconds": 0}


def test_a_run_that_diverges_says_so_and_is_shown(tmp_path: Path) -> None:
    run = dataclasses.replace(RUN, settings={**RUN.settings, "learning_rate": 1e30}, epochs=1)
    record = _cloning.train_clone(run, tmp_path, lambda step, values: None)
    assert record["diverged"].startswith("Epoch 1: KL")
    assert _cloning.held_out(record) == math.inf
    cells = [Cell(run, record, {})]
    assert "*not run*" in _ilc_cloning.table(cells)
    assert _ilc_cloning.plot(cells)


def test_games_are_checked_once_and_then_everywhere(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Found no such file"):
        _cloning.prepare(str(tmp_path / "games.npz"), 2, tmp_path)
    found = _cloning.stand_in()
    arrays = {name: getattr(found, name).numpy() for name in ("x", "p", "x_test", "p_test")}
    np.savez_compressed(tmp_path / "games.npz", **arrays, about=np.array("{}"))
    with pytest.raises(InvalidInput, match="`states` should be at most 16"):
        _cloning.prepare(str(tmp_path / "games.npz"), 17, tmp_path)
    name = _cloning.prepare(str(tmp_path / "games.npz"), 16, tmp_path)
    (tmp_path / "games.npz").unlink()
    again = _cloning.load(dataclasses.replace(RUN, data=name), tmp_path)
    assert again.x.equal(found.x)
    assert again.p_test.equal(found.p_test)


def test_as_many_of_the_best_trials_of_each_method() -> None:
    def cell(method: _cloning.Method, value: float, states: int = 16) -> Cell:
        run = dataclasses.replace(RUN, method=method, states=states)
        record = {"held_out": [9.0, value], "test": [1.0, 2.0], "training": [1.0, 1.0]}
        return Cell(run, record, {})

    cells = [cell("adam", k) for k in (3, 1, 2, 4, 5)]
    cells += [cell("and_mask", k) for k in (7, 6, 8)] + [cell("adam", 0, states=8)]
    (small, large) = _ilc_cloning.sizes(cells).values()
    assert len(small["adam"]) == 1
    kept = _ilc_cloning.leaders(large)
    values = {name: [_cloning.held_out(c.record) for c in same] for name, same in kept.items()}
    assert values == {"adam": [1, 2], "and_mask": [6, 7]}
    many = _ilc_cloning.leaders({"adam": [cell("adam", k) for k in range(40)]})
    assert len(many["adam"]) == 10
