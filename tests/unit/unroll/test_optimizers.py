"""The functional optimizers are those of ``torch.optim``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from didact._checks import InvalidInput
from didact.unroll import SGD, Adam, AdamW, unroll

from ._asserts import assert_close, assert_matches_plain_unroll, gradients, run_unroll
from ._oracle import Case, fewest, memory_for, randn, tensor

TWINS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "sgd": (SGD, torch.optim.SGD, {}),
    "sgd decay": (SGD, torch.optim.SGD, {"weight_decay": 0.1}),
    "momentum": (SGD, torch.optim.SGD, {"momentum": 0.9}),
    "momentum decay": (SGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    "nesterov": (SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "nesterov decay": (
        SGD,
        torch.optim.SGD,
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    "adam": (Adam, torch.optim.Adam, {}),
    "adam betas": (Adam, torch.optim.Adam, {"betas": (0.5, 0.8), "eps": 1e-3}),
    "adam decay": (Adam, torch.optim.Adam, {"weight_decay": 0.1}),
    "adam betas 0": (Adam, torch.optim.Adam, {"betas": (0.0, 0.9)}),
    "adamw": (AdamW, torch.optim.AdamW, {}),
    "adamw no decay": (AdamW, torch.optim.AdamW, {"weight_decay": 0.0}),
    "adamw all": (
        AdamW,
        torch.optim.AdamW,
        {"betas": (0.5, 0.8), "eps": 1e-4, "weight_decay": 0.3},
    ),
}
ROUND_OFF = {torch.float32: 3e-6, torch.float64: 1e-13}


def as_tensor(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(as_tensor, value))
    return value if isinstance(value, bool) else torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("dtype", ROUND_OFF)
@pytest.mark.parametrize("as_tensors", [False, True], ids=["numbers", "tensors"])
@pytest.mark.parametrize("name", TWINS)
def test_equals_torch_optim_over_20_steps(name: str, as_tensors: bool, dtype: Any) -> None:
    """Also for parameters without a gradient in some steps, or ever: torch.optim skips them."""
    kind, twin, options = TWINS[name]
    fixed = {"lr": 0.05, **options}
    mine = kind(**({k: as_tensor(v) for k, v in fixed.items()} if as_tensors else fixed))
    shapes = {"always": (3, 4), "sometimes": (5,), "never": (2,), "scalar": ()}
    theta = {k: randn(*s, seed=i, dtype=dtype) for i, (k, s) in enumerate(shapes.items())}
    theirs = {k: torch.nn.Parameter(p.clone()) for k, p in theta.items()}
    optimizer = twin(theirs.values(), **fixed)
    state = mine.init(theta)
    for i in range(20):
        grads = {k: randn(*shapes[k], seed=50 + i, dtype=dtype) for k in ("always", "scalar")}
        if i % 3 == 1:
            grads["sometimes"] = randn(5, seed=80 + i, dtype=dtype)
        for k, p in theirs.items():
            p.grad = grads.get(k)
        optimizer.step()
        before = {k: p.clone() for k, p in theta.items()}
        new, state = mine.update(grads, state, theta)
        assert all(torch.equal(p, before[k]) for k, p in theta.items())  # a pure function
        theta = new
        assert all(p.dtype == dtype and p.shape == shapes[k] for k, p in theta.items())
    found = {k: p.double() for k, p in theta.items()}
    assert_close(found, {k: p.detach().double() for k, p in theirs.items()}, ROUND_OFF[dtype])
    assert torch.equal(found["never"], randn(2, seed=2, dtype=dtype).double())


def dead_relu_loss(theta, batch, target):
    hidden = torch.relu(batch @ theta["w1"] + theta["b1"])
    return (hidden @ theta["w2"] - target).square().mean()


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_adam_with_a_dead_relu(kind: Any, eps: float) -> None:
    """v = 0: finite, and the plain unroll in which the derivative of √v there is 0."""
    theta_0 = {
        "w1": randn(3, 4),
        "b1": torch.tensor([0.0, -1e3, 0.1, -1e3], dtype=torch.float64),
        "w2": randn(4, 2, seed=1),
    }
    optimizer = kind(tensor(0.05), (tensor(0.9), tensor(0.99)), tensor(eps), weight_decay=0.0)
    case = Case(dead_relu_loss, theta_0, randn(5, 6, 3, seed=2), randn(5, 6, 2, seed=3), optimizer)
    found, _, _ = gradients(run_unroll, case)
    assert all(g is not None and g.isfinite().all() for g in found.values())
    assert_matches_plain_unroll(case)
    assert_matches_plain_unroll(case, memory=memory_for(case, fewest(5)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adam_with_a_dead_relu_in_low_precision(dtype: Any) -> None:
    theta_0 = {
        "w1": randn(3, 4, dtype=dtype),
        "b1": torch.tensor([0.0, -1e3, 0.1, -1e3], dtype=dtype),
        "w2": randn(4, 2, seed=1, dtype=dtype),
    }
    batches, targets = randn(5, 6, 3, seed=2, dtype=dtype), randn(5, 6, 2, seed=3, dtype=dtype)
    case = Case(dead_relu_loss, theta_0, batches, targets, Adam(0.05))
    assert all(g.isfinite().all() for g in gradients(run_unroll, case)[0].values())


@settings(deadline=None, derandomize=True, max_examples=20)
@given(steps=st.integers(1, 2000))
def test_bias_correction_is_exact_in_float32(steps: int) -> None:
    """A constant gradient is undone by the corrections: every step has length η."""
    theta = {"w": torch.zeros(1)}
    optimizer = Adam(0.5, eps=0.0)
    state = optimizer.init(theta)
    g = torch.ones(1)
    m, v = 1 - 0.9 ** (steps - 1), 1 - 0.999 ** (steps - 1)
    state = {
        "step": {"w": torch.tensor(steps - 1)},
        "mean": {"w": m * g},
        "square": {"w": v * g},
    }
    new, after = optimizer.update({"w": g}, state, theta)
    assert after["step"]["w"] == steps
    assert float(new["w"]) == pytest.approx(-0.5, rel=1e-5)


def test_hyper_parameter_per_leading_axis() -> None:
    theta = {"w": torch.ones(2, 3), "b": torch.ones(2)}
    for optimizer in (SGD(torch.tensor([0.1, 0.2])), AdamW(torch.tensor([0.1, 0.2]), eps=0.0)):
        new, _ = optimizer.update(dict(theta), optimizer.init(theta), theta)
        decay = 1 - torch.tensor([0.1, 0.2]) * (0.01 if isinstance(optimizer, AdamW) else 0)
        torch.testing.assert_close(new["b"], decay - torch.tensor([0.1, 0.2]))
        torch.testing.assert_close(new["w"], new["b"][:, None].expand(2, 3))


@pytest.mark.parametrize("shape", [(2,), (1,)])
def test_hyper_parameter_of_another_shape_is_refused(shape: tuple[int]) -> None:
    """Broadcasting would change the shape of a parameter."""
    optimizer = SGD(torch.ones(shape))
    with pytest.raises(InvalidInput, match=r"leading axes .* parameter \(\)"):
        optimizer.update({"w": torch.ones(())}, {}, {"w": torch.ones(())})


REFUSED: list[tuple[Any, str]] = [
    (lambda: SGD(-0.1), r"`lr` should be a finite number at least 0. Found -0.1"),
    (lambda: SGD("0.1"), r"`lr` should be a finite number at least 0. Found '0.1'"),
    (lambda: SGD(float("nan")), r"`lr` .* Found nan"),
    (lambda: SGD(0.1, momentum=-1.0), r"`momentum` .* Found -1.0"),
    (lambda: SGD(0.1, weight_decay=-1.0), r"`weight_decay` .* Found -1.0"),
    (lambda: SGD(0.1, nesterov=True), r"`momentum` should be above 0 when `nesterov`.* Found 0"),
    (lambda: Adam(-1.0), r"`lr` .* Found -1.0"),
    (lambda: Adam(betas=(1.0, 0.9)), r"`betas` .* at least 0 and below 1. Found 1.0"),
    (lambda: Adam(betas=(0.9,)), r"`betas` should be a tuple .* Found \(0.9,\)"),
    (lambda: Adam(betas=[0.9, 0.99]), r"`betas` should be a tuple .* Found \[0.9, 0.99\]"),
    (lambda: Adam(eps=-1e-8), r"`eps` .* Found -1e-08"),
    (lambda: AdamW(weight_decay=-1.0), r"`weight_decay` .* Found -1.0"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make()


def test_an_optimizer_of_ones_own() -> None:
    """Any frozen dataclass with ``init`` and ``update``; its tensors receive gradients."""
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class SignedPower:
        lr: Any
        power: Any

        def init(self, theta: Any) -> Any:
            return {"last": {k: torch.ones_like(p) for k, p in theta.items()}}

        def update(self, grads: Any, state: Any, theta: Any) -> Any:
            new = {
                k: p - self.lr * torch.tanh(grads[k]) * state["last"][k].abs() ** self.power
                for k, p in theta.items()
            }
            return new, {"last": {k: 1 + grads[k] ** 2 for k in theta}}

    def value(lr: torch.Tensor, power: torch.Tensor, run: Any = unroll) -> torch.Tensor:
        def loss(theta, x, t):
            return (theta["w"].sin() * x - t).square().sum()

        x, t = randn(4, 3), randn(4, 3, seed=1)
        theta = run(loss, {"w": randn(3, seed=2)}, x, t, SignedPower(lr, power))
        return (theta["w"] * randn(3, seed=3)).sum()

    assert torch.autograd.gradcheck(
        value, (tensor(0.1).requires_grad_(), tensor(0.7).requires_grad_())
    )
