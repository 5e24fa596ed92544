"""What the engine must equal, written without it: a plain unroll with one long autograd graph."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from didact.unroll import SGD, Adam, AdamW


@dataclass(frozen=True)
class Case:
    """One unroll: what it is given, and its loss written a second time where that matters."""

    loss: Any
    theta_0: dict[str, Tensor]
    batches: Any
    targets: Any
    optimizer: Any
    buffers: dict[str, Tensor] | None = None
    plain_loss: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    def inputs(self) -> dict[str, Tensor]:
        """Everything that may receive a gradient, by name."""
        trees = {
            "theta_0": self.theta_0,
            "batches": self.batches,
            "targets": self.targets,
            "optimizer": {f.name: getattr(self.optimizer, f.name) for f in fields(self.optimizer)},
        }
        return {k: t for k, t in named(trees) if t.is_floating_point()}

    def with_inputs(self, new: dict[str, Tensor]) -> Case:
        """The same case with other tensors in these places."""
        hyper = {
            f.name: swapped(getattr(self.optimizer, f.name), new, f"optimizer.{f.name}")
            for f in fields(self.optimizer)
        }
        return replace(
            self,
            theta_0=swapped(self.theta_0, new, "theta_0"),
            batches=swapped(self.batches, new, "batches"),
            targets=swapped(self.targets, new, "targets"),
            optimizer=replace(self.optimizer, **hyper),
        )


def named(tree: Any, name: str = "") -> list[tuple[str, Tensor]]:
    """(path, tensor) of nested dicts, lists and tuples."""
    if isinstance(tree, Tensor):
        return [(name, tree)]
    items: Any = ()
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list | tuple):
        items = enumerate(tree)
    return [pair for k, v in items for pair in named(v, f"{name}.{k}" if name else str(k))]


def swapped(tree: Any, new: dict[str, Tensor], name: str) -> Any:
    """``tree`` with the tensors at the given paths replaced."""
    if isinstance(tree, Tensor):
        return new.get(name, tree)
    if isinstance(tree, dict):
        return {k: swapped(v, new, f"{name}.{k}") for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(swapped(v, new, f"{name}.{k}") for k, v in enumerate(tree))
    return tree


def at(tree: Any, i: int) -> Any:
    """Step ``i`` of a nested input."""
    if isinstance(tree, Tensor):
        return tree[i]
    if isinstance(tree, dict):
        return {k: at(v, i) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(at(v, i) for v in tree)
    return tree


def plain_unroll(case: Case, truncate: int | None = None) -> tuple[dict[str, Tensor], Any]:
    """(θ_n, buffers_n) with the whole graph; ``truncate=k`` detaches the state after n − k > 0."""
    loss = case.plain_loss or case.loss
    n = len(named((case.batches, case.targets))[0][1])
    theta = {k: p if p.requires_grad else p.requires_grad_() for k, p in case.theta_0.items()}
    state: dict[str, Any] = {k: {} for k in theta}
    buffers = case.buffers
    for i in range(n):
        if truncate is not None and i == n - truncate > 0:
            theta = {k: p.detach().requires_grad_() for k, p in theta.items()}
            state = {
                k: {j: x.detach() if isinstance(x, Tensor) else x for j, x in s.items()}
                for k, s in state.items()
            }
        with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
            if buffers is None:
                value = loss(theta, at(case.batches, i), at(case.targets, i))
            else:
                value, buffers = loss(theta, buffers, at(case.batches, i), at(case.targets, i))
        grads = torch.autograd.grad(
            value, list(theta.values()), create_graph=True, allow_unused=True
        )
        moved = {}
        for (k, p), g in zip(theta.items(), grads, strict=True):
            moved[k] = p if g is None else moved_by(case.optimizer, p, g, state[k])
        theta = moved
    return theta, buffers


def moved_by(optimizer: Any, p: Tensor, g: Tensor, s: dict[str, Any]) -> Tensor:
    """The textbook step of one parameter; its state ``s`` is updated in place."""
    if isinstance(optimizer, SGD):
        d = g + optimizer.weight_decay * p
        s["v"] = optimizer.momentum * s.get("v", 0) + d
        d = d + optimizer.momentum * s["v"] if optimizer.nesterov else s["v"]
        return p - optimizer.lr * d
    assert isinstance(optimizer, Adam | AdamW)
    lr, (b1, b2), eps, decay = (
        optimizer.lr,
        optimizer.betas,
        optimizer.eps,
        optimizer.weight_decay,
    )
    if isinstance(optimizer, AdamW):
        p = p - lr * decay * p
    else:
        g = g + decay * p
    s["t"] = s.get("t", 0) + 1
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
    m = s["m"] / (1 - b1 ** s["t"])
    # 1e-300 changes no digit; it makes the derivative of √v at v = 0 finite, and finite × ∂v/∂g
    # is 0 there, because ∂v/∂g = 2 (1 − β₂) g.
    v = (s["v"] + 1e-300) / (1 - b2 ** s["t"])
    return p - lr * m / (v.sqrt() + eps)


# Cases -------------------------------------------------------------------------------------------

F64 = torch.float64


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    """Normal numbers from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=F64).to(dtype)


def tensor(x: float) -> Tensor:
    """A scalar hyper-parameter."""
    return torch.tensor(x, dtype=F64)


def mlp_loss(theta: Any, batch: Any, target: Any) -> Tensor:
    """A net of two layers whose hidden layer and output are both taught; smooth, not convex."""
    hidden = torch.tanh(batch @ theta["w1"] + theta["b1"])
    out = hidden @ theta["w2"]
    return ((hidden - target) ** 2).mean() + (out**2).mean() + 0.1 * out.sin().mean()


def mlp_theta(seed: int = 0, dtype: torch.dtype = F64) -> dict[str, Tensor]:
    return {
        "w1": randn(3, 4, seed=seed, dtype=dtype),
        "b1": randn(4, seed=seed + 1, dtype=dtype),
        "w2": randn(4, 2, seed=seed + 2, dtype=dtype),
    }


def mlp_case(optimizer: Any, n: int, seed: int = 0, **options: Any) -> Case:
    return Case(
        mlp_loss,
        mlp_theta(seed),
        randn(n, 5, 3, seed=seed + 3),
        randn(n, 5, 4, seed=seed + 4),
        optimizer,
        options=options,
    )


def optimizers() -> dict[str, Any]:
    """Every rule with every hyper-parameter a tensor, so that each receives a gradient."""
    betas = (tensor(0.8), tensor(0.95))
    return {
        "sgd": SGD(tensor(0.3)),
        "momentum": SGD(tensor(0.2), momentum=tensor(0.8)),
        "nesterov": SGD(tensor(0.1), momentum=tensor(0.8), nesterov=True),
        "sgd decay": SGD(tensor(0.1), momentum=tensor(0.7), weight_decay=tensor(0.05)),
        "sgd numbers": SGD(0.1, momentum=0.7, weight_decay=0.05, nesterov=True),
        "adam": Adam(tensor(0.05), betas, tensor(1e-2)),
        "adam numbers": Adam(0.05),
        "adam decay": Adam(tensor(0.05), betas, tensor(1e-3), weight_decay=tensor(0.1)),
        "adamw": AdamW(tensor(0.05), betas, tensor(1e-3), weight_decay=tensor(0.3)),
    }


def memory_for(case: Case, states: int) -> int:
    """Bytes that hold ``states`` states: the rule of ``unroll``, computed again."""
    count = {SGD: 1, Adam: 3, AdamW: 3}[type(case.optimizer)]
    if isinstance(case.optimizer, SGD) and (
        isinstance(case.optimizer.momentum, Tensor) or case.optimizer.momentum
    ):
        count = 2
    size = sum(p.numel() * p.element_size() for p in case.theta_0.values())
    steps = 8 * len(case.theta_0) if count == 3 else 0
    other = sum(b.numel() * b.element_size() for b in (case.buffers or {}).values())
    return states * (count * size + steps + other + 5056)


def fewest(n: int) -> int:
    """The states that binary checkpointing needs."""
    return 1 + math.ceil(math.log2(n))
