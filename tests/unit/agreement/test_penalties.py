"""IRM, V-REx and DANN against finite differences, loops and signs by hand."""

import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from didact import InvalidInput
from didact.agreement import irm_penalty, reverse_gradient, variance_of_losses


def binary(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


def classes(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_irm_is_the_squared_slope_of_each_environments_loss(sizes: list[int], seed: int) -> None:
    n = sum(sizes)
    outputs = random(seed, n, 3)
    targets = torch.randint(3, (n,), generator=torch.Generator().manual_seed(seed))
    environments = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    expected, h = 0.0, 1e-6
    for e in range(len(sizes)):
        rows = environments == e
        up, down = (
            float(F.cross_entropy(outputs[rows] * w, targets[rows])) for w in (1 + h, 1 - h)
        )
        expected += ((up - down) / (2 * h)) ** 2 / len(sizes)
    found = irm_penalty(outputs[order], targets[order], 7 * environments[order], loss=classes)
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_irm_of_logits_by_its_formula() -> None:
    z, y = random(1, 12), (random(2, 12) > 0).double()
    environments = torch.arange(12) % 3
    expected = [float(((z.sigmoid() - y) * z)[environments == e].mean()) ** 2 for e in range(3)]
    found = irm_penalty(z, y, environments, loss=binary)
    assert float(found) == pytest.approx(sum(expected) / 3)
    columns = irm_penalty(z[:, None], y[:, None], environments, loss=binary)
    assert float(columns) == pytest.approx(float(found))


def test_penalties_have_the_gradients_of_finite_differences() -> None:
    y = (random(3, 6) > 0).double()
    environments = torch.arange(6) % 2
    z = random(4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: irm_penalty(z, y, environments, loss=binary), [z])
    assert torch.autograd.gradcheck(lambda z: variance_of_losses(binary(z, y), environments), [z])


@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_v_rex_is_the_variance_of_means(sizes: list[int], seed: int) -> None:
    n = sum(sizes)
    losses = random(seed, n).square()
    environments = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    means = [float(part.mean()) for part in losses.split(sizes)]
    centre = sum(means) / len(means)
    expected = sum((m - centre) ** 2 for m in means) / len(means)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    found = variance_of_losses(losses[order], environments[order])
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_penalties_are_zero_where_environments_are_copies() -> None:
    z, y = random(5, 6).repeat(3), (random(6, 6) > 0).double().repeat(3)
    environments = torch.arange(3).repeat_interleave(6)
    assert float(variance_of_losses(binary(z, y), environments)) == pytest.approx(0, abs=1e-15)
    # With the scale that is best in every environment alone, no slope is left.
    found = scipy.optimize.minimize_scalar(lambda w: float(binary(w * z, y).mean()), tol=1e-14)
    penalty = irm_penalty(found.x * z, y, environments, loss=binary)
    assert float(penalty) == pytest.approx(0, abs=1e-12)


def test_reversal_climbs_for_what_comes_before_it_only() -> None:
    torch.manual_seed(0)
    before, after = nn.Linear(3, 4), nn.Linear(4, 2)
    x = torch.randn(5, 3)
    after(before(x)).square().sum().backward()
    plain = {name: p.grad for name, p in before.named_parameters()}
    last = after.weight.grad
    for module in (before, after):
        module.zero_grad()
    features = before(x)
    reversed_ = reverse_gradient(features, 0.25)
    assert reversed_.equal(features)
    after(reversed_).square().sum().backward()
    assert after.weight.grad is not None
    assert last is not None
    assert after.weight.grad.equal(last)
    for name, p in before.named_parameters():
        torch.testing.assert_close(p.grad, -0.25 * plain[name])


def test_wrong_arguments_are_named() -> None:
    z, y, ids = torch.zeros(4), torch.zeros(4), torch.tensor([0, 0, 1, 1])
    with pytest.raises(InvalidInput, match=r"`loss` should be a value for each of the 4 examples"):
        irm_penalty(z, y, ids, loss=F.binary_cross_entropy_with_logits)
    with pytest.raises(InvalidInput, match=r"`losses` should be a value for each of the 4"):
        variance_of_losses(torch.zeros(()), ids)
    with pytest.raises(InvalidInput, match="`environments` should be at least two different"):
        variance_of_losses(z, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(InvalidInput, match=r"a tensor of integers\. Found torch\.float32"):
        variance_of_losses(z, torch.zeros(4))
    with pytest.raises(InvalidInput, match=r"`environments` should be a number for each"):
        irm_penalty(z, y, ids[:3], loss=binary)
    with pytest.raises(InvalidInput, match="`weight` should be a finite number at least 0"):
        reverse_gradient(z, -1.0)
