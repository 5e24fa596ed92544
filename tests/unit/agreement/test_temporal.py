"""The temporal AND-mask against Algorithm 4, number by number."""

import copy

import pytest
import torch
from torch import nn

from didact import InvalidInput
from didact.agreement import TemporalAndMaskAdam, _temporal


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


def test_parameters_in_any_company_move_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (3, 20, 1, 7, 16, 33, 2)
    made = [torch.randn(2, n, generator=torch.Generator().manual_seed(n)) for n in sizes]

    def moved(together: bool) -> list[torch.Tensor]:
        parameters = [nn.Parameter(start.clone()) for start, _ in made]
        groups = [parameters] if together else [[p] for p in parameters]
        optimizers = [TemporalAndMaskAdam(group, 0.1, (0.5, 0.5, 0.5), 0.4) for group in groups]
        for k in range(4):
            for parameter, (_, grad) in zip(parameters, made, strict=True):
                parameter.grad = grad + k - 2
            for optimizer in optimizers:
                optimizer.step()
        return [p.detach() for p in parameters]

    alone = moved(together=False)
    for piece in (1, 16, 1000):
        monkeypatch.setattr(_temporal, "PIECE", piece)
        torch.testing.assert_close(moved(together=True), alone)


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


def test_in_bfloat16_the_means_are_in_full_precision() -> None:
    """β₂ = 0.999: a bfloat16 v would stand still at the first value that it reaches."""
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(50, generator=generator).bfloat16() for _ in range(60)]
    half, full = nn.Parameter(torch.ones(50).bfloat16()), nn.Parameter(torch.ones(50))
    adams = [TemporalAndMaskAdam([p], 0.0, (0.9, 0.999, 0.9), 0.2) for p in (half, full)]
    for k, grad in enumerate(grads):
        half.grad, full.grad = grad, grad.float()
        for adam in adams:
            adam.step()
        if k == 30:
            again = TemporalAndMaskAdam([half], 0.0, (0.9, 0.999, 0.9), 0.2)
            again.load_state_dict(copy.deepcopy(adams[0].state_dict()))
            adams[0] = again
    for name, mean in adams[1].state[full].items():
        kept = adams[0].state[half][name]
        assert kept.dtype == torch.float32
        assert torch.equal(kept, mean), name
    for adam in adams:
        adam.param_groups[0]["lr"] = 0.1
        adam.step()
    torch.testing.assert_close(half.float(), full, rtol=0, atol=2**-8)
    assert not torch.equal(full, torch.ones(50))
