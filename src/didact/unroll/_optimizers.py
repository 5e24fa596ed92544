"""Optimizers as pure functions: ``update(grads, state, theta) -> (theta, state)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .._checks import InvalidInput, check_number, invalid
from .._params import Params

Number = float | Tensor
State = dict[str, Any]


class Optimizer(Protocol):
    """What ``unroll`` needs of an optimizer: a frozen dataclass with these two methods.

    Its tensor fields are differentiable inputs of ``unroll``. A parameter that is missing from
    ``grads`` had no gradient; like ``torch.optim``, leave it and its state as they are.
    """

    def init(self, theta: Params) -> State:
        """The state before the first step: nested dicts of tensors."""
        ...

    def update(self, grads: Params, state: State, theta: Params) -> tuple[Params, State]:
        """(theta, state) after one step; the arguments stay as they are."""
        ...


@dataclass(frozen=True)
class SGD:
    """Gradient descent with momentum, equal to ``torch.optim.SGD`` with dampening 0.

    ``g ← ∇L + λθ``;  ``v ← βv + g``;  ``θ ← θ − η v``  (Nesterov: ``θ ← θ − η (g + βv)``).

    Args:
        lr: η, a number or a tensor: a scalar, or one value per entry of the parameters'
            leading axes (one per seed in a vmapped unroll).
        momentum: β, likewise.
        nesterov: look ahead; needs momentum.
        weight_decay: λ, an L2 penalty added to the gradient.

    Example:
        >>> import torch
        >>> θ, optimizer = {"w": torch.tensor([1.0])}, SGD(0.5)
        >>> θ, _ = optimizer.update({"w": torch.tensor([1.0])}, optimizer.init(θ), θ)
        >>> θ["w"]
        tensor([0.5000])
    """

    lr: Number
    momentum: Number = 0.0
    nesterov: bool = False
    weight_decay: Number = 0.0

    def __post_init__(self) -> None:
        _check("lr", self.lr)
        _check("momentum", self.momentum)
        _check("weight_decay", self.weight_decay)
        if not isinstance(self.nesterov, bool):
            raise invalid("nesterov", "True or False", self.nesterov)
        if self.nesterov and not _used(self.momentum):
            raise invalid("momentum", "above 0 when `nesterov` is true", self.momentum)

    def init(self, theta: Params) -> State:
        """Velocities of 0, or nothing without momentum."""
        if not _used(self.momentum):
            return {}
        return {"velocity": {k: torch.zeros_like(p) for k, p in theta.items()}}

    def update(self, grads: Params, state: State, theta: Params) -> tuple[Params, State]:
        """(theta, state) after one step."""
        new, velocity = dict(theta), dict(state.get("velocity", {}))
        down = -self.lr
        for k, g in grads.items():
            p = theta[k]
            if _used(self.weight_decay):
                g = _plus(g, self.weight_decay, p)
            if velocity:
                velocity[k] = _plus(g, self.momentum, velocity[k])
                g = _plus(g, self.momentum, velocity[k]) if self.nesterov else velocity[k]
            new[k] = _plus(p, down, g)
        return new, {"velocity": velocity} if velocity else {}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015), equal to ``torch.optim.Adam``.

    ``m ← β₁m + (1−β₁)g``;  ``v ← β₂v + (1−β₂)g²``;
    ``θ ← θ − η m̂ / (√v̂ + ε)``, with m̂, v̂ corrected for their start at 0.

    The derivative of ``√v`` at ``v = 0`` (a ReLU that was never active) is taken as 0: the
    infinite one would turn every meta-gradient into NaN.

    Args:
        lr: η, a number or a tensor (see ``SGD``).
        betas: (β₁, β₂), numbers or tensors.
        eps: ε, outside the root.
        weight_decay: an L2 penalty added to the gradient.

    Example:
        The first step is η in the direction of the gradient's sign:

        >>> θ, optimizer = {"w": torch.tensor([1.0, 1.0])}, Adam(0.1)
        >>> gradient = {"w": torch.tensor([5.0, -0.01])}
        >>> θ, state = optimizer.update(gradient, optimizer.init(θ), θ)
        >>> θ["w"]
        tensor([0.9000, 1.1000])
    """

    lr: Number = 1e-3
    betas: tuple[Number, Number] = (0.9, 0.999)
    eps: Number = 1e-8
    weight_decay: Number = 0.0

    def __post_init__(self) -> None:
        _check_adam(self.lr, self.betas, self.eps, self.weight_decay)

    def init(self, theta: Params) -> State:
        """Steps, means and mean squares of 0."""
        return _adam_init(theta)

    def update(self, grads: Params, state: State, theta: Params) -> tuple[Params, State]:
        """(theta, state) after one step."""
        if _used(self.weight_decay):
            grads = {k: _plus(g, self.weight_decay, theta[k]) for k, g in grads.items()}
        return _adam_update(self, grads, state, theta)


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), equal to ``torch.optim.AdamW``.

    ``θ ← (1 − ηλ)θ``, then Adam's step on the bare gradient. Arguments as ``Adam``.

    Example:
        Without a gradient to follow, the parameters shrink by ηλ:

        >>> θ, optimizer = {"w": torch.tensor([1.0])}, AdamW(0.1, weight_decay=0.5)
        >>> θ, state = optimizer.update({"w": torch.tensor([0.0])}, optimizer.init(θ), θ)
        >>> θ["w"]
        tensor([0.9500])
    """

    lr: Number = 1e-3
    betas: tuple[Number, Number] = (0.9, 0.999)
    eps: Number = 1e-8
    weight_decay: Number = 1e-2

    def __post_init__(self) -> None:
        _check_adam(self.lr, self.betas, self.eps, self.weight_decay)

    def init(self, theta: Params) -> State:
        """Steps, means and mean squares of 0."""
        return _adam_init(theta)

    def update(self, grads: Params, state: State, theta: Params) -> tuple[Params, State]:
        """(theta, state) after one step."""
        if _used(self.weight_decay):
            shrunk = {
                k: theta[k] * (1 - _over(self.lr, theta[k]) * _over(self.weight_decay, theta[k]))
                for k in grads
            }
            theta = {**theta, **shrunk}
        return _adam_update(self, grads, state, theta)


def _adam_init(theta: Params) -> State:
    count = torch.zeros((), dtype=torch.int64)
    return {
        "step": dict.fromkeys(theta, count),
        "mean": {k: torch.zeros_like(p) for k, p in theta.items()},
        "square": {k: torch.zeros_like(p) for k, p in theta.items()},
    }


def _adam_update(
    hyper: Adam | AdamW, grads: Params, state: State, theta: Params
) -> tuple[Params, State]:
    new = dict(theta)
    step, mean, square = dict(state["step"]), dict(state["mean"]), dict(state["square"])
    last: Tensor | None = None
    t = size = eps = torch.zeros(())
    for k, g in grads.items():
        if step[k] is not last:  # parameters that always had a gradient share one count
            last, t = step[k], step[k] + 1
            # In float64: 1 − 0.999 in float32 is wrong in its fifth digit.
            correction1, correction2 = (1 - β ** t.double() for β in hyper.betas)
            # m̂ / (√v̂ + ε) with both corrections outside: once per step, not per parameter.
            root = correction2.sqrt()
            size, eps = hyper.lr / correction1 * root, hyper.eps * root
        step[k], p = t, theta[k]
        β1, β2 = (_over(β, p) for β in hyper.betas)
        m = mean[k] = torch.lerp(mean[k], g, 1 - β1)
        v = square[k] = _plus(β2 * square[k], 1 - hyper.betas[1], g * g)
        new[k] = p - _over(size, p) * (m / (_sqrt(v) + _over(eps, p)))
    return new, {"step": step, "mean": mean, "square": square}


def _sqrt(v: Tensor) -> Tensor:
    """√v with derivative 0 where v = 0; there the root of the smallest normal number, not 0."""
    return torch.where(v > 0, v, torch.finfo(v.dtype).tiny).sqrt()


def _plus(a: Tensor, x: Number, b: Tensor) -> Tensor:
    """a + x b, in one operation where x is a number: steps of small nets are mostly overhead."""
    return a + _over(x, b) * b if isinstance(x, Tensor) else torch.add(a, b, alpha=x)


def _used(x: Number) -> bool:
    """Whether a hyper-parameter takes part: a tensor always does, it may need a gradient."""
    return isinstance(x, Tensor) or x != 0


def _over(x: Number, p: Tensor) -> Number:
    """A hyper-parameter in the type of ``p``, shaped to broadcast from its leading axes."""
    if not isinstance(x, Tensor):
        return x
    if x.dim() == 0:
        return x.to(p.dtype)
    if x.shape != p.shape[: x.dim()]:
        raise InvalidInput(
            "A hyper-parameter should be a number, a 0-d tensor, or a tensor of the leading axes "
            f"of every parameter. Found shape {tuple(x.shape)} and a parameter {tuple(p.shape)}."
        )
    return x.to(p).reshape(x.shape + (1,) * (p.dim() - x.dim()))


def _check(name: str, value: Number) -> None:
    if not isinstance(value, Tensor):
        check_number(name, value, at_least=0)


def _check_adam(
    lr: Number, betas: tuple[Number, Number], eps: Number, weight_decay: Number
) -> None:
    _check("lr", lr)
    _check("eps", eps)
    _check("weight_decay", weight_decay)
    if not isinstance(betas, tuple) or len(betas) != 2:
        raise invalid("betas", "a tuple (β₁, β₂)", betas)
    for β in betas:
        if not isinstance(β, Tensor):
            check_number("betas", β, at_least=0, below=1)
