"""The masks as TorchJD's aggregators."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchjd.aggregation import Aggregator, GradDrop
from torchjd.autojac import backward, jac_to_grad

from didact.agreement import (
    agreement_filter,
    and_mask,
    environment_backward,
    geometric_mean,
    sand_mask,
    sign_dropout,
    xor_mask,
)


class Aggregated(Aggregator):
    """A function of ``[env, n]`` as what TorchJD calls."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, matrix: Tensor, /) -> Tensor:
        return self.function(matrix)


def _model() -> tuple[nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    return model, [model(x).square().mean() for x in torch.randn(6, 4, 3)]


def test_its_backward_with_the_mask_is_ours() -> None:
    model, losses = _model()
    backward(losses)
    jac_to_grad(model.parameters(), Aggregated(lambda grads: and_mask(grads, 0.5)))
    found = [p.grad.clone() for p in model.parameters()]
    again, losses = _model()
    environment_backward(losses, again, threshold=0.5)
    for one, p in zip(found, again.parameters(), strict=True):
        torch.testing.assert_close(one, p.grad)


@pytest.mark.parametrize(
    "function", [and_mask, xor_mask, geometric_mean, sand_mask, agreement_filter]
)
def test_every_mask_is_an_aggregator(function: Callable[[Tensor], Tensor]) -> None:
    model, losses = _model()
    backward(losses)
    jac_to_grad(model.parameters(), Aggregated(function))
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_sign_dropout_has_the_chances_of_theirs() -> None:
    """Both draw; how often each sign is kept must agree."""
    matrix = torch.tensor([[1.0, -2.0, 0.5], [2.0, 1.0, 0.5], [-1.0, 0.5, -3.0]])
    n, wide = 4000, 3 * 4000
    torch.manual_seed(0)
    theirs = GradDrop()(matrix.repeat(1, n)).view(n, 3)
    ours = sign_dropout(matrix.repeat(1, n), generator=torch.Generator().manual_seed(1)).view(n, 3)
    assert wide == theirs.numel()
    for a, b in zip(theirs.T, ours.T, strict=True):
        assert set(a.tolist()) == set(b.tolist())
        assert abs(float((a > 0).float().mean() - (b > 0).float().mean())) < 4 * (0.5 / n) ** 0.5
