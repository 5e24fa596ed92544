"""Epochs and settings from curves, against a loop."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact.hindsight.environments._choose import choose, ended

losses = st.floats(0.1, 10, allow_nan=False)
curves = st.lists(st.one_of(losses, st.none()), min_size=1, max_size=30)


def stop_by_loop(curve: list[float | None], patience: int) -> int | None:
    """Literally: is there an epoch whose last `patience` epochs brought no gain of 0.1 %?"""
    for epoch in range(1, len(curve) + 1):
        mark, last = math.inf, 0
        for k in range(epoch):
            value = math.inf if curve[k] is None else curve[k]
            assert value is not None
            if value < mark * 0.999:
                mark, last = value, k + 1
        if epoch - last >= patience:
            return epoch
    return None


@given(curve=curves, patience=st.integers(1, 8))
@settings(max_examples=200, deadline=None)
def test_a_curve_ends_when_its_patience_does(curve: list[float | None], patience: int) -> None:
    assert ended(curve, patience) == stop_by_loop(curve, patience)


@given(
    found=st.lists(st.lists(losses, min_size=5, max_size=20), min_size=1, max_size=4),
    patience=st.integers(1, 6),
)
@settings(max_examples=100, deadline=None)
def test_the_epoch_is_best_for_the_mean_over_curves_that_hold_their_last_value(
    found: list[list[float]], patience: int
) -> None:
    weights = [1.0 + k for k in range(len(found))]
    chosen = choose(found, weights, patience=patience, budget=20)
    cut = [curve[: stop_by_loop(list(curve), patience)] for curve in found]
    means = [
        sum(w * c[min(t, len(c) - 1)] for w, c in zip(weights, cut, strict=True)) / sum(weights)
        for t in range(max(map(len, cut)))
    ]
    assert chosen.loss == pytest.approx(min(means))
    assert means[chosen.epochs - 1] == pytest.approx(chosen.loss)


def test_what_comes_after_a_curves_own_end_is_not_seen() -> None:
    """A run goes on while another part improves; what its curve does then must not matter."""
    one, other = [2.0, 1.0, 1.5, 1.5], [3.0, 2.5, 2.0, 1.0]
    short = choose([one, other], [1, 1], patience=2, budget=9)
    assert choose([[*one, 0.0, 0.0], other], [1, 1], patience=2, budget=9) == short


def test_diverged_runs_have_no_loss_and_losses_that_were_not_finite_lose() -> None:
    assert choose([[], [1.0]], [1, 1], patience=3, budget=3).loss == math.inf
    chosen = choose([[None, 2.0, None], [1.0, 2.0, 0.5]], [1, 1], patience=9, budget=9)
    assert (chosen.epochs, chosen.loss) == (2, 2.0)


def test_cut_short_is_what_the_budget_ended() -> None:
    falling, done = [10.0 - k for k in range(9)], [1.0] * 30
    assert choose([falling], [1], patience=25, budget=9).cut_short == 1
    assert choose([falling], [1], patience=25, budget=12).cut_short == 0  # it ended otherwise
    assert choose([done, falling], [1, 1], patience=25, budget=9).cut_short == 1
    assert choose([done], [1], patience=30, budget=30).cut_short == 0  # 25 without a gain
