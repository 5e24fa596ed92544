import copy

import pytest
import torch
from torch import nn

from didact import InvalidInput
from didact.privileged import Taught


def test_activations_are_the_outputs_of_the_named_submodules() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 5), nn.Tanh()))
    x = torch.randn(6, 3)
    prediction, activations = Taught(net, ["0", "2.0"])(x)
    assert torch.equal(prediction, net(x))
    assert torch.equal(activations["0"], net[0](x))
    assert torch.equal(activations["2.0"], net[2][0](torch.relu(net[0](x))))


def test_the_module_is_left_without_hooks_also_after_an_error() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    student = Taught(net, ["0"])
    student(torch.zeros(1, 3))
    with pytest.raises(RuntimeError):
        student(torch.zeros(1, 7))
    assert not any(m._forward_hooks for m in net.modules())


def test_a_deep_copy_teaches_its_own_module() -> None:
    student = Taught(nn.Sequential(nn.Linear(3, 4)), ["0"])
    twin = copy.deepcopy(student)
    with torch.no_grad():
        twin.module[0].bias.add_(1)
    x = torch.zeros(1, 3)
    assert torch.allclose(twin(x)[1]["0"], student(x)[1]["0"] + 1)


def test_names_are_checked() -> None:
    net = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(InvalidInput, match="`hidden`; there are `0`"):
        Taught(net, ["hidden"])
    with pytest.raises(InvalidInput, match="at least one"):
        Taught(net, [])


def test_a_submodule_that_runs_twice_or_never_is_refused() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.never = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.twice(self.twice(x))

    with pytest.raises(InvalidInput, match="`twice` running 2 times"):
        Taught(Odd(), ["twice"])(torch.zeros(1, 2))
    with pytest.raises(InvalidInput, match="`never` running 0 times"):
        Taught(Odd(), ["never"])(torch.zeros(1, 2))
