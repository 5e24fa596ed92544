"""Module types through ``functional``; each oracle calls ``torch.func.functional_call`` itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from didact._checks import InvalidInput
from didact.unroll import SGD, Adam, functional

from ._asserts import (
    assert_caller_is_untouched,
    assert_checkpoints_change_nothing,
    assert_close,
    assert_leaves_random_state_after_forward,
    assert_matches_finite_differences,
    assert_matches_plain_unroll,
    gradients,
    run_unroll,
)
from ._oracle import Case, fewest, memory_for, randn, tensor

N, BATCH, WIDTH = 5, 4, 6


class Tied(nn.Module):
    """One weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up.weight = self.down.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.up(torch.tanh(self.down(x)))


class Recurrent(nn.Module):
    """A recurrent net over a sequence of three vectors."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.net = kind(2, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.reshape(-1, 3, 2))[0][:, -1]


class Attention(nn.Module):
    """Scaled dot products, written as users write them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(2, 12)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.reshape(-1, 3, 2)).reshape(-1, 3, 3, 2, 2).permute(2, 0, 3, 1, 4)
        out = nn.functional.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).reshape(-1, 3, 4).flatten(1)[:, :WIDTH]


class MultiHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.MultiheadAttention(2, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 3, 2)
        return self.net(x, x, x, need_weights=False)[0].flatten(1)


class Embedded(nn.Module):
    """Integers of the sign of x, embedded, beside x itself."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.out(self.table((x[:, 0] > 0).long()) * x))


class Counting(nn.Module):
    """Re-assigns a buffer, as many modules do, and uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("level", torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + 1
        self.level = 0.9 * self.level + 0.1 * x.detach().mean(0)
        return torch.tanh(self.net(x - self.level)) / self.seen


class Checkpointed(nn.Module):
    """Recomputes its activations in backward, when its own parameters are back in place."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Dropout(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.net, x, use_reentrant=False)


def linear() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


MODULES: dict[str, Any] = {
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(linear()), nn.Tanh()),
    "batch norm": lambda: nn.Sequential(linear(), nn.BatchNorm1d(WIDTH), nn.Tanh(), linear()),
    "batch norm in eval": lambda: nn.Sequential(linear(), nn.BatchNorm1d(WIDTH), nn.Tanh()).eval(),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(linear()), nn.Tanh()),
    "dropout": lambda: nn.Sequential(linear(), nn.Tanh(), nn.Dropout(0.4), linear()),
    "batch norm and dropout": lambda: nn.Sequential(
        nn.Dropout(0.3), linear(), nn.BatchNorm1d(WIDTH), nn.Tanh()
    ),
    "tied": Tied,
    "gru": lambda: Recurrent(nn.GRU),
    "lstm": lambda: Recurrent(nn.LSTM),
    "attention": Attention,
    "multi-head attention": MultiHead,
    "embedding": Embedded,
    "re-assigned buffers": Counting,
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, WIDTH)), nn.Conv1d(1, 2, 3, padding=1), nn.Softplus(), nn.Flatten(),
        nn.LayerNorm(2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ModuleLoss:
    """The loss of a user: the module through ``functional``."""

    call: Any

    def __call__(self, theta: Any, buffers: Any, batch: Tensor, target: Tensor) -> Any:
        out, buffers = self.call(theta, buffers, batch)
        return (out - target).square().mean() + 0.1 * out.square().mean(), buffers


def written_out_weight_norm(theta: Any, x: Tensor) -> Tensor:
    """Of primitives: the second derivative of torch's fused weight norm is wrong (2.13)."""
    g, v = (theta[f"0.parametrizations.weight.original{i}"] for i in (0, 1))
    weight = g * v / (v**2).sum(1, keepdim=True).sqrt()
    return torch.tanh(x @ weight.T + theta["0.bias"])


@dataclass(frozen=True)
class PlainLoss:
    """The same without ``functional``."""

    module: nn.Module

    def __call__(self, theta: Any, buffers: Any, batch: Tensor, target: Tensor) -> Any:
        copies = {k: b.clone() for k, b in buffers.items()}
        everything = {**theta, **copies}
        if "0.parametrizations.weight.original1" in everything and not copies:  # weight norm
            out = written_out_weight_norm(everything, batch)
        else:
            out = torch.func.functional_call(self.module, everything, (batch,))
        after = {k: everything[k].detach() for k in copies}
        return (out - target).square().mean() + 0.1 * out.square().mean(), after


def module_case(name: str, optimizer: Any, dtype: torch.dtype = torch.float64) -> Case:
    torch.manual_seed(3)
    module = MODULES[name]().to(dtype)
    theta, buffers, call = functional(module)
    return Case(
        ModuleLoss(call),
        theta,
        randn(N, BATCH, WIDTH, seed=1, dtype=dtype),
        randn(N, BATCH, WIDTH, seed=2, dtype=dtype),
        optimizer,
        buffers,
        plain_loss=PlainLoss(module),
    )


def rules() -> dict[str, Any]:
    return {
        "momentum": SGD(tensor(0.2), momentum=tensor(0.8)),
        "adam": Adam(tensor(0.05), (0.8, 0.95), tensor(1e-2)),
    }


@pytest.mark.parametrize("rule", ["momentum", "adam"])
@pytest.mark.parametrize("name", MODULES)
def test_module(name: str, rule: str) -> None:
    case = module_case(name, rules()[rule])
    assert_matches_plain_unroll(case)
    memory = memory_for(case, fewest(N))
    assert_matches_plain_unroll(case, memory=memory)
    assert_checkpoints_change_nothing(case, fewest(N), memory)
    assert_leaves_random_state_after_forward(case)
    assert_caller_is_untouched(case)


# Buffers are constants to differentiation: where a loss depends on them, and they on its inputs,
# the exact gradient of that definition is not the slope.
SLOPES = sorted(MODULES.keys() - {"spectral norm", "re-assigned buffers", "embedding"})


@pytest.mark.parametrize("name", SLOPES)
def test_module_by_finite_differences(name: str) -> None:
    assert_matches_finite_differences(module_case(name, rules()["momentum"]))


@pytest.mark.parametrize("name", ["lstm", "gru", "batch norm", "attention", "spectral norm"])
def test_module_in_float32(name: str) -> None:
    """Every kernel that float32 takes (oneDNN among them) is differentiated twice, or raises."""
    case = module_case(name, SGD(0.2, momentum=0.8), torch.float32)
    assert_matches_plain_unroll(case, 2e-4)


@pytest.mark.parametrize("rule", [SGD(0.05, momentum=0.8), Adam(0.01)], ids=["momentum", "adam"])
@pytest.mark.parametrize("name", MODULES)
def test_bfloat16_is_finite(name: str, rule: Any) -> None:
    case = module_case(name, rule, torch.bfloat16)
    found, theta, _ = gradients(run_unroll, case)
    assert all(g is not None and g.isfinite().all() and g.dtype == torch.bfloat16
               for g in found.values())  # fmt: skip
    assert all(p.dtype == torch.bfloat16 for p in theta.values())
    assert found["targets"].any()


def test_functional_leaves_the_module_and_the_arguments_as_they_are() -> None:
    module = nn.Sequential(linear(), nn.BatchNorm1d(WIDTH))
    before = {k: t.clone() for k, t in module.state_dict().items()}
    theta, buffers, call = functional(module)
    given = {k: b.clone() for k, b in buffers.items()}
    _, after = call(theta, given, torch.randn(BATCH, WIDTH))
    assert all(torch.equal(t, before[k]) for k, t in module.state_dict().items())
    assert all(torch.equal(b, buffers[k]) for k, b in given.items())
    assert all(not torch.equal(b, buffers[k]) for k, b in after.items())
    assert not any(t.requires_grad for t in [*theta.values(), *buffers.values(), *after.values()])


def test_functional_refuses_a_module_that_checkpoints() -> None:
    """Its backward would silently run with the module's own parameters, not with theta."""
    theta, buffers, call = functional(Checkpointed())
    with pytest.raises(InvalidInput, match="should not checkpoint activations"):
        call(theta, buffers, torch.randn(BATCH, WIDTH))


def test_checkpoint_around_the_call_of_a_module() -> None:
    module = nn.Sequential(linear(), nn.Tanh(), nn.Dropout(0.3), linear()).double()
    theta, buffers, call = functional(module)

    def loss(theta, batch, target):
        out = checkpoint(lambda x: call(theta, buffers, x)[0], batch, use_reentrant=False)
        return (out - target).square().mean()

    def plain(theta, batch, target):
        out = torch.func.functional_call(module, theta, (batch,))
        return (out - target).square().mean()

    x, t = randn(N, BATCH, WIDTH, seed=1), randn(N, BATCH, WIDTH, seed=2)
    case = Case(loss, theta, x, t, SGD(0.2, momentum=0.8), plain_loss=plain)
    assert_matches_plain_unroll(case)
    assert_matches_finite_differences(case)


def test_both_weight_norms_of_torch_have_the_right_second_derivative() -> None:
    """Fails if torch._weight_norm, whose second derivative is wrong, is used as it is."""
    from torch.nn.utils import weight_norm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in use
        module = nn.Sequential(weight_norm(linear(), dim=None), nn.Tanh()).double()
    theta, _, call = functional(module)

    def loss(theta, batch, target):
        return (call(theta, {}, batch)[0] - target).square().mean()

    x, t = randn(N, BATCH, WIDTH, seed=1), randn(N, BATCH, WIDTH, seed=2)
    assert_matches_finite_differences(Case(loss, theta, x, t, SGD(0.3)))


def test_functional_lists_tied_weights_once() -> None:
    theta, _, call = functional(Tied())
    assert sorted(theta) == ["down.bias", "down.weight", "up.bias"]
    theta["down.weight"] = torch.zeros_like(theta["down.weight"])
    out, _ = call(theta, {}, torch.randn(BATCH, WIDTH))
    assert_close({"out": out}, {"out": theta["up.bias"].expand(BATCH, WIDTH)})


def test_buffers_continue_where_the_unroll_ended() -> None:
    """A module trained by hand for n steps ends with the same statistics."""
    case = module_case("batch norm", SGD(0.2))
    module = case.plain_loss.module
    optimizer = torch.optim.SGD(module.parameters(), 0.2)
    _, buffers = run_unroll(case)
    for x, t in zip(case.batches, case.targets, strict=True):
        out = module(x)
        optimizer.zero_grad()
        ((out - t).square().mean() + 0.1 * out.square().mean()).backward()
        optimizer.step()
    assert buffers["1.num_batches_tracked"] == N
    assert_close({k: b.double() for k, b in buffers.items()},
                 {k: b.double() for k, b in module.named_buffers()})  # fmt: skip
    assert not any(b.requires_grad for b in buffers.values())


def test_returned_buffers_are_the_callers_own() -> None:
    def loss(theta, buffers, batch, target):
        return (theta["w"] * batch - target).square().mean(), {"a": buffers["b"], "b": batch}

    case = Case(loss, {"w": tensor(1.0)}, randn(3, 2), randn(3, 2, seed=1), SGD(0.1),
                {"a": randn(2, seed=2), "b": randn(2, seed=3)})  # fmt: skip
    batches = case.batches.clone()
    _, buffers = run_unroll(case)
    assert torch.equal(buffers["a"], batches[1])
    assert torch.equal(buffers["b"], batches[2])
    for b in buffers.values():
        b.zero_()
    assert torch.equal(case.batches, batches)
