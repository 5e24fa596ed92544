"""Errors against loops and enumeration."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from didact.dynamics import Unrolled, _measure
from didact.dynamics._judge import interval
from didact.dynamics._measure import Measured, approaches, calls_of, measure, own_pace, value
from didact.dynamics._models import OfPictures, OfStates
from didact.dynamics._train import Steps, phased
from didact.skips import rollout, skip_loss


def _made(context: int = 1) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = OfStates(torch.tensor([1.0, -1.0]), torch.tensor([2.0, 0.5]), context, 8)
    return model, torch.randn(4, 7, 2), torch.tensor([7, 4, 3, 5])


@pytest.mark.parametrize("context", [1, 2])
def test_ends_and_paths_are_what_loops_find(context: int) -> None:
    model, frames, lengths = _made(context)
    found = measure(model, Steps(1, 3), frames, lengths, context, grid=[1, 2, 5])
    scale = torch.tensor([2.0, 0.5])

    def far(a: Tensor, b: Tensor) -> float:
        return float(((a - b) / scale).square().mean())

    for i, n in enumerate(lengths.tolist()):
        seen, predicted = list(frames[i, :context]), []
        for _ in range(5):
            x = seen[-1] if context == 1 else torch.stack(seen[-context:])
            predicted.append(model(x[None])[0].detach())
            seen.append(predicted[-1])
        last = frames[i, n - 1]
        assert found.still[i] == pytest.approx(far(frames[i, context - 1], last), rel=1e-5)
        for e in range(1, 6):
            allowed = predicted[: min(e, n - context)]
            wanted = min(far(p, last) for p in allowed)
            assert found.end[i, e - 1] == pytest.approx(wanted, rel=1e-5)
        for g, e in enumerate((1, 2, 5)):
            means = [
                np.mean(
                    [far(p, frames[i, t]) for p, t in zip(predicted, (*some, n - 1), strict=False)]
                )
                for k in range(1, min(e, n - context) + 1)
                for some in combinations(range(context, n - 1), k - 1)
            ]
            assert found.path[i, g] == pytest.approx(min(means), rel=1e-5)


def test_the_own_pace_is_that_of_the_loss() -> None:
    model, frames, lengths = _made()
    for steps in (Steps(1, 3), Steps(2, 2)):
        calls, skips = own_pace(model, steps, frames, lengths, 1)
        for i, n in enumerate(lengths.tolist()):
            one = skip_loss(
                model, frames[i : i + 1, :n], horizon=steps.horizon, shortest=steps.shortest,
                loss=lambda a, b: ((a - b) / model.scale).square(),
            )  # fmt: skip
            assert calls[i] == one.evaluations
        assert skips.sum() == (lengths - 1).sum()
        still, end = approaches(model, frames, lengths, 1, int(calls.max()))
        wanted = np.mean([end[i, c - 1] for i, c in enumerate(calls)]) / still.mean()
        assert value(model, steps, frames, lengths, 1) == pytest.approx(wanted)
    assert calls.tolist() == [3, 2, 1, 2]


def test_few_at_a_time_is_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, frames, lengths = _made()

    def found() -> Measured:
        return measure(model, Steps(1, 3), frames, lengths, 1, calls_of(int(lengths.max()) - 1))

    whole = found()
    monkeypatch.setattr(_measure, "AT_ONCE", 2 * frames[0].numel())
    parts = found()
    for name in ("still", "end", "path", "own"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-5)
    assert sorted(parts.skips) == sorted(whole.skips)


def test_what_is_not_finite_is_far() -> None:
    class Wild(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.inf

    _, frames, lengths = _made()
    found = approaches(Wild(), frames, lengths, 1, 3)
    assert np.isinf(found[1]).all()


@pytest.mark.parametrize("context", [1, 3])
def test_unrolled_is_the_rollout(context: int) -> None:
    torch.manual_seed(0)
    for model, frame in (
        (OfStates(torch.zeros(3), torch.ones(3), context, 4), (3,)),
        (OfPictures(2, context, 3), (2, 6, 5)),
    ):
        x = torch.rand(2, *frame) if context == 1 else torch.rand(2, context, *frame)
        wanted = rollout(model, x, 4, context=context)[:, context:]
        torch.testing.assert_close(Unrolled(model, 4, context)(x), wanted)


def test_calls_double_up_to_the_last() -> None:
    assert calls_of(1) == [1]
    assert calls_of(2) == [1, 2]
    assert calls_of(10) == [1, 2, 4, 8, 10]


def test_the_interval_of_a_known_difference() -> None:
    """Independent normals: its half width is near 1.96 standard errors, and it covers."""
    rng = np.random.default_rng(1)
    still = np.ones(400)
    theirs, ours = rng.normal(1.0, 0.5, (1, 400)), rng.normal(0.8, 0.5, (1, 400))
    found = interval(theirs, ours, still)
    low, high = found.low, found.high
    assert low < 0.2 < high
    assert high - low == pytest.approx(2 * 1.96 * 0.5 * (2 / 400) ** 0.5, rel=0.1)


def test_the_interval_of_a_few_covers() -> None:
    """Where both are alike, about 5 of 100 intervals leave out 0."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(60):
        theirs, ours = rng.normal(1.0, 0.5, (2, 3, 10))
        found = interval(theirs, ours, np.ones(10))
        wrong += not found.low < 0 < found.high
    assert wrong <= 7


def test_the_interval_of_neighbours_that_are_alike_covers() -> None:
    """Pieces of one recording: each much as the last. Drawn one by one they seem to be more.

    Of 400 such intervals 38 left out 0, where 20 should; longer blocks gain little.
    """
    rng = np.random.default_rng(0)
    wrong = {False: 0, True: 0}
    for k in range(100):
        noise = rng.normal(size=(2, 80))
        for i in range(1, 80):
            noise[:, i] = 0.7 * noise[:, i - 1] + 0.7 * noise[:, i]
        for ordered in wrong if k < 20 else (True,):
            found = interval(noise[:1], noise[1:], np.ones(80), ordered=ordered)
            wrong[ordered] += not found.low < 0 < found.high
    assert wrong[True] <= 15
    assert wrong[False] >= 5


def test_the_interval_knows_of_other_denominators() -> None:
    """All of the gain is a share of the way: it is the same for other trajectories."""
    still = np.random.default_rng(0).uniform(1, 9, 40)
    found = interval(np.stack([still * 0.5] * 2), np.stack([still * 0.3] * 2), still)
    np.testing.assert_allclose([found.mean, found.low, found.high], 0.2, atol=1e-12)
    # Where the gain has nothing to do with the way, the denominator's noise is in it.
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(60):
        still, gain = rng.exponential(1, 60), rng.normal(1, 0.05, (1, 60))
        found = interval(gain, np.zeros_like(gain), still)
        wrong += not found.low < 1 < found.high
    assert wrong <= 7


@given(st.integers(1, 9), st.integers(1, 3), st.booleans(), st.integers(0, 2**31))
def test_training_begins_anywhere_in_the_first_skip(
    horizon: int, context: int, fixed: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(context + 1, 20, (40,), generator=generator)
    frames = torch.arange(20.0).expand(40, 20).unsqueeze(2)
    steps = Steps(horizon if fixed else 1, horizon)
    cut, left = phased(frames, lengths, steps, context, generator)
    starts = cut[:, 0, 0]
    for i, (n, start) in enumerate(zip(left.tolist(), starts.int().tolist(), strict=True)):
        assert cut[i, :n, 0].tolist() == list(range(start, start + n))
        assert 0 <= start < min(horizon, int(lengths[i]) - context)
        whole = int(lengths[i]) - start
        if steps.fixed and whole - context >= horizon:
            assert (n - context) % horizon == 0
            assert whole - horizon < n <= whole
        else:
            assert n == whole
    if horizon > 1:
        long = lengths > horizon + context
        assert len(set(starts[long].tolist())) > 1 or int(long.sum()) < 8
