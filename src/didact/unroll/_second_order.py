"""A meta-gradient needs second derivatives: say so where an operation has none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

from .._checks import DidactError
from ._graph import nodes

_MESSAGES = (
    re.compile(r"derivative for (?P<op>\S+) is not implemented"),
    re.compile(r"(?P<op>\S+) is not differentiable twice"),
    re.compile(r"(?P<op>torch\.compile) with aot_autograd does not currently support double"),
    re.compile(r"This backward function was (?P<op>compiled) with non-empty donated buffers"),
    re.compile(r"differentiate twice a function that was marked with (?P<op>@once_differentiable)"),
    re.compile(r"(?P<op>torch\.utils\.checkpoint) is incompatible with \.grad\(\)"),
    re.compile(r"(?P<op>Checkpointing) is not compatible with \.grad\(\)"),
)


class NoSecondDerivative(DidactError, RuntimeError):
    """An operation of the loss cannot be differentiated twice; the message names it."""


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    others = None if dim == -1 else [d for d in range(v.dim()) if d != dim]  # -1: one norm of all
    norm: Tensor = torch.linalg.vector_norm(v, dim=others, keepdim=dim != -1)
    return v * (g / norm)


# Operations whose second derivative torch gets wrong in silence, and the same of primitives.
# ``torch._weight_norm`` (below both ``weight_norm`` of torch.nn.utils) differentiates its backward
# as if ``‖v‖`` were a constant: ``gradgradcheck`` fails in torch 2.13.
WRITTEN_OUT: dict[Any, Any] = {torch._weight_norm: _weight_norm}


class ExactlyTwice(TorchFunctionMode):
    """Computes the operations in ``WRITTEN_OUT`` by the right-hand side."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return WRITTEN_OUT.get(func, func)(*args, **(kwargs or {}))


@contextmanager
def naming_the_operation(value: Tensor | None = None) -> Iterator[None]:
    """Turn autograd's complaint about a missing second derivative into one that names it."""
    try:
        yield
    except RuntimeError as error:
        for pattern in _MESSAGES:
            if match := pattern.search(str(error)):
                operation = match["op"]
                if operation == "compiled":
                    operation = "torch.compile"
                elif operation.startswith("@") and value is not None:
                    names = sorted({type(n).__name__ for n in _custom_nodes(value)})
                    operation = ", ".join(names) or operation
                raise NoSecondDerivative(_sentence(operation)) from error
        raise


def watch(value: Tensor) -> Iterator[None]:
    """Hooks on the custom autograd functions below ``value``; raises if one drops the graph.

    A backward pass is linear in the gradient that comes in. If that one requires a gradient and
    what goes out is non-zero and has no graph back to it, the function broke the chain: its second
    derivative would silently count as zero. ``@once_differentiable`` is such a case: the error it
    plants in place of the graph lies on no path to an input, and ``autograd.grad`` never runs it.
    """
    handles = [node.register_hook(_check(type(node).__name__)) for node in _custom_nodes(value)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


watching = contextmanager(watch)


def _check(name: str) -> Any:
    def hook(outgoing: tuple[Tensor | None, ...], incoming: tuple[Tensor | None, ...]) -> None:
        sources = {get_gradient_edge(g).node for g in incoming if g is not None and g.requires_grad}
        if not sources:
            return
        for g in outgoing:
            if g is not None and bool(torch.any(g != 0)) and not _reaches(g, sources):
                raise NoSecondDerivative(_sentence(name))

    return hook


def _reaches(g: Tensor, sources: set[Any]) -> bool:
    """Whether the graph of ``g`` contains one of the nodes ``sources``."""
    return any(node in sources for node in nodes(g))


def _custom_nodes(value: Tensor) -> list[Any]:
    return [node for node in nodes(value) if isinstance(node, BackwardCFunction)]


def _sentence(operation: str) -> str:
    return (
        f"Operation `{operation}` has no second derivative, which a gradient through training "
        "steps needs. Replace it in the loss by one that has (cuDNN's recurrent nets: "
        "`torch.backends.cudnn.flags(enabled=False)` around the loss)."
    )
