"""The temporal AND-mask against Algorithm 4, number by number."""

import copy

import pytest
import torch
from torch import nn

from didact import InvalidInput
from didact.agreement import TemporalAndMaskAdam
from didact.agreement._temporal import all_at_a_time, piece_by_piece


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_literal_loop(threshold: float, decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(7, generator=generator).double()
    parameter = nn.Parameter(start.clone())
    adam = TemporalAndMaskAdam(
        [parameter], 0.05, (0.8, 0.95, 0.7), threshold, eps=1e-4, weight_decay=decay
    )
    theta = start.tolist()
    m, v, a = [0.0] * 7, [0.0] * 7, [0.0] * 7
    moved = 0
    for _ in range(30):
        g = torch.randn(7, generator=generator).double() + torch.linspace(-2, 2, 7)
        g[3] = 0.0
        parameter.grad = g.clone()
        adam.step()
        for j, gj in enumerate(g.tolist()):
            m[j] = 0.8 * m[j] + 0.2 * gj
            v[j] = 0.95 * v[j] + 0.05 * gj * gj
            a[j] = 0.7 * a[j] + 0.3 * ((gj > 0) - (gj < 0))
            b = abs(a[j]) >= threshold
            moved += b
            theta[j] -= 0.05 * decay * theta[j]
            theta[j] -= 0.05 * m[j] * b / (v[j] + 1e-4) ** 0.5
        expected = torch.tensor(theta, dtype=torch.float64)
        torch.testing.assert_close(parameter.data, expected, rtol=1e-12, atol=0)
    assert moved == 210 if threshold == 0 else 0 < moved < 210


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_both_ways_to_step_are_one(decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    group = {"lr": 0.1, "betas": (0.8, 0.9, 0.5), "threshold": 0.4, "eps": 1e-8,
             "weight_decay": decay}  # fmt: skip
    parts = [[torch.rand(n, generator=generator) for n in (3, 5)] for _ in range(5)]
    others = copy.deepcopy(parts)
    all_at_a_time(group, parts)
    for piece in zip(*others, strict=True):
        piece_by_piece(group, piece, torch.empty(2, len(piece[0])))
    torch.testing.assert_close(parts, others)


def test_large_and_oddly_laid_out_parameters_are_as_any_other() -> None:
    generator = torch.Generator().manual_seed(0)
    start, grad = torch.randn(2, 300, 500, generator=generator)
    found = []
    for layout in (lambda t: t.clone(), lambda t: t.t().clone().t()):
        parameter = nn.Parameter(layout(start))
        adam = TemporalAndMaskAdam([parameter], lr=0.1, betas=(0.5, 0.5, 0.5))
        for k in range(3):
            parameter.grad = layout(grad + k)
            adam.step()
        found.append(parameter.detach())
    torch.testing.assert_close(*found)


def test_it_goes_on_from_a_checkpoint_and_leaves_out_what_has_no_gradient() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    net[0].bias.requires_grad_(False)
    adam = TemporalAndMaskAdam(
        [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 1e-2}]
    )
    x = torch.randn(8, 3)

    def step(net: nn.Module, adam: torch.optim.Optimizer) -> None:
        adam.zero_grad()
        net(x).square().mean().backward()
        adam.step()

    step(net, adam)
    other = copy.deepcopy(net)
    again = TemporalAndMaskAdam(
        [{"params": other[0].parameters()}, {"params": other[2].parameters()}]
    )
    again.load_state_dict(copy.deepcopy(adam.state_dict()))
    for _ in range(3):
        step(net, adam)
        step(other, again)
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_closure_is_evaluated_with_gradients() -> None:
    weight = nn.Parameter(torch.ones(2))
    adam = TemporalAndMaskAdam([weight], threshold=0.0)

    def closure() -> torch.Tensor:
        adam.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert float(adam.step(closure).detach()) == 2.0
    assert float(weight[0].detach()) < 1


def test_refused() -> None:
    weight = nn.Parameter(torch.ones(2))
    for options, match in (
        ({"lr": -1.0}, "`lr`"),
        ({"betas": (0.9, 0.9)}, "`betas` should be three"),
        ({"betas": (0.9, 0.9, 1.0)}, "`betas`.*below 1"),
        ({"threshold": 1.5}, "`threshold`.*at most 1"),
        ({"weight_decay": -0.1}, "`weight_decay`"),
    ):
        with pytest.raises(InvalidInput, match=match):
            TemporalAndMaskAdam([weight], **options)
    embedding = nn.Embedding(3, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(InvalidInput, match="sparse"):
        TemporalAndMaskAdam(embedding.parameters()).step()
