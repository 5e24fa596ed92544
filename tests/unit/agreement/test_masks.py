"""Masks against loops over components and environments."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from didact import InvalidInput
from didact.agreement import (
    agreement_filter,
    and_mask,
    geometric_mean,
    sand_mask,
    sign_dropout,
    xor_mask,
)

GRADS = st.tuples(
    st.integers(2, 7), st.lists(st.integers(1, 4), max_size=3), st.integers(0, 10**6)
).map(lambda drawn: _grads(*drawn))


def _grads(environments: int, shape: list[int], seed: int) -> Tensor:
    """A third of them zero, which is no vote."""
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(environments, *shape, generator=generator).double()
    return grads * (torch.rand(grads.shape, generator=generator) > 0.3)


def _by_component(grads: Tensor, of: Callable[[list[float]], float]) -> Tensor:
    flat = grads.reshape(len(grads), -1)
    found = [of(flat[:, j].tolist()) for j in range(flat.shape[1])]
    return torch.tensor(found, dtype=torch.float64).view(grads.shape[1:])


def _agree(values: list[float], threshold: float) -> bool:
    votes = sum((v > 0) - (v < 0) for v in values)
    return abs(votes) + 1e-9 >= threshold * len(values)


@settings(max_examples=60, deadline=None)
@given(GRADS, st.sampled_from([0.0, 0.1, 0.2, 1 / 3, 0.5, 0.6, 0.7, 0.8, 1.0]))
def test_masks_are_those_of_a_loop(grads: Tensor, threshold: float) -> None:
    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    def geometric(values: list[float]) -> float:
        if not _agree(values, threshold) or 0.0 in values:
            return 0.0
        votes = sum(math.copysign(1, v) for v in values)
        size = math.prod(abs(v) for v in values) ** (1 / len(values))
        return size * ((votes > 0) - (votes < 0))

    kept = _by_component(grads, lambda v: mean(v) if _agree(v, threshold) else 0.0)
    left = _by_component(grads, lambda v: 0.0 if _agree(v, threshold) else mean(v))
    torch.testing.assert_close(and_mask(grads, threshold), kept)
    torch.testing.assert_close(xor_mask(grads, threshold), left)
    torch.testing.assert_close(
        geometric_mean(grads, threshold), _by_component(grads, geometric), rtol=1e-10, atol=1e-12
    )
    survive = _by_component(grads, lambda v: float(_agree(v, threshold)))
    scale = grads[0].numel() / max(1.0, float(survive.sum()))
    torch.testing.assert_close(and_mask(grads, threshold, rescale=True), kept * scale)


@settings(max_examples=30, deadline=None)
@given(GRADS, st.randoms())
def test_the_order_of_environments_does_not_matter(grads: Tensor, random: object) -> None:
    order = torch.randperm(len(grads), generator=torch.Generator().manual_seed(len(grads)))
    for mask in (and_mask, xor_mask, geometric_mean, sand_mask):
        torch.testing.assert_close(mask(grads, 0.5), mask(grads[order], 0.5))


def test_a_threshold_means_so_many_environments() -> None:
    """t of d agree at τ = 2t/d − 1, for every t and d and however the fraction is rounded."""
    for d in range(2, 40):
        for t in range((d + 1) // 2, d + 1):
            grads = torch.ones(d, 1)
            grads[t:] = -1
            threshold = 2 * t / d - 1
            assert float(xor_mask(grads, threshold).abs()) == 0
            if t < d:
                assert float(and_mask(grads, (2 * t + 1) / d - 1).abs()) == 0


def test_many_votes_are_counted_in_low_precision() -> None:
    grads = torch.ones(1000, 2, dtype=torch.bfloat16)
    grads[0, 1] = -1
    assert float(and_mask(grads)[1]) == 0
    assert float(and_mask(grads, 0.998)[1]) > 0.9
    assert and_mask(grads).dtype == torch.bfloat16


def test_sand_mask_by_hand() -> None:
    grads = torch.tensor([[1.0, 2.0, 1.0, 0.0], [1.0, 4.0, -1.0, 0.0]]).double()
    votes, variance = [1.0, 1.0, 0.0, 0.0], [0.0, 2.0, 2.0, 0.0]
    mask = [
        max(0.0, math.tanh(0.7 * (s - 0.5) / v) if v else math.copysign(1, s - 0.5))
        for s, v in zip(votes, variance, strict=True)
    ]
    expected = grads.mean(0) * torch.tensor(mask, dtype=torch.float64) / (sum(mask) / 4)
    torch.testing.assert_close(sand_mask(grads, 0.5, steepness=0.7), expected)
    assert float(sand_mask(torch.tensor([[1.0], [-1.0]])).abs()) == 0


def test_sign_dropout_draws_a_sign_as_often_as_it_has_gradient() -> None:
    grads = torch.tensor([[1.0], [2.0], [-1.0]]).expand(3, 40_000)
    found = sign_dropout(grads, generator=torch.Generator().manual_seed(0))
    assert set(found.tolist()) == {3.0, -1.0}
    share = float((found > 0).double().mean())
    assert abs(share - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 40_000)
    zero = torch.zeros(2, 3)
    assert sign_dropout(zero, generator=torch.Generator()).tolist() == [0.0, 0.0, 0.0]


def test_agreement_filter_is_a_running_mean_of_those_that_fit() -> None:
    rng = torch.Generator().manual_seed(0)
    grads = torch.randn(20, 5, generator=rng).double()
    kept = [grads[0]]
    for g in grads[1:]:
        mean = torch.stack(kept).mean(0)
        if 1 - float(mean @ g / (mean.norm() * g.norm())) <= 0.9:
            kept.append(g)
    assert 1 < len(kept) < 20
    torch.testing.assert_close(agreement_filter(grads, 0.9), torch.stack(kept).mean(0))
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert agreement_filter(opposite, 0.9).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("mask", [and_mask, xor_mask, geometric_mean, sand_mask, agreement_filter])
def test_refused(mask: Callable[..., Tensor]) -> None:
    grads = torch.ones(2, 3)
    with pytest.raises(InvalidInput, match=r"at least two environments\. Found 1"):
        mask(grads[:1])
    with pytest.raises(InvalidInput, match=r"floating tensor \[env, \*param\]"):
        mask(grads.long())
    with pytest.raises(InvalidInput, match="∞ in number 1"):
        mask(torch.tensor([[1.0], [torch.inf]]))
    with pytest.raises(InvalidInput, match="at most"):
        mask(grads, 2.5)
    with pytest.raises(InvalidInput, match="at least 0"):
        mask(grads, -0.1)
