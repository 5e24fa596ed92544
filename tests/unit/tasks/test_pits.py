"""Pits: the next one is known, when the ball is there is not."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import InvalidInput
from didact.tasks import pits


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99),
    levels=st.integers(1, 6),
    longest=st.integers(1, 9),
    rattle=st.sampled_from([0.0, 0.05]),
    both_ways=st.booleans(),
)
def test_every_fall_goes_where_its_pits_lead(
    seed: int, levels: int, longest: int, rattle: float, both_ways: bool
) -> None:
    falls = pits(
        4, seed=seed, levels=levels, longest=longest, rattle=rattle, both_ways=both_ways
    )  # fmt: skip
    assert falls.states.shape == (4, int(falls.lengths.max()), 3)
    for states, length, turn in zip(falls.states, falls.lengths.tolist(), falls.turns, strict=True):
        assert not states[length:].any()
        fall = states[:length]
        level = fall[:, 2]
        assert level.tolist() == sorted(level.tolist())
        stays = [int((level == k).sum()) for k in range(levels + 1)]
        assert stays[-1] == 1
        assert all(1 <= stay <= longest for stay in stays)
        # Backwards from the bottom, which is exact; complex numbers instead of matrices.
        place = complex(*fall[-1, :2].tolist())
        for k in range(levels - 1, -1, -1):
            place *= complex(torch.polar(torch.tensor(1.0), -2.0 * turn))
            here = fall[level == k, :2]
            assert (
                float((here - torch.tensor([place.real, place.imag])).abs().max()) < rattle + 1e-5
            )
        assert max(abs(place.real), abs(place.imag)) < 1 + 1e-5


def test_more_falls_change_none_and_both_ways_are_taken() -> None:
    few, many = pits(3, seed=1, both_ways=True), pits(40, seed=1, both_ways=True)
    assert torch.equal(few.states, many.states[:3, : few.states.shape[1]])
    assert set(many.turns.tolist()) == {-1, 1}
    assert set(pits(40, seed=1).turns.tolist()) == {1}
    assert not torch.equal(pits(3, seed=2).states[:, 0], few.states[:, 0])


@pytest.mark.parametrize(
    "wrong",
    [{"n": 0}, {"seed": -1}, {"levels": 0}, {"longest": 0}, {"rattle": -1.0}, {"both_ways": 2}],
)
def test_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"`{next(iter(wrong))}`"):
        pits(**{"n": 1, "seed": 0, **wrong})
