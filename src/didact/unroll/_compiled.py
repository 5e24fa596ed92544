"""The step and its adjoint inside ``torch.compile``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .._checks import InvalidInput, listed
from .._params import leaves, tree_map, with_leaves
from ._optimizers import Optimizer
from ._second_order import WRITTEN_OUT
from ._step import Loss, Step, Student, evaluate, fields_of


@dataclass(frozen=True)
class CompiledStep(Step):
    """A step whose two sweeps are compiled; gradients by ``torch.func`` inside."""

    def advance(
        self, student: Student, batch: Any, target: Any, *, first: bool = False
    ) -> tuple[Student, Tensor]:
        if first:  # in plain autograd, where captured tensors and unused parameters show
            after, value, unused = self.advance_and_list_unused(student, batch, target)
            if unused:
                raise InvalidInput(
                    "With `compile`, every parameter of `theta_0` should take part in the loss. "
                    f"Found {listed(unused)} without a gradient."
                )
            return after, value
        forward, _ = self._functions()
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            after, value = forward(*tree_map(_plain, (tuple(student), batch, target, self.hyper())))
        return Student(*after), value

    def adjoint(
        self,
        student: Student,
        batch: Any,
        target: Any,
        cotangents: list[Tensor | None],
        *,
        first: bool = False,
    ) -> tuple[list[Tensor | None], list[Tensor | None], list[Tensor | None], Tensor]:
        _, backward = self._functions()
        carried = [t for t in leaves(student[:2]) if t.is_floating_point()]
        λ = [
            torch.zeros_like(t) if c is None else c
            for t, c in zip(carried, cotangents, strict=True)
        ]
        given = leaves((batch, target))
        wanted = tuple(i for i, t in enumerate(given) if t.requires_grad)
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            plain = tree_map(_plain, (tuple(student), (batch, target), self.hyper(), λ))
            return backward(*plain, wanted)  # type: ignore[no-any-return]

    def _functions(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        fixed = tree_map(lambda x: None if isinstance(x, Tensor) else x, fields_of(self.optimizer))
        frozen = tuple((k, v) for k, v in fixed.items())
        return _compile(self.loss, type(self.optimizer), frozen, self.has_buffers, self.vmap)


@lru_cache(maxsize=32)
def _compile(
    loss: Loss, kind: type[Any], fixed: tuple[Any, ...], has_buffers: bool, vmap: bool
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def optimizer(hyper: list[Tensor]) -> Optimizer:
        new = iter(hyper)
        return kind(  # type: ignore[no-any-return]
            **{k: _filled(v, new) for k, v in fixed}
        )

    def gradient(theta: Any, buffers: Any, batch: Any, target: Any) -> Any:
        def total(theta: Any) -> Any:
            value, new = evaluate(loss, theta, buffers, batch, target, has_buffers, vmap)
            return value.sum(), (value, new)

        return torch.func.grad(total, has_aux=True)(theta)

    def forward(student: Any, batch: Any, target: Any, hyper: list[Tensor]) -> Any:
        theta, state, buffers = student
        grads, (value, buffers) = gradient(theta, buffers, batch, target)
        theta, state = optimizer(hyper).update(grads, state, theta)
        return (theta, state, buffers), value

    def backward(
        student: Any, given: Any, hyper: list[Tensor], λ: list[Tensor], wanted: tuple[int, ...]
    ) -> Any:
        theta, state, buffers = student
        every = leaves((theta, state))
        per_step = leaves(given)

        def floats(carried: list[Tensor], taught: list[Tensor], hyper: list[Tensor]) -> Any:
            new = iter(carried)
            whole = [next(new) if t.is_floating_point() else t for t in every]
            theta, state = with_leaves((student[0], student[1]), whole)
            filled = list(per_step)
            for i, t in zip(wanted, taught, strict=True):
                filled[i] = t
            batch, target = with_leaves(given, filled)
            grads, (value, _) = gradient(theta, buffers, batch, target)
            after = optimizer(hyper).update(grads, state, theta)
            return [t for t in leaves(after) if t.is_floating_point()], value

        carried = [t for t in every if t.is_floating_point()]
        taught = [per_step[i] for i in wanted]
        pulled: Any = torch.func.vjp(floats, carried, taught, hyper, has_aux=True)
        _, pull, value = pulled
        return (*pull(λ), value)

    options: dict[str, Any] = {"fullgraph": True, "dynamic": False, "backend": _inductor}
    return torch.compile(_copy(forward), **options), torch.compile(_copy(backward), **options)


def _copy(function: Any) -> Any:
    """With code of its own: Dynamo counts what it compiled by code, and ends after eight."""
    return FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__,
        function.__defaults__, function.__closure__,
    )  # fmt: skip


def _inductor(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
    """Inductor, on a graph in which every operation has the right second derivative.

    Dynamo shows underscored functions to no ``TorchFunctionMode``; in its graph they are visible.
    """
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in WRITTEN_OUT:
            node.target = WRITTEN_OUT[node.target]
    graph.recompile()
    # Inductor's own random numbers differ between two graphs; eager's replay alike in both.
    return torch._inductor.compile(graph, inputs, options={"fallback_random": True})


def _plain(t: Tensor) -> Tensor:
    """Without autograd's marks: θ_0 would be compiled for apart from θ_1, and warned about."""
    return t.detach()


def _filled(value: Any, new: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_filled(v, new) for v in value)
    return next(new) if value is None else value


def compiled(step: Step) -> CompiledStep:
    """The same step, compiled; the compiled functions are kept per loss and optimizer."""
    return CompiledStep(step.loss, step.optimizer, step.has_buffers, step.vmap)
