"""Several backward passes in a block, each with environments of its own; half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from didact import InvalidInput
from didact.agreement import agreement, and_mask, environment_backward, inconsistency, xor_mask


def _made() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 2)).double()
    x, y = torch.randn(21, 4).double(), torch.randn(21, 2).double()
    return model, x, y, torch.tensor([7] * 3 + [1] * 5 + [4] * 1 + [0] * 8 + [9] * 4)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_passes_of_whole_environments_are_one_batch(threshold: float) -> None:
    model, x, y, site = _made()
    with agreement(model, environments=site, threshold=threshold) as whole:
        F.mse_loss(model(x), y).backward()
    wanted = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    parts = (slice(0, 9), slice(9, 21))  # three sites, then two
    with agreement(model, environments=[site[p] for p in parts], threshold=threshold) as found:
        for part in parts:
            (F.mse_loss(model(x[part]), y[part]) / 2).backward()
    assert found.environments == whole.environments == 5
    for p, grad in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, grad, rtol=1e-12, atol=1e-14)


def test_passes_that_environments_do_not_fit_are_refused() -> None:
    model, x, y, site = _made()

    def run(given: Any, parts: tuple[slice, ...]) -> None:
        model.zero_grad()
        with agreement(model, environments=given):
            for part in parts:
                F.mse_loss(model(x[part]), y[part]).backward()

    halves = (slice(0, 10), slice(10, 20))
    with pytest.raises(InvalidInput, match="a list of tensors, one for each pass"):
        run(site[:10], halves)
    with pytest.raises(InvalidInput, match=r"whole in one pass\. Found number 0 in two"):
        run([site[:10], site[10:20]], halves)
    thirds = (slice(0, 9), slice(9, 21))
    with pytest.raises(InvalidInput, match="for each of the 2 or more forward passes"):
        run([site[:9]], thirds)
    with pytest.raises(InvalidInput, match="for each of the 1 forward passes"):
        run([site[:9], site[9:]], thirds[:1])
    with pytest.raises(InvalidInput, match="a list of tensors of integers"):
        run([site[:9], site[9:].double()], thirds)


def test_half_precision_does_not_weigh_what_goes_back() -> None:
    """The gradient of one environment alone, in a deep net, beside that of plain backprop."""
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), nn.GroupNorm(2, 4)) for _ in range(24)]
    model = nn.Sequential(*layers)
    x, site = torch.randn(16, 4, 6), torch.tensor([0] * 3 + [1] * 13)
    only = torch.tensor([1.0] * 3 + [0.0] * 13)

    def loss() -> Tensor:
        return (model(x).float().square().mean((1, 2)) * only).mean()

    with agreement(model, environments=site, threshold=0.0), torch.autocast("cpu", torch.bfloat16):
        loss().backward()
    first = model[0][0].weight
    found, ratio = first.grad.clone(), 16 / (2 * 3)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss().backward()
    plain = ratio * first.grad
    share = float((found * plain).sum() / plain.square().sum())
    assert share == pytest.approx(1, abs=0.02)


def test_channels_last_is_the_same() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten()).double()
    last = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten()).double()
    last.load_state_dict(plain.state_dict())
    last.to(memory_format=torch.channels_last)
    x = torch.randn(6, 3, 7, 7).double()
    grads = []
    for model in (plain, last):
        with agreement(model, environments=torch.arange(6) % 3, threshold=0.6):
            model(x.contiguous(memory_format=torch.channels_last)).square().mean().backward()
        grads.append([p.grad for p in model.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("function", [and_mask, xor_mask])
def test_rescaling_is_exact(function: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    grads = torch.randn(5, 997, generator=generator).double()
    alone = function(grads, 0.5)
    wanted = alone * 997 / float((alone != 0).sum())
    torch.testing.assert_close(function(grads, 0.5, rescale=True), wanted, rtol=1e-14, atol=0)
    model = nn.Linear(997, 1, bias=False).double()
    losses = [(model.weight * each).sum() for each in grads]
    environment_backward(losses, model, threshold=0.5, rescale=True)
    if function is and_mask:
        torch.testing.assert_close(model.weight.grad[0], wanted, rtol=1e-14, atol=0)


def test_what_is_no_list_of_losses_is_said() -> None:
    model = nn.Linear(2, 1)
    x = torch.ones(1, 2)

    def shared() -> Any:
        out = model(x).square().sum()
        yield from (out, 2 * out)

    for losses, rule in (
        (torch.stack([model(x).sum()] * 2), "a list of scalars"),
        (None, "a list of scalars"),
        ([torch.zeros(()), torch.zeros(())], "with a gradient"),
        (shared(), "in a list they may share one"),
    ):
        with pytest.raises(InvalidInput, match=f"`losses` should be .*{rule}"):
            environment_backward(losses, model)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"`model` should be a torch.nn.Module"):
        environment_backward([model(x).sum()] * 2, lambda x: x)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="`rescale` should be one of False, True"):
        environment_backward([model(x).sum()] * 2, model, rescale="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [2, 4, 30])
def test_a_saddle_and_a_slope_have_no_inconsistency(n: int) -> None:
    bowl = torch.linspace(1, 2, n).double()
    saddle = bowl.clone()
    saddle[1] = -1

    def loss(diagonal: Tensor, slope: float = 0.0) -> Any:
        return lambda t: (diagonal * t**2).sum() / 2 + slope * t[0]

    origin = torch.zeros(n).double()
    with pytest.raises(InvalidInput, match="minim"):
        inconsistency([loss(bowl), loss(saddle)], origin, epsilon=0.1)
    with pytest.raises(InvalidInput, match=r"from which loss 1 would still fall by 0\.5"):
        inconsistency([loss(bowl), loss(bowl, slope=1.0)], origin, epsilon=0.1)
    assert inconsistency([loss(bowl), loss(bowl, 1e-3)], origin, epsilon=0.1).value > 0.09
