"""Rollouts against repeated calls."""

import pytest
import torch
from torch import nn

from didact import InvalidInput
from didact.skips import rollout


def test_repeated_calls() -> None:
    torch.manual_seed(0)
    f, x = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Sigmoid()), torch.rand(3, 2, 4, 5)
    found = rollout(f, x, 3)
    assert found.shape == (3, 4, 2, 4, 5)
    assert not found.requires_grad
    expected = [x, f(x), f(f(x)), f(f(f(x)))]
    torch.testing.assert_close(found, torch.stack(expected, 1).detach())
    graph = rollout(f, x, 3, graph=True)
    grads = [torch.autograd.grad(each.sum(), f[0].weight)[0] for each in (graph[:, 3], expected[3])]
    torch.testing.assert_close(*grads)
    torch.testing.assert_close(rollout(f, x, 0), x[:, None])


def test_a_context_moves_on() -> None:
    x = torch.tensor([[[1.0], [1.0]]])
    found = rollout(lambda pair: pair.sum(1), x, 5, context=2)
    assert found[0, :, 0].tolist() == [1, 1, 2, 3, 5, 8, 13]


def test_refused() -> None:
    x = torch.ones(2, 3)
    with pytest.raises(InvalidInput, match="`steps`"):
        rollout(lambda x: x, x, -1)
    with pytest.raises(InvalidInput, match="`x` should be"):
        rollout(lambda x: x, x, 1, context=2)
    with pytest.raises(InvalidInput, match=r"`f` should return .*\(2, 3\)"):
        rollout(lambda x: x[:, :1], x, 1)
