"""The temporal AND-mask: agreement over time, in an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from .._checks import InvalidInput, check_number

PIECE = 1 << 17
"""Numbers that are worked on together on a CPU."""


class TemporalAndMaskAdam(torch.optim.Optimizer):
    r"""Adam that moves a parameter only while the sign of its gradient stays the same.

    With g the gradient, and no bias correction,

        ``m ← β₁ m + (1 − β₁) g``, ``v ← β₂ v + (1 − β₂) g²``, ``a ← β₃ a + (1 − β₃) sign(g)``,
        ``θ ← θ − α · m · 1[|a| ≥ τ] / √(v + ε)``.

    Where each step has a batch of another environment, agreement over time is agreement over
    environments. Weight decay is an update of its own, ``θ ← θ − α λ θ``, before the step.

    Reference: Parascandolo, Neitz et al. 2021, Algorithm 4.

    Args:
        params: parameters, or groups of them.
        lr: α.
        betas: (β₁, β₂, β₃).
        threshold: τ in [0, 1]; 0 is Adam without bias correction.
        eps: ε, inside the root.
        weight_decay: λ.

    Raises:
        InvalidInput: a number outside its range; sparse gradients.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> adam = TemporalAndMaskAdam([weight], lr=0.1, betas=(0.0, 0.0, 0.5), threshold=0.6)
        >>> for sign in (1.0, 1.0, -1.0):
        ...     weight.grad = torch.tensor([1.0, sign])
        ...     adam.step()
        >>> weight
        Parameter containing:
        tensor([-0.2000, -0.1000], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9),
        threshold: float = 0.4,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr, "betas": tuple(betas), "threshold": threshold, "eps": eps,
            "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch; the group's numbers are checked."""
        numbers = {**self.defaults, **param_group}
        check_number("lr", numbers["lr"], at_least=0)
        if len(numbers["betas"]) != 3:
            raise InvalidInput(f"Parameter `betas` should be three. Found {numbers['betas']}.")
        for beta in numbers["betas"]:
            check_number("betas", beta, at_least=0, below=1)
        check_number("threshold", numbers["threshold"], at_least=0, at_most=1)
        check_number("eps", numbers["eps"], at_least=0)
        check_number("weight_decay", numbers["weight_decay"], at_least=0)
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch, which would bring the means to the parameters' precision."""
        super().load_state_dict(state_dict)
        numbers = [n for group in state_dict["param_groups"] for n in group["params"]]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for number, parameter in zip(numbers, parameters, strict=True):
            for name, value in state_dict["state"].get(number, {}).items():
                self.state[parameter][name] = value.to(parameter.device, copy=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    kinds.setdefault((parameter.device, parameter.dtype), []).append(parameter)
            for (device, _), parameters in kinds.items():
                pieces = [part for p in parameters for part in self._pieces(p)]
                for some in batches(pieces) if device.type == "cpu" else [pieces]:
                    update(group, *(list(tensors) for tensors in zip(*some, strict=True)))
        return loss

    def _pieces(self, parameter: Tensor) -> list[tuple[Tensor, ...]]:
        """θ, g, m, v, a of one parameter; on a CPU in pieces that stay in its cache."""
        grad, state = parameter.grad, self.state[parameter]
        assert grad is not None
        if grad.is_sparse:
            raise InvalidInput("Gradients should be dense. Found a sparse one.")
        if not state:  # bfloat16 would forget what a mean gains in a step
            kept = torch.promote_types(parameter.dtype, torch.float32)
            for name in ("m", "v", "a"):
                state[name] = torch.zeros_like(
                    parameter, dtype=kept, memory_format=torch.preserve_format
                )
        whole = parameter, grad, state["m"], state["v"], state["a"]
        small = parameter.numel() <= PIECE
        if small or parameter.device.type != "cpu" or not all(t.is_contiguous() for t in whole):
            return [whole]
        return list(zip(*(t.view(-1).split(PIECE) for t in whole), strict=True))


def batches(pieces: list[tuple[Tensor, ...]]) -> Iterator[list[tuple[Tensor, ...]]]:
    """Pieces of at most :data:`PIECE` numbers together: what a step makes stays in the cache."""
    some: list[tuple[Tensor, ...]] = []
    size = 0
    for piece in pieces:
        if some and size + piece[0].numel() > PIECE:
            yield some
            some, size = [], 0
        some.append(piece)
        size += piece[0].numel()
    yield some


def update(
    group: dict[str, Any], theta: list[Tensor], grads: list[Tensor], m: list[Tensor],
    v: list[Tensor], a: list[Tensor],
) -> None:  # fmt: skip
    """One step of many tensors at once: one by one, small ones would wait for Python."""
    beta1, beta2, beta3 = group["betas"]
    if grads[0].dtype != m[0].dtype:
        grads = [grad.to(m[0].dtype) for grad in grads]
    if group["weight_decay"]:
        torch._foreach_mul_(theta, 1 - group["lr"] * group["weight_decay"])
    torch._foreach_lerp_(m, grads, 1 - beta1)
    torch._foreach_mul_(v, beta2)
    torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
    torch._foreach_lerp_(a, torch._foreach_sign(grads), 1 - beta3)
    root = torch._foreach_add(v, group["eps"])
    torch._foreach_sqrt_(root)
    moved = torch._foreach_abs(a)
    for agreement in moved:
        agreement.ge_(group["threshold"])
    torch._foreach_mul_(moved, m)
    if theta[0].dtype == m[0].dtype:
        torch._foreach_addcdiv_(theta, moved, root, -group["lr"])
    else:
        torch._foreach_div_(moved, root)
        torch._foreach_add_(theta, [move.to(theta[0].dtype) for move in moved], alpha=-group["lr"])
